//! A function stays what it was: callable, recursive, in a module, forbidding unsafe code, documented.
#![forbid(unsafe_code)]
#![deny(warnings)]

use burla::{Function, IntoFunction};

/// Doubles a number.
#[burla::function]
pub fn doubles(number: i64) -> i64 {
    number * 2
}

mod inner {
    #[burla::function]
    pub(crate) fn factorial(number: u64) -> u64 {
        if number < 2 { 1 } else { number * factorial(number - 1) }
    }
}

#[burla::function]
fn joins(left: String, (a, b): (u8, u8)) -> Result<String, std::fmt::Error> {
    Ok(format!("{left}{a}{b}"))
}

#[burla::function]
fn nothing() {}

#[burla::function]
fn r#loop(r#type: u8) -> u8 {
    r#type
}

fn input_of<F: IntoFunction<Kind>, Kind>(_: F) -> &'static str {
    std::any::type_name::<F::Input>()
}

fn name<F: IntoFunction<Kind>, Kind>(function: F) -> &'static str {
    &function.into_function().info().unwrap().name
}

/// It is not marked.
fn plain(number: u8) -> u8 {
    number
}

fn main() {
    assert_eq!(doubles(21), 42);
    assert_eq!([1, 2].map(doubles), [2, 4]);
    assert_eq!(inner::factorial(5), 120);
    assert_eq!(joins("a".to_owned(), (1, 2)).unwrap(), "a12");
    nothing();
    assert_eq!(r#loop(7), 7);
    assert_eq!(input_of(doubles), "i64");
    assert_eq!(input_of(joins), "(alloc::string::String, (u8, u8))");
    assert_eq!(input_of(nothing), "()");
    let crate_name = module_path!();
    assert_eq!(name(inner::factorial), format!("{crate_name}::inner::factorial"));
    assert_eq!(name(r#loop), format!("{crate_name}::loop"));
    what_is_not_marked_is_named();
}

/// What rustc cannot refuse is refused before anything runs.
fn what_is_not_marked_is_named() {
    fn refusal<F: IntoFunction<Kind>, Kind>(function: F) -> String {
        function.into_function().info().unwrap_err().to_string()
    }
    let crate_name = module_path!();
    assert_eq!(refusal(plain), format!("`{crate_name}::plain` cannot run on a grid: mark the `fn` with `#[burla::function]`"));
    let closure = refusal(|number: u8| number);
    assert!(closure.starts_with(&format!("a closure in `{crate_name}::what_is_not_marked_is_named` cannot")), "{closure}");
    let pointer: fn(i64) -> i64 = doubles;
    assert!(refusal(pointer).starts_with("a pointer `fn(i64) -> i64` does not say which function"), "{}", refusal(pointer));
}

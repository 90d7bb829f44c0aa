//! A function stays what it was: callable, recursive, in a module, forbidding unsafe code, documented.
#![forbid(unsafe_code)]
#![deny(warnings)]

use burla::Function;

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

fn input_of<F: Function>(_: F) -> &'static str {
    std::any::type_name::<F::Input>()
}

fn main() {
    assert_eq!(doubles(21), 42);
    assert_eq!([1, 2].map(*doubles), [2, 4]);
    assert_eq!(inner::factorial(5), 120);
    assert_eq!(joins("a".to_owned(), (1, 2)).unwrap(), "a12");
    nothing();
    assert_eq!(r#loop(7), 7);
    assert_eq!(input_of(doubles), "i64");
    assert_eq!(input_of(joins), "(alloc::string::String, (u8, u8))");
    assert_eq!(input_of(nothing), "()");
    fn name<F: Function>(_: F) -> &'static str {
        F::NAME
    }
    let crate_name = module_path!();
    assert_eq!(name(inner::factorial), format!("{crate_name}::inner::factorial"));
    assert_eq!(name(r#loop), format!("{crate_name}::loop"));
}

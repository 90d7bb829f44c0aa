//! Twenty small programs, each as somebody would write it with plain functions, and each marked. `main` runs them all.
//!
//! They are modules of one file because building is slow. `docs/decisions/017-a-marked-function-stays-a-function.md` has what each
//! candidate design makes of them.
#![deny(warnings)]

use burla::{Function, IntoFunction};

/// What `remote_parallel_map` does with the types: it is given a function and inputs, and has the outputs' type without being told.
fn map<F, Kind, I>(function: F, _inputs: I) -> Vec<F::Output>
where
    F: IntoFunction<Kind>,
    I: IntoIterator<Item = F::Input>,
{
    function.into_function().info().unwrap();
    Vec::new()
}

/// 1. A variable that is named after the function whose result it has.
mod variable {
    #[burla::function]
    fn score(seed: u64) -> u64 {
        seed * 2
    }

    pub fn main() {
        let score = score(21);
        assert_eq!(score, 42);
        for score in super::map(self::score, [1, 2, 3]) {
            assert_eq!(score.pow(2), 1);
        }
    }
}

/// 2. Patterns: `if let`, `match`, a closure's parameter, the shorthand of a field.
mod patterns {
    struct Best {
        score: f64,
    }

    #[burla::function]
    fn score(seed: u32) -> f64 {
        f64::from(seed)
    }

    pub fn main() {
        let best = super::map(score, [1, 2]).first().copied();
        if let Some(score) = best {
            assert!(score > 0.0);
        }
        let best = [score(3), score(4)].into_iter().fold(0.0, |best, score| if score > best { score } else { best });
        let Best { score } = Best { score: best };
        match Some(score) {
            Some(score) => assert!(score > 3.0),
            None => unreachable!(),
        }
    }
}

/// 3. A parameter of another function has the name.
mod parameter {
    #[burla::function]
    fn price(units: u32) -> u64 {
        u64::from(units) * 3
    }

    fn total(price: u64, tax: u64) -> u64 {
        price + tax
    }

    pub fn main() {
        assert_eq!(total(price(2), 1), 7);
        assert!(super::map(price, 0..3).is_empty());
    }
}

/// 4. A module has the name.
mod module {
    mod resize {
        pub const SIDE: usize = 16;
    }

    #[burla::function]
    fn resize(pixels: Vec<u8>) -> Vec<u8> {
        pixels.into_iter().take(resize::SIDE).collect()
    }

    pub fn main() {
        assert_eq!(resize(vec![0; 20]).len(), 16);
        assert!(super::map(resize, [vec![1]]).is_empty());
    }
}

/// 5. A crate that the program uses has the name.
mod name_of_a_crate {
    #[burla::function]
    fn serde(text: String) -> usize {
        fn size(value: impl serde::Serialize) -> usize {
            std::mem::size_of_val(&value)
        }
        size(text)
    }

    pub fn main() {
        assert_eq!(serde(String::new()), size_of::<String>());
        assert!(super::map(serde, [String::new()]).is_empty());
    }
}

/// 6. A type of the name.
mod type_names {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    #[allow(non_camel_case_types)]
    pub struct area {
        pub square_meters: f64,
    }

    #[burla::function]
    pub fn area(side: f64) -> area {
        area { square_meters: side * side }
    }

    pub fn main() {
        assert_eq!(area(2.0), area { square_meters: 4.0 });
        assert!(super::map(area, [1.0]).iter().all(|area| area.square_meters > 0.0));
    }
}

/// 7. The function is given to `map`, `filter_map` and `sort_by_key`.
mod adapters {
    #[burla::function]
    fn half(number: u64) -> Option<u64> {
        (number % 2 == 0).then_some(number / 2)
    }

    #[burla::function]
    fn digits(number: u64) -> usize {
        number.to_string().len()
    }

    pub fn main() {
        let halves: Vec<u64> = [1, 2, 3, 4].into_iter().filter_map(half).collect();
        assert_eq!(halves, [1, 2]);
        let mut counts: Vec<usize> = halves.into_iter().map(digits).collect();
        counts.sort_by_key(|count| std::cmp::Reverse(*count));
        assert_eq!(super::map(half, [2]).len(), super::map(digits, [2]).len());
    }
}

/// 8. A pointer to the function, a table of them, and a boxed one.
mod pointers {
    #[burla::function]
    fn one(number: u64) -> u64 {
        number
    }

    #[burla::function]
    fn two(number: u64) -> u64 {
        number * 2
    }

    const TABLE: [(&str, fn(u64) -> u64); 2] = [("one", one), ("two", two)];

    pub fn main() {
        let f: fn(u64) -> u64 = one;
        let boxed: Box<dyn Fn(u64) -> u64> = Box::new(two);
        assert_eq!(TABLE.iter().map(|(_, f)| f(3)).sum::<u64>(), f(3) + boxed(3));
    }
}

/// 9. It is handed on by a generic function.
mod generic {
    use super::{Function, IntoFunction};

    #[burla::function]
    fn length(text: String) -> usize {
        text.len()
    }

    fn twice<T>(f: impl Fn(T) -> usize, value: T) -> usize {
        f(value) * 2
    }

    fn name<F: IntoFunction<Kind>, Kind>(function: F) -> &'static str {
        &function.into_function().info().unwrap().name
    }

    pub fn main() {
        assert_eq!(twice(length, "ab".to_owned()), 4);
        assert!(name(length).ends_with("::generic::length"));
    }
}

/// 10. A function that returns `io::Result`, whose result is a variable of its name.
mod io_result {
    #[burla::function]
    fn read(path: std::path::PathBuf) -> std::io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    pub fn main() {
        let read = read("/nowhere".into());
        assert!(read.is_err());
        let lengths: Vec<usize> = super::map(self::read, ["/".into()]).iter().map(|read| read.len()).collect();
        assert!(lengths.is_empty());
        let all: std::io::Result<Vec<_>> = ["/nowhere".into()].into_iter().map(self::read).collect();
        assert!(all.is_err());
    }
}

/// 11. An error type of its own, and an alias of `Result`.
mod own_error {
    #[derive(Debug)]
    pub enum Error {
        Empty,
    }

    impl std::fmt::Display for Error {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("empty")
        }
    }

    impl std::error::Error for Error {}

    type Result<T> = std::result::Result<T, Error>;
    type Outcome = Result<u8>;

    #[burla::function]
    fn first(bytes: Vec<u8>) -> Result<u8> {
        bytes.first().copied().ok_or(Error::Empty)
    }

    #[burla::function]
    fn last(bytes: Vec<u8>) -> Outcome {
        bytes.last().copied().ok_or(Error::Empty)
    }

    pub fn main() -> Result<()> {
        let first = first(vec![1])?;
        let last = last(vec![2])?;
        assert_eq!(first + last, 3);
        assert!(super::map(self::first, [vec![]]).iter().all(|first| first.is_power_of_two()));
        assert!(super::map(self::last, [vec![]]).iter().all(|last| last.is_power_of_two()));
        Ok(())
    }
}

/// 12. `Box<dyn Error>`, several parameters, a module of the name.
mod boxed_error {
    mod parse {
        pub const BASE: u32 = 16;
    }

    #[burla::function]
    fn parse(text: String, sign: i64) -> Result<i64, Box<dyn std::error::Error>> {
        Ok(i64::from_str_radix(&text, parse::BASE)? * sign)
    }

    pub fn main() {
        let parse = parse("ff".to_owned(), -1).unwrap();
        assert_eq!(parse, -255);
        assert!(super::map(self::parse, [("1".to_owned(), 1)]).iter().all(|parse| parse.signum() == 1));
    }
}

/// 13. The error is a text: called, mapped, with a module of the name.
mod text_error {
    mod check {
        pub const MAX: u64 = 10;
    }

    #[burla::function]
    fn check(number: u64) -> Result<u64, String> {
        if number > check::MAX { Err(format!("{number} is too much")) } else { Ok(number) }
    }

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    pub struct Broken {
        line: u64,
    }

    impl std::fmt::Display for Broken {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "line {} is broken", self.line)
        }
    }

    #[burla::function(crate = ::burla, fallible)]
    fn mends(line: u64) -> Result<u64, Broken> {
        Err(Broken { line })
    }

    pub fn main() {
        assert_eq!(check(3), Ok(3));
        assert_eq!([1].map(*mends), [Err(Broken { line: 1 })]);
        assert!(super::map(mends, [1]).iter().all(|line| line.is_power_of_two()));
        assert_eq!(check(11).unwrap_err(), "11 is too much");
        assert!(super::map(check, [1, 2]).iter().all(|number| number.is_power_of_two()));
    }
}

/// 14. A private type in a public function.
mod private_type {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Row {
        cells: Vec<String>,
    }

    #[allow(private_interfaces)]
    #[burla::function]
    pub fn width(row: Row) -> usize {
        row.cells.len()
    }

    pub fn main() {
        assert_eq!(width(Row { cells: vec![] }), 0);
        assert!(super::map(width, [Row { cells: vec![] }]).is_empty());
    }
}

/// 15. Under a condition that does not hold, above and below the attribute.
mod conditions {
    #[burla::function]
    #[cfg(target_os = "none")]
    fn only_there(device: Device) -> Device {
        device
    }

    #[cfg(target_os = "none")]
    #[burla::function]
    fn only_there_either(device: Device) -> Device {
        device
    }

    #[burla::function]
    #[cfg_attr(all(), cfg(target_os = "none"))]
    fn nor_this(device: Device) -> Result<Device, String> {
        Ok(device)
    }

    #[burla::function]
    #[cfg(not(target_os = "none"))]
    #[cfg_attr(all(), must_use)]
    fn here(number: u8) -> u8 {
        number
    }

    pub fn main() {
        assert_eq!(here(1), 1);
    }
}

/// 16. Attributes and qualifiers.
mod attributes {
    /// Adds.
    #[burla::function]
    #[must_use]
    #[inline]
    pub(in crate::attributes) const fn add(left: u8, right: u8) -> u8 {
        left + right
    }

    #[deprecated(note = "use add")]
    #[burla::function]
    #[track_caller]
    #[allow(unused_mut, clippy::needless_return)]
    pub(crate) fn old(mut number: u8, [a, b]: [u8; 2]) -> () {
        let _ = (number, a, b);
        return;
    }

    const THREE: u8 = add(1, 2);

    pub fn main() {
        assert_eq!(THREE, 3);
        assert!(super::map(add, [(1, 2)]).is_empty());
        #[allow(deprecated)]
        old(1, [2, 3]);
    }
}

/// 17. Functions in functions, in `impl` blocks' bodies, and out of a macro; two have one name.
mod nested {
    macro_rules! squares {
        ($name:ident, $number:ty) => {
            #[burla::function]
            fn $name(number: $number) -> $number {
                number * number
            }
        };
    }

    squares!(square_u8, u8);
    squares!(square_f64, f64);

    fn one() -> &'static str {
        #[burla::function]
        fn step(number: u8) -> u8 {
            number + 1
        }
        assert_eq!(step(1), 2);
        place(step)
    }

    fn two() -> &'static str {
        #[burla::function]
        fn step(number: u8) -> u8 {
            number + 2
        }
        assert_eq!(step(1), 3);
        place(step)
    }

    fn place<F: super::IntoFunction<Kind>, Kind>(function: F) -> &'static str {
        use super::Function;
        &function.into_function().info().unwrap().place
    }

    pub fn main() {
        assert_ne!(one(), two());
        assert_eq!(square_u8(3), 9);
        assert!(square_f64(1.5) > 2.0);
        assert!(super::map(square_u8, [1]).is_empty() && super::map(square_f64, [1.0]).is_empty());
    }
}

/// 18. Names that mean something else here, and no prelude.
mod shadowed {
    mod core {}
    mod std {}
    #[allow(non_camel_case_types)]
    struct u8;
    trait Result {}
    struct Vec;

    impl Result for Vec {}

    #[burla::function]
    fn twice(number: i32) -> i64 {
        let _ = (u8, Vec);
        i64::from(number) * 2
    }

    pub fn main() {
        fn takes(_: impl Result) {}
        takes(Vec);
        assert_eq!(twice(2), 4);
        assert!(super::map(twice, [1]).is_empty());
    }
}

/// 19. Raw names, recursion, a name that is also a variable in its own body, no parameters.
mod names {
    #[burla::function]
    fn r#loop(r#type: u64) -> u64 {
        let result = if r#type < 2 { 1 } else { r#type * r#loop(r#type - 1) };
        let r#loop = result;
        r#loop
    }

    #[burla::function]
    fn nothing() {}

    const INFO: usize = 2;

    #[burla::function]
    fn input(output: [u8; INFO], error: u8) -> Result<u8, std::fmt::Error> {
        Ok(output[0] + error)
    }

    pub fn main() {
        assert_eq!(r#loop(5), 120);
        assert_eq!(input([1, 2], 3), Ok(4));
        nothing();
        assert!(super::map(r#loop, [1]).is_empty() && super::map(nothing, [()]).is_empty());
    }
}

/// 20. A documented library that forbids what it can.
#[forbid(unsafe_code, missing_docs, dead_code, deprecated, unused, unreachable_pub, clippy::all)]
#[allow(missing_debug_implementations)]
pub mod library {
    /// A function that only calls on a grid use.
    #[burla::function]
    fn only_on_the_grid(text: String) -> String {
        text
    }

    /// An error that is a text.
    #[burla::function]
    fn only_on_the_grid_too(text: String) -> Result<String, String> {
        Ok(text)
    }

    /// Runs it.
    pub fn main() {}
}

fn main() {
    variable::main();
    patterns::main();
    parameter::main();
    module::main();
    name_of_a_crate::main();
    type_names::main();
    adapters::main();
    pointers::main();
    generic::main();
    io_result::main();
    own_error::main().unwrap();
    boxed_error::main();
    text_error::main();
    private_type::main();
    conditions::main();
    attributes::main();
    nested::main();
    shadowed::main();
    names::main();
    library::main();
}

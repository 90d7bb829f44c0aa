/// Doubles a number.
///
/// With a "quoted" second paragraph.
#[burla::function]
pub fn doubles(mut number: i64) -> i64 {
    number *= 2;
    number
}

#[burla::function]
fn sums(numbers: impl Iterator<Item = i64>) -> impl std::fmt::Display {
    numbers.sum::<i64>()
}

fn main() {}

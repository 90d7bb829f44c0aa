#[burla::function]
fn doubles(number: i64) -> i64 {
    number * 2
}

fn takes<F: burla::IntoFunction<Kind>, Kind>(_function: F, _inputs: impl IntoIterator<Item = F::Input>) {}

fn main() {
    takes(doubles, ["one", "two"]);
    doubles("one");
}

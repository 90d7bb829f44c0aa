fn takes<F: burla::IntoFunction<Kind>, Kind>(_function: F) {}

#[burla::function]
fn doubles(number: i64) -> i64 {
    number * 2
}

fn main() {
    // Called, and not passed by name.
    takes(doubles(1));
    // It takes a reference.
    takes(String::len);
}

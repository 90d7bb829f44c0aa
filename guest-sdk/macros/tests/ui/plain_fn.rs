fn takes<F: burla::IntoFunction<Kind>, Kind>(_function: F) {}

#[burla::function]
fn doubles(number: i64) -> i64 {
    number * 2
}

fn length(text: &str) -> usize {
    text.len()
}

fn main() {
    // Called, and not passed by name.
    takes(doubles(1));
    // It captures something that a call would not have.
    let name = String::new();
    takes(move |number: i64| number + name.len() as i64);
    // It takes a reference.
    takes(length);
    takes(String::len);
}

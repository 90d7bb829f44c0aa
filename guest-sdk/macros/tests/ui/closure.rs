fn takes<F: burla::IntoFunction<Kind>, Kind>(_function: F) {}

fn main() {
    let name = String::new();
    takes(move |number: i64| number + name.len() as i64);
}

#[burla::function]
fn main() {}

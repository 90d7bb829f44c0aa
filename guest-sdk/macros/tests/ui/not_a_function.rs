#[burla::function]
struct Doubles;

fn main() {}

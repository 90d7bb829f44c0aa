pub struct Shape;

#[burla::function]
fn area(scale: f64, shape: Shape) -> Result<Shape, std::fmt::Error> {
    let _ = scale;
    Ok(shape)
}

fn takes<F: burla::IntoFunction<Kind>, Kind>(_function: F) {}

fn main() {
    takes(area);
}

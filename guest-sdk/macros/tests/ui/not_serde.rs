pub struct Shape {
    pub side: f64,
}

#[burla::function]
fn area(shape: Shape) -> f64 {
    shape.side * shape.side
}

#[burla::function]
fn square(side: f64) -> Shape {
    Shape { side }
}

fn main() {}

pub struct Silent;

#[burla::function]
fn fails() -> Result<(), Silent> {
    Err(Silent)
}

fn main() {}

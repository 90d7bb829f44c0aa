#[burla::function]
fn length(text: &str, numbers: Vec<&[u8]>) -> usize {
    text.len() + numbers.len()
}

fn main() {}

#[burla::function]
fn length(text: &str, numbers: Vec<&[u8]>) -> usize {
    text.len() + numbers.len()
}

#[burla::function]
fn is_there(path: &std::path::Path, name: &std::ffi::OsStr) -> bool {
    path.join(name).exists()
}

fn main() {}

#[burla::function]
fn reads(path: std::path::PathBuf) -> std::io::Result<Vec<u8>> {
    std::fs::read(path)
}

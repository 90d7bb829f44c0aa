#[burla::function]
pub(crate) fn parses(text: String) -> Result<i64, Box<dyn std::error::Error>> {
    Ok(text.parse()?)
}

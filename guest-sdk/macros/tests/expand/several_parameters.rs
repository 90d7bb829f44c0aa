#[burla::function]
fn joins(left: String, (a, b): (u8, u8), rest: std::collections::HashMap<String, Vec<u8>>) -> String {
    left
}

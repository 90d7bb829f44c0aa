#[derive(serde::Serialize, serde::Deserialize)]
pub struct Broken(String);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[burla::function]
fn parses(text: String) -> Result<u64, Broken> {
    text.parse().map_err(|_| Broken(text))
}

type Outcome = Result<u64, String>;

#[burla::function]
fn parses_too(text: String) -> Outcome {
    text.parse().map_err(|_| text)
}

fn main() {}

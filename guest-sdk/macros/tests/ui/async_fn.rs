#[burla::function]
async fn fetches(url: String) -> String {
    url
}

fn main() {}

struct Counter;

impl Counter {
    #[burla::function]
    fn count(&self) -> u64 {
        1
    }
}

fn main() {}

pub struct Counter;

impl Counter {
    #[burla::function]
    pub fn count(number: u64) -> u64 {
        number
    }
}

fn main() {}

#[burla::function(cpu = 4)]
fn doubles(number: i64) -> i64 {
    number * 2
}

fn main() {}

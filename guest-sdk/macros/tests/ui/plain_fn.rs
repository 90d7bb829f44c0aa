fn doubles(number: i64) -> i64 {
    number * 2
}

fn wants_a_function<F: burla::Function>(_function: F) {}

fn main() {
    wants_a_function(doubles);
}

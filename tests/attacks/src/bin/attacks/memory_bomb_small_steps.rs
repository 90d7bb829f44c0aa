//! Takes memory 64 KiB at a time until there is no more, and aborts. The call ends as `exceeded func_ram`.

#[burla::function]
fn attack() {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        eaten.push(vec![1; 64 << 10]);
        std::hint::black_box(&eaten);
    }
}

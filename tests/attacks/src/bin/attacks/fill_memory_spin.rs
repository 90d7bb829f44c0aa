//! Fills half a GiB again and again, each time with one instruction that cannot be interrupted. That one costs as much fuel as
//! what it does, so that others have their turn, and its timeout ends it after a fill.

#[burla::function]
fn attack() {
    let mut bytes = vec![0u8; 512 << 20];
    let mut value = 0u8;
    loop {
        std::hint::black_box(bytes.as_mut_slice()).fill(value);
        value = value.wrapping_add(1);
    }
}

#[burla::function]
unsafe extern "C" fn raw(pointer: *const u8) -> u8 {
    unsafe { *pointer }
}

#[burla::function]
fn borrows(text: std::borrow::Cow<'static, str>) -> Result<&'static str, Box<dyn std::error::Error>> {
    Ok("no")
}

#[burla::function]
fn never() -> ! {
    loop {}
}

fn main() {}

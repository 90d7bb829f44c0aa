#[burla::function]
#[inline]
fn nothing() {}

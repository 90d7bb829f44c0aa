//! Has the host keep requests whose method and authority are megabytes long. It takes none of them, though it was granted
//! nothing and sends nothing.

/// Longer than any method or authority is.
#[cfg(target_family = "wasm")]
const BYTES: usize = 8 << 20;

/// Returns how many of them were taken.
#[cfg(target_family = "wasm")]
#[burla::function]
fn attack() -> usize {
    use wasip2::http::types::{Fields, Method, OutgoingRequest};

    let long = "A".repeat(BYTES);
    let mut requests = Vec::new();
    let mut taken = 0;
    for _ in 0..50 {
        let request = OutgoingRequest::new(Fields::new());
        taken += usize::from(request.set_method(&Method::Other(long.clone())).is_ok());
        taken += usize::from(request.set_authority(Some(&long)).is_ok());
        requests.push(request);
    }
    taken
}

//! Asks for nearly all that a memory can ever have, is told no, and then takes a GiB at once all the same. The call ends as
//! `exceeded func_ram`, and no page of either was touched.

#[burla::function]
fn attack() -> usize {
    assert!(!grows(3_994 << 20), "3.9 GiB are denied");
    let mut wanted: Vec<u8> = Vec::new();
    let reserved = wanted.try_reserve_exact(1 << 30);
    // Else the compiler leaves out an allocation that nobody looks at, and says that it was had.
    std::hint::black_box(&wanted);
    assert!(reserved.is_err(), "a GiB is denied");
    std::hint::black_box(vec![1u8; 1 << 30]).len()
}

/// Grows the memory itself, since an allocation can have half of the address space at most.
#[cfg(target_arch = "wasm32")]
fn grows(bytes: usize) -> bool {
    std::arch::wasm32::memory_grow::<0>(bytes >> 16) != usize::MAX
}

#[cfg(not(target_arch = "wasm32"))]
fn grows(bytes: usize) -> bool {
    bytes == 0
}

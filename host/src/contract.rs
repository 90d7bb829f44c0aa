//! The host's side of the guest contract: what is generated from `wit/function.wit`, and the linker that offers WASI and
//! `report`.

use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use crate::sandbox::Sandbox;

wasmtime::component::bindgen!({
    path: "../wit",
    world: "function",
    exports: { default: async },
});

pub(crate) use exports::burla::function::handler::CallError;

/// Whatever a guest says of its end is kept to this many bytes: it travels to the user, and 64 KiB is more than anyone reads.
pub(crate) const TEXT_BYTES_MAX: usize = 64 << 10;

/// What the guest said of its panic, before it aborted.
#[derive(Debug)]
pub(crate) struct Panic {
    pub(crate) message: String,
    pub(crate) location: Option<String>,
}

/// Links what a component may import. Made once: linking WASI takes longer than a call.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Sandbox>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    burla::function::report::add_to_linker::<_, HasSelf<_>>(&mut linker, |sandbox: &mut Sandbox| sandbox)?;
    Ok(linker)
}

impl burla::function::report::Host for Sandbox {
    fn panicked(&mut self, mut message: String, location: Option<String>) {
        truncate(&mut message, TEXT_BYTES_MAX);
        let location = location.map(|mut location| {
            truncate(&mut location, TEXT_BYTES_MAX);
            location
        });
        // The first is the one that matters: a panic while panicking aborts.
        self.panic.get_or_insert(Panic { message, location });
    }
}

/// Cuts a text to at most `bytes_max`, at a character, and says so.
pub(crate) fn truncate(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        let cut = text.len();
        text.truncate(text.floor_char_boundary(bytes_max));
        let cut = cut - text.len();
        text.push_str(&format!("… ({cut} bytes more)"));
    }
}

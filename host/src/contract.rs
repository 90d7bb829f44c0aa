//! The host's side of the guest contract: what is generated from `wit/function.wit`, and the linker that offers WASI and
//! `report`.

use std::borrow::Cow;

use burla_types::text::{TEXT_BYTES_MAX, truncated};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Engine, StoreContextMut};

use crate::sandbox::Sandbox;

wasmtime::component::bindgen!({
    path: "../wit",
    world: "function",
    exports: { default: async },
});

pub(crate) use exports::burla::function::handler::CallError;

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
    // What counts and limits takes the place of what only does it.
    linker.allow_shadowing(true);
    crate::filesystem::add_to_linker(&mut linker)?;
    crate::network::add_to_linker(&mut linker)?;
    burla::function::report::add_to_linker::<_, HasSelf<_>>(&mut linker, |sandbox: &mut Sandbox| sandbox)?;
    // By hand, since it needs the store.
    linker.instance("burla:function/report@0.1.0")?.func_wrap("returning", returning)?;
    linker.allow_shadowing(false);
    Ok(linker)
}

fn returning(mut store: StoreContextMut<'_, Sandbox>, (bytes,): (u64,)) -> wasmtime::Result<()> {
    let host_call_bytes_max = store.data_mut().returning(bytes)?;
    store.set_hostcall_fuel(host_call_bytes_max);
    Ok(())
}

impl burla::function::report::Host for Sandbox {
    fn panicked(&mut self, message: String, location: Option<String>) {
        let (message, location) = (kept(message), location.map(kept));
        // The first is the one that matters: a panic while panicking aborts.
        self.panic.get_or_insert(Panic { message, location });
    }

    fn returning(&mut self, _bytes: u64) {}
}

/// What is kept of a text that a guest says of its end.
pub(crate) fn kept(text: String) -> String {
    match truncated(&text, TEXT_BYTES_MAX) {
        Cow::Borrowed(_) => text,
        Cow::Owned(cut) => cut,
    }
}

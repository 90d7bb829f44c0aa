//! What a call reaches over the network: nothing, unless its job was granted it.
//!
//! 1. an operator says what jobs may ask for ([`NetworkPolicy`], `policy.rs`);
//! 2. each call has its job's grants, and decides by them what it may reach (`access.rs`);
//! 3. names and TCP connections go through `wasi:sockets` (`sockets.rs`);
//! 4. HTTP requests go through `wasi:http` (`requests.rs`), over connections that are made here and not by the guest (`dial.rs`);
//!    what a guest has the host keep of them is bounded (`bounds.rs`);
//!    servers are certified by Mozilla's authorities or the operator's (`authorities.rs`);
//! 5. what all calls of a node look up at a time is bounded as well (`lookups.rs`).
//!
//! A guest never listens, and has no UDP. What it was denied is told at its end, with what to do about it.

mod access;
mod authorities;
mod bounds;
mod dial;
mod lookups;
mod policy;
mod requests;
mod sockets;

use std::sync::Arc;

use burla_types::NetworkGrant;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p2::bindings::sockets::{ip_name_lookup, tcp_create_socket};
use wasmtime_wasi::sockets::WasiSocketsCtxView;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView};

use self::access::Access;
use self::requests::Requests;
use self::sockets::{HasSockets, Lookup};
use crate::filesystem::{NodeFile, NodeFiles};
use crate::sandbox::Sandbox;

pub use self::authorities::{Authorities, AuthoritiesError};
pub(crate) use self::lookups::Lookups;
pub use self::policy::NetworkPolicy;
pub(crate) use self::sockets::SocketsView;

/// What the fields of one HTTP message may take, as the guest makes them. Servers take 8 to 64 KiB.
const FIELDS_BYTES_MAX: usize = 64 << 10;

/// The same of a call without grants, which is charged for none of it: enough to make a request, and be told that it is denied.
const UNGRANTED_FIELDS_BYTES_MAX: usize = 8 << 10;

/// Offers guests the network: names and TCP sockets in the place of wasmtime's own, which the linker has already, and HTTP requests,
/// of which some functions are replaced as well. Shadowing has to be allowed.
pub(crate) fn add_to_linker(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    ip_name_lookup::add_to_linker::<Sandbox, HasSockets>(linker, Sandbox::limited_sockets)?;
    tcp_create_socket::add_to_linker::<Sandbox, HasSockets>(linker, Sandbox::limited_sockets)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    bounds::add_to_linker(linker)
}

/// The network of one call.
pub(crate) struct Network {
    access: Arc<Access>,
    lookups: Vec<Lookup>,
    /// What its TCP sockets count for: as many as there are, and those that were closed since one was last made.
    open_sockets: Vec<NodeFile>,
    requests: Requests,
    http: WasiHttpCtx,
}

impl Network {
    /// The network of a call with these grants, which [`NetworkPolicy::check`] has passed. Its connections count among the node's
    /// files, and its lookups among the node's.
    pub(crate) fn new(
        grants: Arc<[NetworkGrant]>,
        policy: Arc<NetworkPolicy>,
        files: Arc<NodeFiles>,
        lookups: Arc<Lookups>,
    ) -> Self {
        let access = Arc::new(Access::new(grants, policy, files, lookups));
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(if access.has_grants() { FIELDS_BYTES_MAX } else { UNGRANTED_FIELDS_BYTES_MAX });
        Self { requests: Requests::new(Arc::clone(&access)), access, lookups: Vec::new(), open_sockets: Vec::new(), http }
    }

    /// Has wasmtime ask before every connection.
    pub(crate) fn configure(&self, wasi: &mut WasiCtxBuilder) {
        let granted = self.access.has_grants();
        wasi.allow_udp(false).allow_tcp(granted).allow_ip_name_lookup(granted);
        if granted {
            let access = Arc::clone(&self.access);
            wasi.socket_addr_check(move |address, purpose| {
                let allowed = access.allow_socket(address, purpose);
                Box::pin(std::future::ready(allowed))
            });
        }
    }

    /// `wasi:sockets`, over what wasmtime has of it.
    pub(crate) fn sockets<'a>(&'a mut self, wasi: WasiSocketsCtxView<'a>) -> SocketsView<'a> {
        SocketsView { wasi, access: &self.access, lookups: &mut self.lookups, open: &mut self.open_sockets }
    }

    /// `wasi:http`.
    pub(crate) fn http<'a>(&'a mut self, table: &'a mut ResourceTable) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView { hooks: &mut self.requests, table, ctx: &mut self.http }
    }

    /// What the call was denied since this was last asked, a line each with what to do about it.
    pub(crate) fn take_denials(&self) -> Vec<String> {
        self.access.take_denials()
    }
}

#[cfg(test)]
impl Network {
    /// With these grants and open ranges, on a node of its own.
    fn of(grants: &[&str], private: &[&str]) -> Self {
        let private = private.iter().map(|text| text.parse().unwrap()).collect();
        let policy = NetworkPolicy { private, ..NetworkPolicy::default() };
        let grants = grants.iter().map(|text| text.parse().unwrap()).collect();
        Self::new(grants, Arc::new(policy), Arc::new(NodeFiles::new(1024)), Arc::default())
    }
}

//! `wasi:sockets`, as guests have it: names are looked up and sockets made as wasmtime does both, if the call may.
//!
//! What wasmtime finds for a name passes through here, so that a guest is told open addresses only, and these are remembered for
//! when it connects. The connecting itself is judged by [`Access::allow_socket`], which wasmtime asks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use wasmtime::component::{HasData, Resource};
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{self, HostResolveAddressStream, ResolveAddressStream};
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode, IpAddress, IpAddressFamily};
use wasmtime_wasi::p2::bindings::sockets::tcp_create_socket;
use wasmtime_wasi::p2::{DynPollable, SocketError, SocketResult, TcpSocket};
use wasmtime_wasi::sockets::WasiSocketsCtxView;

use super::access::{Access, Host, SOCKETS_MAX};
use super::lookups::UnderWay;
use crate::filesystem::NodeFile;

/// Lookups of one call that may be under way. Each takes a thread until the system's resolver answers, and cannot be stopped: one
/// that the guest gives up counts until then, or a guest that starts and drops them would take all threads there are. A quarter of
/// what all calls may have together.
const LOOKUPS_MAX: usize = 16;

/// A name that is being looked up, or whose addresses are being told.
pub(super) struct Lookup {
    /// The number of its stream in the call's table of resources.
    stream: u32,
    /// `None` for what was an address already.
    name: Option<Arc<str>>,
    told_any: bool,
    /// An address that is not open.
    withheld: Option<IpAddr>,
    given_up: bool,
    under_way: UnderWay,
}

/// The part of a sandbox that sockets and names need.
pub(crate) struct SocketsView<'a> {
    pub(super) wasi: WasiSocketsCtxView<'a>,
    pub(super) access: &'a Access,
    pub(super) lookups: &'a mut Vec<Lookup>,
    pub(super) open: &'a mut Vec<NodeFile>,
}

/// Tells the linker of [`SocketsView`].
pub(super) struct HasSockets;

impl HasData for HasSockets {
    type Data<'a> = SocketsView<'a>;
}

// The errors of all of `wasi:sockets`; nothing is different about them here.
impl network::Host for SocketsView<'_> {
    fn network_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        network::Host::network_error_code(&mut self.wasi, error)
    }

    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }
}

impl network::HostNetwork for SocketsView<'_> {
    fn drop(&mut self, network: Resource<network::Network>) -> wasmtime::Result<()> {
        network::HostNetwork::drop(&mut self.wasi, network)
    }
}

impl ip_name_lookup::Host for SocketsView<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<network::Network>,
        text: String,
    ) -> SocketResult<Resource<ResolveAddressStream>> {
        let Some(host) = Host::parse(&text) else {
            self.access.deny_no_name(&text);
            return Err(ErrorCode::InvalidArgument.into());
        };
        if !self.access.allow_lookup(&host) {
            return Err(ErrorCode::AccessDenied.into());
        }
        self.drop_given_up();
        if self.lookups.len() >= LOOKUPS_MAX {
            return Err(ErrorCode::TemporaryResolverFailure.into());
        }
        // What was judged is looked up, and not what was given: wasmtime reads names more freely.
        let (name, text, mut under_way) = match host {
            Host::Address(address) => (None, address.to_string(), UnderWay::default()),
            Host::Name(name) => {
                let permit = self.access.lookups().try_take().ok_or(ErrorCode::TemporaryResolverFailure)?;
                (Some(Arc::clone(&name)), name.to_string(), UnderWay::new(permit))
            }
        };
        let stream = ip_name_lookup::Host::resolve_addresses(&mut self.wasi, network, text);
        if let Err(error) = &stream
            && error.downcast_ref().is_some()
        {
            under_way.ended();
        }
        let stream = stream?;
        let lookup = Lookup { stream: stream.rep(), name, told_any: false, withheld: None, given_up: false, under_way };
        self.lookups.push(lookup);
        Ok(stream)
    }
}

impl HostResolveAddressStream for SocketsView<'_> {
    fn resolve_next_address(&mut self, stream: Resource<ResolveAddressStream>) -> SocketResult<Option<IpAddress>> {
        let number = stream.rep();
        loop {
            let next = self.wasi.resolve_next_address(Resource::new_borrow(number));
            let Some(lookup) = self.lookups.iter_mut().find(|lookup| lookup.stream == number) else {
                return next.map(|_| None);
            };
            if !would_block(&next) {
                lookup.under_way.ended();
            }
            let next = next?;
            // An address is judged when it is connected to.
            let Some(name) = &lookup.name else { return Ok(next) };
            match next {
                Some(address) => {
                    let ip = ip_of(&address);
                    if self.access.opens(ip) {
                        self.access.resolved(name, ip);
                        lookup.told_any = true;
                        return Ok(Some(address));
                    }
                    lookup.withheld = Some(ip);
                }
                None => match lookup.withheld {
                    Some(address) if !lookup.told_any => {
                        self.access.deny_private(name, address);
                        return Err(ErrorCode::AccessDenied.into());
                    }
                    _ => return Ok(None),
                },
            }
        }
    }

    fn subscribe(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<Resource<DynPollable>> {
        self.wasi.subscribe(stream)
    }

    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
        let number = stream.rep();
        match self.lookups.iter_mut().find(|lookup| lookup.stream == number) {
            Some(lookup) => lookup.given_up = true,
            None => return HostResolveAddressStream::drop(&mut self.wasi, stream),
        }
        self.drop_given_up();
        Ok(())
    }
}

impl SocketsView<'_> {
    /// Drops the streams that the guest has dropped, but for those whose lookup is still under way.
    fn drop_given_up(&mut self) {
        let wasi = &mut self.wasi;
        self.lookups.retain_mut(|lookup| {
            if !lookup.given_up {
                return true;
            }
            let under_way = would_block(&wasi.resolve_next_address(Resource::new_borrow(lookup.stream)));
            if !under_way {
                lookup.under_way.ended();
            }
            // What the guest still waits for cannot be dropped, and is as soon as it no longer does.
            under_way || HostResolveAddressStream::drop(&mut *wasi, Resource::new_own(lookup.stream)).is_err()
        });
    }
}

impl tcp_create_socket::Host for SocketsView<'_> {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
        if !self.access.has_grants() {
            self.access.deny_sockets();
            return Err(ErrorCode::AccessDenied.into());
        }
        let open = self.wasi.table.iter_mut().filter(|resource| resource.is::<TcpSocket>()).count();
        self.open.truncate(open);
        if open >= SOCKETS_MAX {
            return Err(ErrorCode::NewSocketLimit.into());
        }
        let file = self.access.take_file().ok_or(ErrorCode::NewSocketLimit)?;
        let socket = tcp_create_socket::Host::create_tcp_socket(&mut self.wasi, family)?;
        self.open.push(file);
        Ok(socket)
    }
}

/// Whether a name is still being looked up.
fn would_block(next: &SocketResult<Option<IpAddress>>) -> bool {
    matches!(next, Err(error) if matches!(error.downcast_ref(), Some(ErrorCode::WouldBlock)))
}

fn ip_of(address: &IpAddress) -> IpAddr {
    match *address {
        IpAddress::Ipv4((a, b, c, d)) => Ipv4Addr::new(a, b, c, d).into(),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)).to_canonical(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use wasmtime::component::ResourceTable;
    use wasmtime_wasi::WasiCtx;
    use wasmtime_wasi::p2::Pollable;
    use wasmtime_wasi::p2::bindings::sockets::instance_network;
    use wasmtime_wasi::sockets::SocketAddrUse;

    use super::super::Network;
    use super::*;

    struct Guest {
        wasi: WasiCtx,
        table: ResourceTable,
        network: Network,
    }

    impl Guest {
        fn new(grants: &[&str], private: &[&str]) -> Self {
            let network = Network::of(grants, private);
            let mut builder = WasiCtx::builder();
            network.configure(&mut builder);
            Self { wasi: builder.build(), table: ResourceTable::new(), network }
        }

        fn view(&mut self) -> SocketsView<'_> {
            let Self { wasi, table, network } = self;
            network.sockets(WasiSocketsCtxView { ctx: wasi.sockets(), table })
        }

        fn look_up(&mut self, name: &str) -> Result<Resource<ResolveAddressStream>, ErrorCode> {
            let mut view = self.view();
            let network = instance_network::Host::instance_network(&mut view.wasi).unwrap();
            let stream = ip_name_lookup::Host::resolve_addresses(&mut view, network, name.to_owned());
            stream.map_err(|error| error.downcast().unwrap())
        }

        /// The next address, waited for.
        async fn next(&mut self, stream: &Resource<ResolveAddressStream>) -> Result<Option<IpAddr>, ErrorCode> {
            loop {
                let next = self.view().resolve_next_address(Resource::new_borrow(stream.rep()));
                match next.map_err(|error| error.downcast().unwrap()) {
                    Err(ErrorCode::WouldBlock) => tokio::time::sleep(Duration::from_millis(1)).await,
                    next => return next.map(|address| address.as_ref().map(ip_of)),
                }
            }
        }

        fn make_socket(&mut self) -> Result<Resource<TcpSocket>, ErrorCode> {
            let socket = tcp_create_socket::Host::create_tcp_socket(&mut self.view(), IpAddressFamily::Ipv4);
            socket.map_err(|error| error.downcast().unwrap())
        }
    }

    const LOOPBACK: &[&str] = &["127.0.0.0/8", "::1/128"];

    #[tokio::test]
    async fn without_grants_there_are_no_names_and_no_sockets() {
        let mut guest = Guest::new(&[], LOOPBACK);
        assert!(matches!(guest.look_up("localhost"), Err(ErrorCode::AccessDenied)));
        assert!(matches!(guest.make_socket(), Err(ErrorCode::AccessDenied)));
        let expected = [
            "localhost:PORT: not granted; add .allow_network(\"localhost:PORT\")",
            "a TCP connection: not granted; add .allow_network(\"HOST:PORT\")",
        ];
        assert_eq!(guest.network.take_denials(), expected);
    }

    #[tokio::test]
    async fn a_granted_name_is_looked_up_and_may_then_be_connected_to() {
        let mut guest = Guest::new(&["localhost:80"], LOOPBACK);
        assert!(matches!(guest.look_up("example.com"), Err(ErrorCode::AccessDenied)));
        assert!(matches!(guest.look_up("local%68ost"), Err(ErrorCode::InvalidArgument)));
        let stream = guest.look_up("LOCALHOST").unwrap();
        let address = guest.next(&stream).await.unwrap().unwrap();
        assert!(address.is_loopback());
        let connects =
            |guest: &Guest, port| guest.network.access.allow_socket(SocketAddr::new(address, port), SocketAddrUse::TcpConnect);
        assert!(connects(&guest, 80) && !connects(&guest, 81));
        HostResolveAddressStream::drop(&mut guest.view(), stream).unwrap();
        assert!(guest.network.lookups.is_empty());
    }

    #[tokio::test]
    async fn a_name_does_not_lead_to_private_addresses() {
        let mut guest = Guest::new(&["*"], &[]);
        let stream = guest.look_up("localhost").unwrap();
        assert!(matches!(guest.next(&stream).await, Err(ErrorCode::AccessDenied)));
        let denials = guest.network.take_denials();
        assert!(denials[0].starts_with("localhost: leads to ") && denials[0].contains("`allow-private`"), "{denials:?}");
    }

    #[tokio::test]
    async fn an_address_is_its_own_name_and_grants_nothing() {
        let mut guest = Guest::new(&["localhost:80"], LOOPBACK);
        let stream = guest.look_up("127.0.0.9").unwrap();
        assert_eq!(guest.next(&stream).await.unwrap(), Some("127.0.0.9".parse().unwrap()));
        assert!(guest.next(&stream).await.unwrap().is_none());
        let address = "127.0.0.9:80".parse().unwrap();
        assert!(!guest.network.access.allow_socket(address, SocketAddrUse::TcpConnect));
    }

    #[tokio::test]
    async fn lookups_that_are_given_up_count_until_they_end() {
        let mut guest = Guest::new(&["localhost:80"], LOOPBACK);
        let mut refused = 0;
        // Some may end meanwhile; never are there more.
        while refused == 0 {
            match guest.look_up("localhost") {
                Ok(stream) => HostResolveAddressStream::drop(&mut guest.view(), stream).unwrap(),
                Err(error) => {
                    assert!(matches!(error, ErrorCode::TemporaryResolverFailure), "{error:?}");
                    refused += 1;
                }
            }
            assert!(guest.network.lookups.len() <= LOOKUPS_MAX);
        }
        while !guest.network.lookups.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            guest.view().drop_given_up();
        }
        assert!(guest.look_up("localhost").is_ok());
    }

    #[tokio::test]
    async fn so_many_sockets_are_open_at_a_time() {
        let mut guest = Guest::new(&["127.0.0.1:80"], LOOPBACK);
        let mut sockets: Vec<_> = (0..SOCKETS_MAX).map(|_| guest.make_socket().unwrap()).collect();
        assert!(matches!(guest.make_socket(), Err(ErrorCode::NewSocketLimit)));
        assert_eq!(guest.network.open_sockets.len(), SOCKETS_MAX);
        guest.table.delete(sockets.pop().unwrap()).unwrap();
        guest.table.delete(sockets.pop().unwrap()).unwrap();
        assert!(guest.make_socket().is_ok());
        assert_eq!(guest.network.open_sockets.len(), SOCKETS_MAX - 1);
    }

    #[tokio::test]
    async fn a_stream_can_be_waited_for() {
        let mut guest = Guest::new(&["localhost:80"], LOOPBACK);
        let stream = guest.look_up("localhost").unwrap();
        guest.table.get_mut(&stream).unwrap().ready().await;
        assert!(guest.view().resolve_next_address(stream).is_ok());
    }
}

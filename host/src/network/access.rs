//! What one call may reach, and what it was denied. Decides, and opens no connection itself.
//!
//! A connection is judged twice. It has to be granted: its address is, or a name is that was found to lead to that address in this
//! call. And the address has to be open: it is public, or the operator opens its range. So a name that somebody points at a
//! private address leads nowhere.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burla_types::{NetworkGrant, host_name, text::truncated};
use tokio_rustls::TlsConnector;
use wasmtime_wasi::sockets::SocketAddrUse;

use super::lookups::Lookups;
use super::policy::NetworkPolicy;
use crate::filesystem::{NodeFile, NodeFiles};

/// Addresses of names that are remembered in one call; the oldest is forgotten for the newest. A program connects soon after it
/// looked up a name, so this is for those that look up a thousand first.
const RESOLVED_MAX: usize = 1024;

/// Denials that are told. They are mostly all of a kind, and who has read eight knows what to do.
const DENIALS_MAX: usize = 8;

/// What is kept of a name that is none; a real one has 253 bytes at most.
const HOST_BYTES_MAX: usize = 256;

/// Sockets that one call may have open, and besides them connections for its HTTP requests: more than browsers open to a server.
/// Each may hold 300 KiB of buffers, so that those of both are less than 10 MiB.
pub(super) const SOCKETS_MAX: usize = 16;

/// The grants of one call, the node's policy, and what has become of them.
pub(super) struct Access {
    grants: Arc<[NetworkGrant]>,
    policy: Arc<NetworkPolicy>,
    files: Arc<NodeFiles>,
    lookups: Arc<Lookups>,
    requests: AtomicUsize,
    seen: Mutex<Seen>,
}

/// Takes no memory until there is something to remember.
#[derive(Default)]
struct Seen {
    /// Where granted names led.
    resolved: VecDeque<(IpAddr, Arc<str>)>,
    denials: Vec<String>,
}

/// A host, as a guest named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Address(IpAddr),
    Name(Arc<str>),
}

impl Host {
    /// Reads what a guest gave. What resolvers take for an address though it is not written as one, such as `127.1`, is neither.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.parse::<IpAddr>() {
            Ok(address) => Some(Self::Address(address.to_canonical())),
            Err(_) => host_name(text).ok().map(|name| Self::Name(name.into())),
        }
    }

    /// As it stands in a grant.
    fn with_port(&self, port: &str) -> String {
        match self {
            Self::Address(IpAddr::V6(address)) => format!("[{address}]:{port}"),
            Self::Address(IpAddr::V4(address)) => format!("{address}:{port}"),
            Self::Name(name) => format!("{name}:{port}"),
        }
    }
}

impl Access {
    pub(super) fn new(
        grants: Arc<[NetworkGrant]>,
        policy: Arc<NetworkPolicy>,
        files: Arc<NodeFiles>,
        lookups: Arc<Lookups>,
    ) -> Self {
        Self { grants, policy, files, lookups, requests: AtomicUsize::new(0), seen: Mutex::default() }
    }

    pub(super) fn has_grants(&self) -> bool {
        !self.grants.is_empty()
    }

    /// What makes TLS connections, to servers that are certified by whom this node trusts.
    pub(super) fn tls(&self) -> &TlsConnector {
        self.policy.authorities.connector()
    }

    /// The lookups of all calls.
    pub(super) fn lookups(&self) -> &Lookups {
        &self.lookups
    }

    /// What a connection counts for among the node's open files, if there is one left.
    pub(super) fn take_file(&self) -> Option<NodeFile> {
        self.files.take()
    }

    /// Whether the call may look up this host. An address is judged when it is connected to, since only then its port is known.
    pub(super) fn allow_lookup(&self, host: &Host) -> bool {
        let granted = match host {
            Host::Address(_) => self.has_grants(),
            Host::Name(name) => self.grants.iter().any(|grant| grant.allows_name(name, None)),
        };
        if !granted {
            self.deny_not_granted(&host.with_port("PORT"));
        }
        granted
    }

    /// Whether the call may send a request to this host. Where a name leads is judged when that is known.
    pub(super) fn allow_request(&self, host: &Host, port: u16) -> bool {
        let name = match host {
            Host::Address(address) => return self.allow_connect(SocketAddr::new(*address, port)),
            Host::Name(name) => name,
        };
        let granted = self.grants.iter().any(|grant| grant.allows_name(name, Some(port)));
        if !granted {
            self.deny_not_granted(&host.with_port(&port.to_string()));
        }
        granted
    }

    /// Whether the call may use a socket in this way. It may connect, and nothing else.
    pub(super) fn allow_socket(&self, address: SocketAddr, purpose: SocketAddrUse) -> bool {
        match purpose {
            SocketAddrUse::TcpConnect => self.allow_connect(address),
            // Asked before every connection: the system chooses the address and port that it comes from.
            SocketAddrUse::TcpBind if address.ip().is_unspecified() && address.port() == 0 => true,
            SocketAddrUse::TcpBind | SocketAddrUse::TcpListen => {
                self.deny(format!("{address}: a function cannot listen, only connect"));
                false
            }
            SocketAddrUse::TcpAccept | SocketAddrUse::UdpBind | SocketAddrUse::UdpSend | SocketAddrUse::UdpReceive => false,
        }
    }

    fn allow_connect(&self, address: SocketAddr) -> bool {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        if !self.opens(ip) {
            let closed = self.policy.why_closed(ip);
            self.deny(format!("{}: {closed}", Host::Address(ip).with_port(&port.to_string())));
            return false;
        }
        if self.grants.iter().any(|grant| grant.allows_address(ip, port)) {
            return true;
        }
        let names: Vec<Arc<str>> = {
            let seen = self.seen();
            let led_there = seen.resolved.iter().rev().filter(|(resolved, _)| *resolved == ip);
            led_there.map(|(_, name)| Arc::clone(name)).collect()
        };
        if names.iter().any(|name| self.grants.iter().any(|grant| grant.allows_name(name, Some(port)))) {
            return true;
        }
        // The newest is what the guest most likely means.
        let host = names.into_iter().next().map_or(Host::Address(ip), Host::Name);
        self.deny_not_granted(&host.with_port(&port.to_string()));
        false
    }

    /// Whether this address can be reached at all.
    pub(super) fn opens(&self, address: IpAddr) -> bool {
        self.policy.opens(address)
    }

    /// Remembers that a granted name leads to this address, which is open.
    pub(super) fn resolved(&self, name: &Arc<str>, address: IpAddr) {
        let mut seen = self.seen();
        let known = seen.resolved.iter().position(|(resolved, of)| *resolved == address && of == name);
        if let Some(known) = known {
            seen.resolved.remove(known);
        } else if seen.resolved.len() >= RESOLVED_MAX {
            seen.resolved.pop_front();
        }
        seen.resolved.push_back((address, Arc::clone(name)));
    }

    /// A granted name leads to addresses that are not open, of which this is one, and to no other.
    pub(super) fn deny_private(&self, name: &str, address: IpAddr) {
        self.deny(format!("{name}: leads to {address}, {}", self.policy.why_closed(address)));
    }

    /// The guest wants to look up what is no name.
    pub(super) fn deny_no_name(&self, text: &str) {
        self.deny(format!("{:?}: is neither a host's name nor an address", truncated(text, HOST_BYTES_MAX)));
    }

    /// The guest wants to connect, nobody knows where to.
    pub(super) fn deny_sockets(&self) {
        self.deny("a TCP connection: not granted; add .allow_network(\"HOST:PORT\")".to_owned());
    }

    fn deny_not_granted(&self, target: &str) {
        self.deny(format!("{target}: not granted; add .allow_network(\"{target}\")"));
    }

    fn deny(&self, denial: String) {
        let mut seen = self.seen();
        if seen.denials.len() < DENIALS_MAX && !seen.denials.contains(&denial) {
            seen.denials.push(denial);
        }
    }

    pub(super) fn take_denials(&self) -> Vec<String> {
        std::mem::take(&mut self.seen().denials)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the connections that a call may have open for requests, and one of the node's files. Held for as long as it takes a
/// descriptor, a thread that looks up a name for it, or memory for a body that is not read yet.
pub(super) struct RequestSlot {
    access: Arc<Access>,
    _file: NodeFile,
}

impl RequestSlot {
    /// Takes one, if there is one left.
    pub(super) fn take(access: &Arc<Access>) -> Option<Self> {
        let file = access.take_file()?;
        let one_more = |open: usize| (open < SOCKETS_MAX).then_some(open + 1);
        access.requests.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Self { access: Arc::clone(access), _file: file })
    }
}

impl Drop for RequestSlot {
    fn drop(&mut self) {
        self.access.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
impl Access {
    /// With these grants and open ranges, on a node of its own that may have so many files open.
    pub(super) fn of(grants: &[&str], private: &[&str], files_max: usize) -> Self {
        let policy =
            NetworkPolicy { private: private.iter().map(|text| text.parse().unwrap()).collect(), ..NetworkPolicy::default() };
        let grants = grants.iter().map(|text| text.parse().unwrap()).collect();
        Self::new(grants, Arc::new(policy), Arc::new(NodeFiles::new(files_max)), Arc::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(grants: &[&str], private: &[&str]) -> Access {
        Access::of(grants, private, 1024)
    }

    fn connect(access: &Access, address: &str) -> bool {
        access.allow_socket(address.parse().unwrap(), SocketAddrUse::TcpConnect)
    }

    fn lookup(access: &Access, host: &str) -> bool {
        access.allow_lookup(&Host::parse(host).unwrap())
    }

    #[test]
    fn without_grants_everything_is_denied_and_told_once() {
        let access = access(&[], &["0.0.0.0/0"]);
        for _ in 0..2 {
            assert!(!lookup(&access, "API.example.com."));
            assert!(!lookup(&access, "::1"));
            assert!(!connect(&access, "8.8.8.8:443"));
            assert!(!access.allow_request(&Host::parse("example.com").unwrap(), 80));
        }
        let expected = [
            "api.example.com:PORT: not granted; add .allow_network(\"api.example.com:PORT\")",
            "[::1]:PORT: not granted; add .allow_network(\"[::1]:PORT\")",
            "8.8.8.8:443: not granted; add .allow_network(\"8.8.8.8:443\")",
            "example.com:80: not granted; add .allow_network(\"example.com:80\")",
        ];
        assert_eq!(access.take_denials(), expected);
        assert_eq!(access.take_denials(), [""; 0]);
    }

    #[test]
    fn an_address_is_reached_by_its_own_grant_or_by_a_name_that_led_there() {
        let access = access(&["example.com:443", "*.example.org:*", "8.8.8.8:53", "[2606:4700::1]:443"], &[]);
        assert!(connect(&access, "8.8.8.8:53") && connect(&access, "[2606:4700::1]:443"));
        assert!(!connect(&access, "8.8.8.8:54") && !connect(&access, "93.184.216.34:443"));
        assert!(lookup(&access, "example.com") && lookup(&access, "a.b.example.org") && !lookup(&access, "example.org"));
        access.resolved(&"example.com".into(), "93.184.216.34".parse().unwrap());
        assert!(connect(&access, "93.184.216.34:443"));
        assert!(!connect(&access, "93.184.216.34:80") && !connect(&access, "93.184.216.35:443"));
        access.resolved(&"a.example.org".into(), "93.184.216.34".parse().unwrap());
        assert!(connect(&access, "93.184.216.34:80"));
        let denials = access.take_denials();
        assert!(
            denials.contains(&"example.com:80: not granted; add .allow_network(\"example.com:80\")".to_owned()),
            "{denials:?}"
        );
    }

    #[test]
    fn private_addresses_are_denied_even_where_everything_is_granted() {
        let everything = access(&["*"], &[]);
        for address in ["127.0.0.1:80", "10.0.0.7:80", "169.254.169.254:80", "[::1]:80", "[fd00::1]:80", "[::ffff:10.0.0.8]:80"] {
            assert!(!connect(&everything, address), "{address}");
        }
        assert!(connect(&everything, "8.8.8.8:80"));
        let denials = everything.take_denials();
        assert_eq!(denials[1], "10.0.0.7:80: in a private range, which this node's policy `allow-private` does not open");
        let opened = access(&["*:80"], &["10.0.0.0/8"]);
        assert!(connect(&opened, "10.0.0.7:80") && !connect(&opened, "10.0.0.7:81") && !connect(&opened, "127.0.0.1:80"));
    }

    #[test]
    fn sockets_connect_and_do_nothing_else() {
        let access = access(&["*"], &["0.0.0.0/0", "::/0"]);
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(access.allow_socket(address("0.0.0.0:0"), SocketAddrUse::TcpBind));
        assert!(access.allow_socket(address("[::]:0"), SocketAddrUse::TcpBind));
        let denied = [
            ("0.0.0.0:80", SocketAddrUse::TcpBind),
            ("127.0.0.1:0", SocketAddrUse::TcpBind),
            ("0.0.0.0:0", SocketAddrUse::TcpListen),
            ("8.8.8.8:80", SocketAddrUse::TcpAccept),
            ("0.0.0.0:0", SocketAddrUse::UdpBind),
            ("8.8.8.8:53", SocketAddrUse::UdpSend),
            ("8.8.8.8:53", SocketAddrUse::UdpReceive),
        ];
        for (text, purpose) in denied {
            assert!(!access.allow_socket(address(text), purpose), "{text} {purpose:?}");
        }
        assert_eq!(access.take_denials()[0], "0.0.0.0:80: a function cannot listen, only connect");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let access = access(&["*.example.com:443"], &[]);
        let address = |number: u32| IpAddr::from((0x0800_0000 + number).to_be_bytes());
        let connects = |number: u32| access.allow_socket(SocketAddr::new(address(number), 443), SocketAddrUse::TcpConnect);
        let name: Arc<str> = "a.example.com".into();
        for number in 0..RESOLVED_MAX as u32 {
            access.resolved(&name, address(number));
        }
        // Looked up again, it is the newest.
        access.resolved(&name, address(0));
        access.resolved(&name, address(RESOLVED_MAX as u32));
        assert!(connects(0) && !connects(1) && connects(2) && connects(RESOLVED_MAX as u32));
        for number in 0..100 {
            assert!(!connects(0x0100_0000 + number));
        }
        assert_eq!(access.take_denials().len(), DENIALS_MAX);
        access.deny_no_name(&"ä".repeat(1 << 20));
        assert!(access.take_denials()[0].len() < 2 * HOST_BYTES_MAX);
    }

    #[test]
    fn hosts_are_addresses_or_names() {
        assert_eq!(Host::parse("::ffff:10.0.0.7"), Some(Host::Address("10.0.0.7".parse().unwrap())));
        assert_eq!(Host::parse("Example.COM."), Some(Host::Name("example.com".into())));
        for text in ["", "127.1", "2130706433", "0x7f000001", "exa%6dple.com", "bücher.example", "[::1]", "a b", "a.com:80"] {
            assert_eq!(Host::parse(text), None, "{text}");
        }
    }

    #[test]
    fn requests_share_so_many_connections() {
        let access = Arc::new(access(&[], &[]));
        let mut slots: Vec<_> = (0..SOCKETS_MAX).map(|_| RequestSlot::take(&access).unwrap()).collect();
        assert!(RequestSlot::take(&access).is_none());
        slots.pop();
        assert!(RequestSlot::take(&access).is_some());
    }

    #[test]
    fn connections_are_files_of_the_node() {
        let access = Arc::new(Access::of(&[], &[], 2));
        let file = access.take_file().unwrap();
        let slot = RequestSlot::take(&access).unwrap();
        assert!(RequestSlot::take(&access).is_none() && access.take_file().is_none());
        drop(slot);
        assert!(access.take_file().is_some());
        drop(file);
        let slots: Vec<_> = (0..2).map(|_| RequestSlot::take(&access).unwrap()).collect();
        assert_eq!(slots.len(), access.requests.load(Ordering::Relaxed));
    }
}

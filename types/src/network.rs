//! What a job may reach on the network: what its user grants it, and which addresses are everybody's.
//!
//! A [`NetworkGrant`] is the text of `.allow_network("api.example.com:443")`. An operator writes the same texts to say what may
//! be granted on a node. Whatever is granted, a call reaches public addresses only ([`is_public`]), and besides them the
//! [`AddressRange`]s that the operator opens.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Grants that one job may bring. Each connection of each call is compared with all of them; who needs more names grants
/// `*.example.com`, or a port of every host.
pub const NETWORK_GRANTS_MAX: usize = 64;

/// The longest name that DNS has, written with dots between its labels (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 253;

/// The longest label of a name (RFC 1035, section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// Hosts and a port of theirs that a job may connect to.
///
/// `api.example.com:443` is one host, `*.example.com:443` every name below `example.com` but not that name itself,
/// `93.184.216.34:80` and `[2001:db8::1]:443` an address, `*:443` every host, `example.com:*` every port, and `*` everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NetworkGrant {
    host: HostPattern,
    /// `None` is every port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum HostPattern {
    Any,
    /// The names below this one, at any depth.
    Below(String),
    Name(String),
    Address(IpAddr),
}

impl NetworkGrant {
    /// The whole network.
    pub const EVERYTHING: Self = Self { host: HostPattern::Any, port: None };

    /// Whether this grants the host of this name, at this port or, without one, at any. An address written as a name is none.
    pub fn allows_name(&self, name: &str, port: Option<u16>) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        let host = match &self.host {
            HostPattern::Any => true,
            HostPattern::Name(granted) => granted.eq_ignore_ascii_case(name),
            HostPattern::Below(domain) => is_below(name, domain),
            HostPattern::Address(_) => false,
        };
        host && port.is_none_or(|port| self.allows_port(port))
    }

    /// Whether this grants this address by itself. What was granted by a name is not: who asks knows which names led there.
    pub fn allows_address(&self, address: IpAddr, port: u16) -> bool {
        let host = match &self.host {
            HostPattern::Any => true,
            HostPattern::Address(granted) => *granted == address.to_canonical(),
            HostPattern::Name(_) | HostPattern::Below(_) => false,
        };
        host && self.allows_port(port)
    }

    /// Whether all that the other grants is granted by this as well.
    pub fn covers(&self, other: &Self) -> bool {
        let host = match (&self.host, &other.host) {
            (HostPattern::Any, _) => true,
            (HostPattern::Below(domain), HostPattern::Below(other)) => domain == other || is_below(other, domain),
            (HostPattern::Below(domain), HostPattern::Name(name)) => is_below(name, domain),
            (host, other) => host == other,
        };
        host && (self.port.is_none() || self.port == other.port)
    }

    /// The address, of a grant that names one.
    pub fn address(&self) -> Option<IpAddr> {
        match self.host {
            HostPattern::Address(address) => Some(address),
            HostPattern::Any | HostPattern::Below(_) | HostPattern::Name(_) => None,
        }
    }

    fn allows_port(&self, port: u16) -> bool {
        self.port.is_none_or(|granted| granted == port)
    }
}

/// Whether a name is below a domain: `a.b.example.com` is below `example.com`, and neither `example.com` nor
/// `badexample.com` is.
fn is_below(name: &str, domain: &str) -> bool {
    let Some(above) = name.len().checked_sub(domain.len()) else { return false };
    // Bytes, since a name that a guest gave may be cut within a character.
    let (labels, end) = name.as_bytes().split_at(above);
    end.eq_ignore_ascii_case(domain.as_bytes()) && labels.len() > 1 && labels.ends_with(b".")
}

impl fmt::Display for NetworkGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            HostPattern::Any => f.write_str("*")?,
            HostPattern::Below(domain) => write!(f, "*.{domain}")?,
            HostPattern::Name(name) => f.write_str(name)?,
            HostPattern::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            HostPattern::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => f.write_str(":*"),
        }
    }
}

impl FromStr for NetworkGrant {
    type Err = ParseNetworkGrantError;

    fn from_str(text: &str) -> Result<Self, ParseNetworkGrantError> {
        parse_grant(text).map_err(|remedy| ParseNetworkGrantError { grant: text.to_owned(), remedy })
    }
}

/// A text that grants nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{grant}` cannot be granted: {remedy}")]
pub struct ParseNetworkGrantError {
    /// What was given.
    pub grant: String,
    /// What is wrong with it, and what can be given.
    pub remedy: &'static str,
}

/// Reads a grant; the error is the remedy.
fn parse_grant(text: &str) -> Result<NetworkGrant, &'static str> {
    const EMPTY: &str = "give a host and a port, as in `api.example.com:443`, or `*` for everything";
    const URL: &str = "it is a URL; leave out scheme and path and give host and port, as in `api.example.com:443`";
    const PATH: &str = "a grant is for a host, not for a path or a range; give host and port, as in `api.example.com:443`";
    const NO_PORT: &str =
        "it has no port; give one, as in `api.example.com:443`, or `*` for every port, as in `api.example.com:*`";
    const NO_BRACKETS: &str = "an IPv6 address has brackets around it, as in `[2001:db8::1]:443`";
    const NO_IPV6: &str = "what is in brackets is no IPv6 address, such as `[2001:db8::1]:443` has";

    match text {
        "" => return Err(EMPTY),
        "*" => return Ok(NetworkGrant::EVERYTHING),
        _ if text.contains("://") => return Err(URL),
        _ if text.contains('/') => return Err(PATH),
        _ => {}
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or(NO_BRACKETS)?;
        let address: Ipv6Addr = address.parse().map_err(|_| NO_IPV6)?;
        let port = parse_port(port.strip_prefix(':').ok_or(NO_PORT)?)?;
        return Ok(NetworkGrant { host: HostPattern::Address(IpAddr::V6(address).to_canonical()), port });
    }
    let (host, port) = text.rsplit_once(':').ok_or(NO_PORT)?;
    if host.contains(':') {
        return Err(NO_BRACKETS);
    }
    Ok(NetworkGrant { host: parse_host(host)?, port: parse_port(port)? })
}

fn parse_port(port: &str) -> Result<Option<u16>, &'static str> {
    const NO_NUMBER: &str = "its port is neither a number from 1 to 65535 nor `*` for every port";
    match port {
        "*" => Ok(None),
        // A number's own parsing would take a sign as well.
        _ if !port.bytes().all(|byte| byte.is_ascii_digit()) => Err(NO_NUMBER),
        _ => port.parse::<u16>().ok().filter(|&port| port > 0).map(Some).ok_or(NO_NUMBER),
    }
}

fn parse_host(host: &str) -> Result<HostPattern, &'static str> {
    const WILDCARD: &str = "`*` stands for every host, as in `*:443`, or for all labels before a name, as in `*.example.com:443`";
    if host == "*" {
        return Ok(HostPattern::Any);
    }
    let (below, name) = match host.strip_prefix("*.") {
        Some(domain) => (true, domain),
        None => (false, host),
    };
    if name.contains('*') {
        return Err(WILDCARD);
    }
    match name.parse::<Ipv4Addr>() {
        Ok(_) if below => Err(WILDCARD),
        Ok(address) => Ok(HostPattern::Address(address.into())),
        Err(_) if below => Ok(HostPattern::Below(host_name(name)?)),
        Err(_) => Ok(HostPattern::Name(host_name(name)?)),
    }
}

/// A host's name as it is compared: in lower case, without the dot that may end it. The error says what a name is.
pub fn host_name(text: &str) -> Result<String, &'static str> {
    const NO_ASCII: &str = "give the name in its ASCII form, such as `xn--bcher-kva.example`";
    const NO_NAME: &str = "a host's name has up to 253 letters, digits, `-` and `_`, with a dot after every 63 of them or fewer";
    // Resolvers take `127.1` and `0x7f.1` for addresses.
    const NUMBER: &str = "what ends in a number is no name, and an IPv4 address has four numbers up to 255";

    let name = text.strip_suffix('.').unwrap_or(text);
    if !name.is_ascii() {
        return Err(NO_ASCII);
    }
    if name.len() > NAME_BYTES_MAX || !name.split('.').all(is_label) {
        return Err(NO_NAME);
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.starts_with(|first: char| first.is_ascii_digit()) && is_number(last) {
        return Err(NUMBER);
    }
    Ok(name.to_ascii_lowercase())
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}

/// Whether a label is a number to those who read addresses in C's ways.
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// Addresses that begin alike, such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressRange {
    first: IpAddr,
    prefix_bits: u8,
}

impl AddressRange {
    /// Whether the address is one of these. An IPv4 address written as an IPv6 one is an IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let host_bits = u32::from(bits(self.first) - self.prefix_bits);
        let differing = match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => u128::from(first.to_bits() ^ address.to_bits()),
            (IpAddr::V6(first), IpAddr::V6(address)) => first.to_bits() ^ address.to_bits(),
            _ => return false,
        };
        // All 128 bits cannot be shifted out, and leave nothing.
        differing.checked_shr(host_bits).unwrap_or(0) == 0
    }

    const fn ipv4(a: u8, b: u8, c: u8, prefix_bits: u8) -> Self {
        Self { first: IpAddr::V4(Ipv4Addr::new(a, b, c, 0)), prefix_bits }
    }

    const fn ipv6(a: u16, b: u16, prefix_bits: u8) -> Self {
        Self { first: IpAddr::V6(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0)), prefix_bits }
    }
}

/// The bits that an address of this kind has.
fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix_bits)
    }
}

impl FromStr for AddressRange {
    type Err = ParseAddressRangeError;

    fn from_str(text: &str) -> Result<Self, ParseAddressRangeError> {
        parse_range(text).map_err(|remedy| ParseAddressRangeError { range: text.to_owned(), remedy })
    }
}

/// A text that should have been a range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{range}` is not a range of addresses: {remedy}")]
pub struct ParseAddressRangeError {
    /// What was given.
    pub range: String,
    /// What is wrong with it, and what can be given.
    pub remedy: &'static str,
}

/// Reads a range, or one address as the range of itself; the error is the remedy.
fn parse_range(text: &str) -> Result<AddressRange, &'static str> {
    const NO_ADDRESS: &str = "give an address and how many of its bits are fixed, as in `10.0.0.0/8` or `fd00::/8`";
    const NO_BITS: &str = "what is behind `/` is not the number of its fixed bits: up to 32 of IPv4, up to 128 of IPv6";
    const NOT_FIRST: &str = "its address is not the first of the range: bits are set that are not fixed";

    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    const MAPPED: &str = "it is IPv4 inside of IPv6: give it as IPv4, as in `10.0.0.0/8`";

    let first: IpAddr = address.parse().map_err(|_| NO_ADDRESS)?;
    // Addresses are looked at as IPv4 where they are that, so that such a range would contain none.
    if matches!(first, IpAddr::V6(first) if first.to_ipv4_mapped().is_some()) {
        return Err(MAPPED);
    }
    let prefix_bits = match prefix {
        None => bits(first),
        // A number's own parsing would take a sign as well.
        Some(prefix) if !prefix.bytes().all(|byte| byte.is_ascii_digit()) => return Err(NO_BITS),
        Some(prefix) => prefix.parse::<u8>().ok().filter(|&prefix| prefix <= bits(first)).ok_or(NO_BITS)?,
    };
    let host_bits = u32::from(bits(first) - prefix_bits);
    let trailing_zeros = match first {
        IpAddr::V4(first) => first.to_bits().trailing_zeros(),
        IpAddr::V6(first) => first.to_bits().trailing_zeros(),
    };
    if trailing_zeros < host_bits {
        return Err(NOT_FIRST);
    }
    Ok(AddressRange { first, prefix_bits })
}

/// The addresses at which no host of the public internet is: those of this machine, of its neighbors, of private networks and
/// their metadata services, and those that are set aside for something else.
///
/// From the registries of the Internet Assigned Numbers Authority:
/// [IPv4 special-purpose addresses](https://www.iana.org/assignments/iana-ipv4-special-registry),
/// [IPv6 special-purpose addresses](https://www.iana.org/assignments/iana-ipv6-special-registry) and the
/// [IPv6 address space](https://www.iana.org/assignments/ipv6-address-space), of which only `2000::/3` is given to hosts.
pub const NON_PUBLIC_RANGES: &[AddressRange] = &[
    // This network; `0.0.0.0` is this machine.
    AddressRange::ipv4(0, 0, 0, 8),
    // Private.
    AddressRange::ipv4(10, 0, 0, 8),
    // Shared by the customers of a carrier; some clouds have their own services there.
    AddressRange::ipv4(100, 64, 0, 10),
    // Loopback.
    AddressRange::ipv4(127, 0, 0, 8),
    // Link-local, where clouds have their metadata services.
    AddressRange::ipv4(169, 254, 0, 16),
    // Private.
    AddressRange::ipv4(172, 16, 0, 12),
    // Set aside for protocols.
    AddressRange::ipv4(192, 0, 0, 24),
    // Documentation.
    AddressRange::ipv4(192, 0, 2, 24),
    // Relays of 6to4, of former times.
    AddressRange::ipv4(192, 88, 99, 24),
    // Private.
    AddressRange::ipv4(192, 168, 0, 16),
    // Benchmarks.
    AddressRange::ipv4(198, 18, 0, 15),
    // Documentation.
    AddressRange::ipv4(198, 51, 100, 24),
    // Documentation.
    AddressRange::ipv4(203, 0, 113, 24),
    // Multicast.
    AddressRange::ipv4(224, 0, 0, 4),
    // Reserved, and broadcast at its end.
    AddressRange::ipv4(240, 0, 0, 4),
    // All below the hosts' share: unspecified, loopback, `100::/64` that discards, `64:ff9b:1::/48` that leads to private IPv4.
    AddressRange::ipv6(0x0000, 0, 3),
    // Set aside for protocols, Teredo among them, which tunnels to any IPv4 address.
    AddressRange::ipv6(0x2001, 0, 23),
    // Documentation.
    AddressRange::ipv6(0x2001, 0x0db8, 32),
    // 6to4, which tunnels to any IPv4 address.
    AddressRange::ipv6(0x2002, 0, 16),
    // Documentation.
    AddressRange::ipv6(0x3fff, 0, 20),
    // All above the hosts' share: `5f00::/16` for routing, `fc00::/7` private, `fe80::/10` link-local, `ff00::/8` multicast.
    AddressRange::ipv6(0x4000, 0, 2),
    AddressRange::ipv6(0x8000, 0, 1),
];

/// Whether a host of the public internet can be at this address. One that carries an IPv4 address to be translated to
/// (`::ffff:0:0/96`, `64:ff9b::/96`) is judged by that.
pub fn is_public(address: IpAddr) -> bool {
    let address = match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(outer) => translated(outer).map_or(address, IpAddr::V4),
    };
    !NON_PUBLIC_RANGES.iter().any(|range| range.contains(address))
}

/// The IPv4 address that an IPv6 address stands for, on this machine (RFC 4291) or behind a translator (RFC 6052).
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    const TRANSLATOR: AddressRange = AddressRange::ipv6(0x0064, 0xff9b, 96);
    let behind_translator = || {
        let [.., a, b, c, d] = address.octets();
        TRANSLATOR.contains(address.into()).then(|| Ipv4Addr::new(a, b, c, d))
    };
    address.to_ipv4_mapped().or_else(behind_translator)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(text: &str) -> NetworkGrant {
        text.parse().unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn grants_are_shown_as_they_are_read() {
        let long = format!("{0}.{0}.{0}.{1}:1", "a".repeat(63), "b".repeat(61));
        let grants = [
            ("api.example.com:443", "api.example.com:443"),
            ("API.Example.COM.:443", "api.example.com:443"),
            ("*.example.com:443", "*.example.com:443"),
            ("*.Example.com.:*", "*.example.com:*"),
            ("example.com:*", "example.com:*"),
            ("*:443", "*:443"),
            ("*", "*:*"),
            ("*:*", "*:*"),
            ("localhost:1", "localhost:1"),
            ("xn--bcher-kva.example:65535", "xn--bcher-kva.example:65535"),
            ("_dmarc.3com.example:80", "_dmarc.3com.example:80"),
            ("93.184.216.34:80", "93.184.216.34:80"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
            ("[2001:DB8:0::0:1]:*", "[2001:db8::1]:*"),
            ("[::ffff:93.184.216.34]:80", "93.184.216.34:80"),
            (long.as_str(), long.as_str()),
        ];
        for (text, shown) in grants {
            let read = grant(text);
            assert_eq!(read.to_string(), shown);
            assert_eq!(grant(shown), read, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_granted_is_refused_with_a_remedy() {
        let long_label = format!("{}.com:443", "a".repeat(64));
        let long_name = format!("{0}.{0}.{0}.{1}:1", "a".repeat(63), "b".repeat(62));
        let refused = [
            ("", "api.example.com:443"),
            ("example.com", "no port"),
            ("*.example.com", "no port"),
            ("[2001:db8::1]", "no port"),
            ("https://example.com", "URL"),
            ("http://example.com:80/", "URL"),
            ("example.com:443/path", "path"),
            ("10.0.0.0/8:80", "range"),
            ("example.com:0", "1 to 65535"),
            ("example.com:65536", "1 to 65535"),
            ("example.com:+80", "1 to 65535"),
            ("example.com:", "1 to 65535"),
            ("example.com:http", "1 to 65535"),
            ("*foo.com:443", "*.example.com"),
            ("a.*.com:443", "*.example.com"),
            ("*.*.com:443", "*.example.com"),
            ("**:443", "*.example.com"),
            ("*.10.0.0.7:443", "*.example.com"),
            ("2001:db8::1", "[2001:db8::1]:443"),
            ("2001:db8::1:443", "[2001:db8::1]:443"),
            ("::1:80", "[2001:db8::1]:443"),
            ("[2001:db8::1:443", "[2001:db8::1]:443"),
            ("[example.com]:443", "no IPv6 address"),
            ("[fe80::1%eth0]:443", "no IPv6 address"),
            (":443", "253 letters"),
            (".:443", "253 letters"),
            ("*.:443", "253 letters"),
            ("a..b:443", "253 letters"),
            ("-a.com:443", "253 letters"),
            ("a-.com:443", "253 letters"),
            ("user@example.com:443", "253 letters"),
            ("exa mple.com:443", "253 letters"),
            (" example.com:443", "253 letters"),
            (long_label.as_str(), "253 letters"),
            (long_name.as_str(), "253 letters"),
            ("bücher.example:443", "xn--"),
            ("127.1:80", "IPv4"),
            ("010.0.0.1:80", "IPv4"),
            ("2130706433:80", "IPv4"),
            ("0x7f.0X1:80", "IPv4"),
            ("256.0.0.1:80", "IPv4"),
        ];
        for (text, remedy) in refused {
            let error = text.parse::<NetworkGrant>().unwrap_err();
            assert!(error.remedy.contains(remedy), "{text}: {}", error.remedy);
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn a_name_is_granted_by_itself_or_by_what_is_above_it() {
        let names = [
            ("api.example.com:443", "api.example.com", Some(443), true),
            ("api.example.com:443", "API.example.COM.", Some(443), true),
            ("api.example.com:443", "api.example.com", None, true),
            ("api.example.com:443", "api.example.com", Some(80), false),
            ("api.example.com:443", "example.com", Some(443), false),
            ("api.example.com:443", "x.api.example.com", Some(443), false),
            ("*.example.com:443", "api.example.com", Some(443), true),
            ("*.example.com:443", "A.B.Example.Com", Some(443), true),
            ("*.example.com:443", "example.com", Some(443), false),
            ("*.example.com:443", ".example.com", Some(443), false),
            ("*.example.com:443", "badexample.com", Some(443), false),
            ("*.example.com:443", "example.com.evil.org", None, false),
            ("*.example.com:443", "com", None, false),
            ("*.example.com:443", "äexample.com", None, false),
            ("example.com:*", "example.com", Some(1), true),
            ("*:443", "anything", Some(443), true),
            ("*:443", "anything", Some(80), false),
            ("*", "anything", Some(80), true),
            ("10.0.0.7:80", "10.0.0.7", Some(80), false),
        ];
        for (text, name, port, allowed) in names {
            assert_eq!(grant(text).allows_name(name, port), allowed, "{text} and {name}:{port:?}");
        }
    }

    #[test]
    fn an_address_is_granted_by_itself_or_with_everything() {
        let addresses = [
            ("93.184.216.34:80", "93.184.216.34", 80, true),
            ("93.184.216.34:80", "::ffff:93.184.216.34", 80, true),
            ("93.184.216.34:80", "93.184.216.34", 81, false),
            ("93.184.216.34:80", "93.184.216.35", 80, false),
            ("93.184.216.34:*", "93.184.216.34", 1, true),
            ("[2001:db8::1]:443", "2001:db8::1", 443, true),
            ("[2001:db8::1]:443", "2001:db8::2", 443, false),
            ("*:443", "2001:db8::1", 443, true),
            ("*:443", "2001:db8::1", 80, false),
            ("*", "93.184.216.34", 80, true),
            ("example.com:80", "93.184.216.34", 80, false),
            ("*.example.com:80", "93.184.216.34", 80, false),
        ];
        for (text, ip, port, allowed) in addresses {
            assert_eq!(grant(text).allows_address(address(ip), port), allowed, "{text} and {ip} {port}");
        }
    }

    #[test]
    fn a_grant_covers_what_has_no_more_than_it() {
        let pairs = [
            ("*", "*", true),
            ("*", "[2001:db8::1]:443", true),
            ("*:443", "*", false),
            ("*:443", "api.example.com:443", true),
            ("*:443", "10.0.0.7:443", true),
            ("*:443", "api.example.com:*", false),
            ("*:443", "api.example.com:80", false),
            ("*.example.com:*", "api.example.com:443", true),
            ("*.example.com:*", "*.example.com:*", true),
            ("*.example.com:*", "*.eu.example.com:80", true),
            ("*.eu.example.com:*", "*.example.com:80", false),
            ("*.example.com:*", "example.com:80", false),
            ("*.example.com:*", "*:80", false),
            ("example.com:*", "example.com:80", true),
            ("example.com:80", "example.com:*", false),
            ("example.com:80", "*.example.com:80", false),
            ("10.0.0.7:*", "10.0.0.7:80", true),
            ("10.0.0.7:*", "10.0.0.8:80", false),
        ];
        for (wide, narrow, covered) in pairs {
            assert_eq!(grant(wide).covers(&grant(narrow)), covered, "{wide} and {narrow}");
        }
    }

    #[test]
    fn ranges_are_shown_as_they_are_read() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "192.168.1.128/25", "fd00::/8", "::/0", "::1/128"] {
            assert_eq!(text.parse::<AddressRange>().unwrap().to_string(), text);
        }
        for (text, shown) in [("10.0.0.7", "10.0.0.7/32"), ("::1", "::1/128")] {
            assert_eq!(text.parse::<AddressRange>().unwrap().to_string(), shown);
        }
        let refused = [
            ("", "an address"),
            ("10.0.0/8", "an address"),
            ("example.com", "an address"),
            ("10.0.0.0/", "fixed bits"),
            ("10.0.0.0/33", "fixed bits"),
            ("10.0.0.0/+8", "fixed bits"),
            ("::/129", "fixed bits"),
            ("10.0.0.7/8", "first of the range"),
            ("fd00::1/8", "first of the range"),
        ];
        for (text, remedy) in refused {
            let error = text.parse::<AddressRange>().unwrap_err();
            assert!(error.to_string().contains(remedy), "{error}");
        }
    }

    #[test]
    fn a_range_contains_what_begins_as_it_does() {
        let contained = [
            ("10.0.0.0/8", "10.0.0.0", true),
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "9.255.255.255", false),
            ("10.0.0.0/8", "::ffff:10.0.0.7", true),
            ("10.0.0.0/8", "::10.0.0.7", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "ffff::", true),
            ("::/0", "1.2.3.4", false),
            ("172.16.0.0/12", "172.31.255.255", true),
            ("172.16.0.0/12", "172.32.0.0", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fc00::1", false),
            ("::1/128", "::1", true),
            ("::1/128", "::2", false),
        ];
        for (range, ip, inside) in contained {
            assert_eq!(range.parse::<AddressRange>().unwrap().contains(address(ip)), inside, "{range} and {ip}");
        }
    }

    #[test]
    fn only_the_public_internet_is_public() {
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "93.184.216.34",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2000::1",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2003::1",
            "2606:4700:4700::1111",
            "2a00:1450:4001:800::200e",
            "3ffe::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
        ];
        for ip in public {
            assert!(is_public(address(ip)), "{ip}");
        }
        let others = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.7",
            "10.255.255.255",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "192.168.255.255",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::10.0.0.7",
            "::8.8.8.8",
            "64:ff9b:1::8.8.8.8",
            "100::1",
            "1fff::1",
            "2001::1",
            "2001:2::1",
            "2001:20::1",
            "2001:1ff:ffff::1",
            "2001:db8::1",
            "2002:0a00:0007::1",
            "2002:0808:0808::1",
            "3fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "::ffff:0.0.0.0",
            "::ffff:10.0.0.7",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::10.0.0.7",
            "64:ff9b::169.254.169.254",
        ];
        for ip in others {
            assert!(!is_public(address(ip)), "{ip}");
        }
    }

    #[test]
    fn the_table_is_made_of_ranges_that_can_be_read() {
        for range in NON_PUBLIC_RANGES {
            assert_eq!(range.to_string().parse(), Ok(*range));
        }
    }
}

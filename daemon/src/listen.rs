//! Addresses to listen on: a setting is `HOST:PORT`, where the host may be a name that has to be looked up.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use serde::Deserialize;
use tokio::net::TcpListener;

/// `HOST:PORT` as a setting has it, such as `127.0.0.1:8420`, `[::1]:0` or `localhost:8420`. Parsing checks only its form: a setting that
/// another one overrides is never looked up.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ListenAddress(String);

/// A text that has not the form of an address to listen on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` {fault}: give HOST:PORT, such as 127.0.0.1:8420, [::1]:8420 or localhost:8420")]
pub struct MalformedAddress {
    text: String,
    fault: &'static str,
}

/// A name that leads nowhere.
#[derive(Debug, thiserror::Error)]
#[error("cannot look up `{host}` of `{address}`, where it is to listen")]
pub struct LookupError {
    address: String,
    host: String,
    source: io::Error,
}

impl FromStr for ListenAddress {
    type Err = MalformedAddress;

    fn from_str(text: &str) -> Result<Self, MalformedAddress> {
        let text = text.trim();
        let malformed = |fault| Err(MalformedAddress { text: text.to_owned(), fault });
        if text.parse::<SocketAddr>().is_ok() {
            return Ok(Self(text.to_owned()));
        }
        let Some((host, port)) = text.rsplit_once(':') else { return malformed("has no port") };
        if host.is_empty() {
            return malformed("has no host");
        }
        if host.contains(|letter: char| letter.is_whitespace() || letter == '/' || letter == '@') {
            return malformed("has a host that is not a name");
        }
        if host.contains(':') || host.starts_with('[') {
            return malformed("has no IPv6 address in brackets before its port");
        }
        // The parser of numbers would take a sign.
        if !port.bytes().all(|byte| byte.is_ascii_digit()) || port.parse::<u16>().is_err() {
            return malformed("has a port that is not a number from 0 to 65535");
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = MalformedAddress;

    fn try_from(text: String) -> Result<Self, MalformedAddress> {
        text.parse()
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl ListenAddress {
    /// Looks the host up. Blocks for as long as the system's resolver takes, so that it is for the start of a program
    /// alone.
    pub fn look_up(&self) -> Result<Listen, LookupError> {
        let failed = |source| {
            let host = self.0.rsplit_once(':').map_or(self.0.as_str(), |(host, _)| host);
            LookupError { address: self.0.clone(), host: host.to_owned(), source }
        };
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in self.0.to_socket_addrs().map_err(failed)? {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(failed(io::Error::new(io::ErrorKind::NotFound, "the name has no addresses")));
        }
        // `localhost` is both 127.0.0.1 and ::1 on most machines, and what connects to it is mostly told 127.0.0.1.
        addresses.sort_by_key(SocketAddr::is_ipv6);
        Ok(Listen { text: self.0.clone(), addresses })
    }
}

/// Looks up an address that settings may have; one that leads nowhere is a problem of theirs.
pub fn look_up(address: Option<ListenAddress>, problems: &mut Vec<String>) -> Option<Listen> {
    address?.look_up().map_err(|error| problems.push(format!("{:#}", anyhow::Error::from(error)))).ok()
}

/// Where to listen: on the first of the addresses that this machine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    text: String,
    addresses: Vec<SocketAddr>,
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self { text: address.to_string(), addresses: vec![address] }
    }
}

impl fmt::Display for Listen {
    /// As it was given, and what it leads to if it is a name.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)?;
        if self.text.parse::<SocketAddr>().is_ok() {
            return Ok(());
        }
        let addresses: Vec<_> = self.addresses.iter().map(SocketAddr::to_string).collect();
        write!(formatter, " ({})", addresses.join(", "))
    }
}

impl Listen {
    /// Whether only this machine could reach it, whichever of the addresses is taken.
    pub fn is_loopback(&self) -> bool {
        self.addresses.iter().all(|address| address.ip().to_canonical().is_loopback())
    }

    /// Whether the two could be after the same port of the same interface. Those that take any free port never are.
    pub fn collides_with(&self, other: &Self) -> bool {
        let collide = |one: &SocketAddr, other: &SocketAddr| {
            let same_interface = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
            one.port() != 0 && one.port() == other.port() && same_interface
        };
        self.addresses.iter().any(|one| other.addresses.iter().any(|other| collide(one, other)))
    }

    /// Opens the port. An address that this machine does not have, as `::1` where there is no IPv6, makes way for the
    /// next; one that is taken does not: programs that dial the name would find the one who took it.
    pub async fn bind(&self) -> io::Result<TcpListener> {
        let mut missing = None;
        for address in &self.addresses {
            match TcpListener::bind(address).await {
                Err(error) if is_missing(&error) => missing = Some(error),
                bound => return bound,
            }
        }
        Err(missing.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
    }
}

fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> Listen {
        text.parse::<ListenAddress>().unwrap().look_up().unwrap()
    }

    #[tokio::test]
    async fn names_and_addresses_are_listened_on() {
        for text in ["127.0.0.1:0", "localhost:0", "LOCALHOST:0", " 127.0.0.1:0 "] {
            let listen = listen(text);
            assert!(listen.is_loopback(), "{text}");
            let bound = listen.bind().await.unwrap().local_addr().unwrap();
            assert!(bound.ip().is_loopback() && bound.port() != 0, "{text}: {bound}");
        }
        let six = listen("[::1]:8420");
        assert_eq!((six.addresses.clone(), six.to_string()), (vec!["[::1]:8420".parse().unwrap()], "[::1]:8420".to_owned()));
        assert!(six.is_loopback() && !listen("0.0.0.0:1").is_loopback() && listen("[::ffff:127.0.0.1]:1").is_loopback());
    }

    #[test]
    fn what_a_name_leads_to_is_told() {
        let localhost = listen("localhost:8420");
        assert_eq!(localhost.addresses[0], "127.0.0.1:8420".parse().unwrap(), "IPv4 first");
        assert!(localhost.to_string().starts_with("localhost:8420 (127.0.0.1:8420"), "{localhost}");
    }

    #[test]
    fn a_name_that_leads_nowhere_is_named() {
        // RFC 2606 keeps `.invalid` free.
        let error = "nowhere.invalid:8420".parse::<ListenAddress>().unwrap().look_up().unwrap_err().to_string();
        assert!(error.starts_with("cannot look up `nowhere.invalid` of `nowhere.invalid:8420`"), "{error}");
    }

    #[test]
    fn what_has_no_form_is_told_with_what_to_give() {
        for (text, fault) in [
            ("localhost", "has no port"),
            ("127.0.0.1", "has no port"),
            (":8420", "has no host"),
            ("", "has no port"),
            ("::1:8420", "brackets"),
            ("[::1]", "brackets"),
            ("[localhost]:1", "brackets"),
            ("localhost:http", "not a number"),
            ("localhost:", "not a number"),
            ("localhost:65536", "not a number"),
            ("localhost:+1", "not a number"),
            ("http://localhost:1", "not a name"),
            ("a b:1", "not a name"),
        ] {
            let error = text.parse::<ListenAddress>();
            let error = error.map_or_else(|error| error.to_string(), |_| String::new());
            assert!(error.contains(fault) && error.contains("give HOST:PORT"), "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_not_replaced_by_the_same_port_of_another_address() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = listen(&format!("localhost:{port}")).bind().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        // Addresses that no machine has (RFC 5737) make way.
        let addresses = vec!["192.0.2.1:0".parse().unwrap(), "127.0.0.1:0".parse().unwrap()];
        let bound = Listen { text: "name:0".to_owned(), addresses }.bind().await.unwrap();
        assert!(bound.local_addr().unwrap().ip().is_loopback());
    }

    #[test]
    fn two_listeners_need_two_ports() {
        let collide = |one: &str, other: &str| listen(one).collides_with(&listen(other));
        assert!(
            collide("127.0.0.1:1", "127.0.0.1:1") && collide("localhost:1", "127.0.0.1:1") && collide("127.0.0.1:1", "0.0.0.0:1")
        );
        assert!(!collide("127.0.0.1:1", "127.0.0.1:2") && !collide("127.0.0.1:1", "127.0.0.2:1"));
        assert!(!collide("127.0.0.1:0", "127.0.0.1:0"));
    }
}

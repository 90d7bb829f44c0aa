//! Connects to the server of an HTTP request: its name is looked up once, and what was found and judged is what is connected to.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use http::Uri;
use http::uri::Scheme;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::ServerName;
use wasmtime_wasi_http::Error;

use super::access::{Access, Host, RequestSlot};
use super::lookups::{LOOKUP_TIME_MAX, Lookups};

/// A connection, with TLS or without.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) host: Host,
    pub(super) port: u16,
    tls: bool,
}

impl Destination {
    /// Reads it from the request's URI. A user's name before the host is refused: what follows it is easily taken for the path.
    pub(super) fn of(uri: &Uri) -> Result<Self, Error> {
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        let (text, tls) = (authority.host(), uri.scheme() == Some(&Scheme::HTTPS));
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str() == text && tls => 443,
            None if authority.as_str() == text => 80,
            // A port that is none.
            None => return Err(Error::HttpRequestUriInvalid),
        };
        if authority.as_str().contains('@') {
            return Err(Error::HttpRequestUriInvalid);
        }
        let host = match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().ok().map(|address| Host::Address(IpAddr::V6(address).to_canonical())),
            None => Host::parse(text),
        };
        Ok(Self { host: host.ok_or(Error::HttpRequestUriInvalid)?, port, tls })
    }

    /// Connects, if one of its addresses is open. The slot is kept while the name is being looked up, even when nobody waits for
    /// it any more.
    pub(super) async fn connect(&self, access: &Access, slot: RequestSlot) -> Result<(Box<dyn Stream>, RequestSlot), Error> {
        let (found, slot) = match &self.host {
            Host::Address(address) => (vec![*address], slot),
            Host::Name(name) => look_up(access.lookups(), Arc::clone(name), slot).await?,
        };
        let open: Vec<SocketAddr> =
            found.iter().filter(|&&ip| access.opens(ip)).map(|&ip| SocketAddr::new(ip, self.port)).collect();
        if open.is_empty() {
            if let (Host::Name(name), Some(&private)) = (&self.host, found.first()) {
                access.deny_private(name, private);
                return Err(Error::DestinationIpProhibited);
            }
            return Err(Error::DestinationNotFound);
        }
        let stream = TcpStream::connect(open.as_slice()).await.map_err(connect_failed)?;
        // A request is written whole, so that waiting for more of it would only delay it.
        let _ = stream.set_nodelay(true);
        let stream: Box<dyn Stream> = if self.tls {
            Box::new(access.tls().connect(self.server_name()?, stream).await.map_err(tls_failed)?)
        } else {
            Box::new(stream)
        };
        Ok((stream, slot))
    }

    /// Who the server has to prove to be.
    fn server_name(&self) -> Result<ServerName<'static>, Error> {
        match &self.host {
            Host::Address(address) => Ok(ServerName::from(*address)),
            Host::Name(name) => ServerName::try_from(name.to_string()).map_err(|_| Error::HttpRequestUriInvalid),
        }
    }
}

/// Looks up a name, on a thread that keeps the slot, and counts among the node's lookups, until the system answers.
async fn look_up(lookups: &Lookups, name: Arc<str>, slot: RequestSlot) -> Result<(Vec<IpAddr>, RequestSlot), Error> {
    let permit = tokio::time::timeout(LOOKUP_TIME_MAX, lookups.take()).await.map_err(|_| Error::DnsTimeout)?;
    let asking = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let found = (&*name, 0_u16).to_socket_addrs();
        (found.map(|found| found.map(|address| address.ip().to_canonical()).collect::<Vec<_>>()), slot)
    });
    let asked = tokio::time::timeout(LOOKUP_TIME_MAX, asking).await.map_err(|_| Error::DnsTimeout)?;
    let (found, slot) = asked.map_err(|_| Error::InternalError(Some("the node failed at looking up a name".to_owned())))?;
    match found {
        Ok(found) => Ok((found, slot)),
        Err(_) => Err(Error::DnsError { rcode: Some("the name cannot be resolved".to_owned()), info_code: None }),
    }
}

/// What a guest is told when none of a server's addresses takes a connection.
fn connect_failed(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Error::ConnectionTerminated,
        io::ErrorKind::TimedOut => Error::ConnectionTimeout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Error::DestinationIpUnroutable,
        _ => Error::DestinationUnavailable,
    }
}

/// What a guest is told when a server cannot be spoken to in confidence.
fn tls_failed(error: io::Error) -> Error {
    let reason = error.get_ref().and_then(|reason| reason.downcast_ref::<rustls::Error>());
    match reason {
        Some(rustls::Error::InvalidCertificate(_)) => Error::TlsCertificateError,
        Some(rustls::Error::AlertReceived(alert)) => {
            Error::TlsAlertReceived { alert_id: Some(u8::from(*alert)), alert_message: Some(format!("{alert:?}")) }
        }
        Some(_) => Error::TlsProtocolError,
        None => connect_failed(error),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::filesystem::NodeFiles;
    use crate::network::{Authorities, NetworkPolicy};

    fn destination(url: &str) -> Option<Destination> {
        Destination::of(&url.parse().unwrap()).ok()
    }

    #[test]
    fn destinations_are_read_from_urls() {
        let named = |name: &str, port, tls| Some(Destination { host: Host::Name(name.into()), port, tls });
        let address = |ip: &str, port, tls| Some(Destination { host: Host::Address(ip.parse().unwrap()), port, tls });
        let read = [
            ("http://example.com/path", named("example.com", 80, false)),
            ("https://Example.COM.", named("example.com", 443, true)),
            ("https://example.com:8443/", named("example.com", 8443, true)),
            ("http://93.184.216.34:8080/", address("93.184.216.34", 8080, false)),
            ("https://[2606:4700::1]/", address("2606:4700::1", 443, true)),
            ("http://[::ffff:10.0.0.7]:80/", address("10.0.0.7", 80, false)),
            ("http://example.com@evil.org/", None),
            ("http://user:443@evil.org:80/", None),
            ("http://127.1/", None),
            ("http://2130706433/", None),
            ("http://0x7f.1/", None),
            ("/path", None),
        ];
        for (url, expected) in read {
            assert_eq!(destination(url), expected, "{url}");
        }
    }

    fn access(private: &[&str]) -> Arc<Access> {
        Arc::new(Access::of(&[], private, 1024))
    }

    async fn connect(access: &Arc<Access>, url: &str) -> Result<Box<dyn Stream>, Error> {
        let slot = RequestSlot::take(access).unwrap();
        destination(url).unwrap().connect(access, slot).await.map(|(stream, _)| stream)
    }

    #[tokio::test]
    async fn only_open_addresses_are_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = access(&["127.0.0.0/8"]);
        // The name may lead to `::1` as well, which is not open.
        connect(&open, &format!("http://localhost:{port}/")).await.unwrap();
        connect(&open, &format!("http://127.0.0.1:{port}/")).await.unwrap();
        let closed = access(&[]);
        let error = connect(&closed, &format!("http://localhost:{port}/")).await.err().unwrap();
        assert!(matches!(error, Error::DestinationIpProhibited), "{error}");
        assert!(closed.take_denials()[0].starts_with("localhost: leads to "));
        drop(listener);
        let error = connect(&open, &format!("http://127.0.0.1:{port}/")).await.err().unwrap();
        assert!(matches!(error, Error::ConnectionRefused), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_has_no_tls_is_not_spoken_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The first record of a TLS handshake.
            assert_eq!(stream.read_u8().await.unwrap(), 22);
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let error = connect(&access(&["127.0.0.0/8"]), &url).await.err().unwrap();
        assert!(matches!(error, Error::TlsProtocolError), "{error}");
    }

    /// A server that is certified for `localhost` by an authority of these tests, and says `hello` to whoever trusts
    /// it.
    async fn certified_server() -> u16 {
        use tokio_rustls::TlsAcceptor;
        use tokio_rustls::rustls::pki_types::pem::PemObject;
        use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
        use tokio_rustls::rustls::{ServerConfig, crypto::ring};

        let certificate = CertificateDer::from_pem_slice(include_bytes!("testdata/server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("testdata/server-key.pem")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = stream.write_all(b"hello").await;
                    let _ = stream.shutdown().await;
                }
            }
        });
        port
    }

    #[tokio::test]
    async fn a_server_that_a_companys_authority_certified_is_spoken_to_where_the_operator_says_so() {
        let url = format!("https://localhost:{}/", certified_server().await);
        let private = || vec!["127.0.0.0/8".parse().unwrap()];
        let error = connect(&access(&["127.0.0.0/8"]), &url).await.err().unwrap();
        assert!(matches!(error, Error::TlsCertificateError), "{error}");

        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/network/testdata/ca.pem");
        let authorities = Authorities::read(&file).unwrap();
        let policy = NetworkPolicy { private: private(), authorities, ..NetworkPolicy::default() };
        let trusting = Arc::new(Access::new(Arc::default(), Arc::new(policy), Arc::new(NodeFiles::new(1024)), Arc::default()));
        let mut stream = connect(&trusting, &url).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "hello");
        // It is certified for its name alone.
        let error = connect(&trusting, &url.replace("localhost", "127.0.0.1")).await.err().unwrap();
        assert!(matches!(error, Error::TlsCertificateError), "{error}");
    }
}

//! The certificate authorities that servers have to be certified by, when calls speak HTTPS through the node: those
//! that Mozilla trusts, and those that the operator adds, such as a company's own.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

/// The largest file that is read. A system's bundle of all authorities has some 250 KiB.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Who certifies servers. Copies share one TLS configuration.
#[derive(Clone, Default)]
pub struct Authorities(Arc<Shared>);

#[derive(Default)]
struct Shared {
    added: Vec<CertificateDer<'static>>,
    /// Made at the first request that needs it: it takes a millisecond.
    connector: OnceLock<TlsConnector>,
}

/// Why a file of certificate authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// There is no such file, or this program may not read it.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no file of certificates.
    #[error("{path} is larger than {} MiB: give the certificates of authorities alone", FILE_BYTES_MAX >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is not PEM.
    #[error("{path} is not valid PEM")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// It has other things in it, or nothing.
    #[error("{path} has no certificate: give a file with `-----BEGIN CERTIFICATE-----` in it (PEM)")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// One of its certificates is not that of an authority.
    #[error("certificate {number} in {path} cannot be used")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Which, counted from 1.
        number: usize,
        /// What is wrong with it.
        source: rustls::Error,
    },
}

impl Authorities {
    /// Those of a PEM file, which may have several, beside Mozilla's.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, has none, or has one that cannot be used: HTTPS that fails for that would be hard
    /// to explain.
    pub fn read(path: &Path) -> Result<Self, AuthoritiesError> {
        let unreadable = |source| AuthoritiesError::Unreadable { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(AuthoritiesError::TooLarge { path: path.to_owned() });
        }
        let (mut added, mut roots) = (Vec::new(), RootCertStore::empty());
        for certificate in CertificateDer::pem_slice_iter(&bytes) {
            let certificate = certificate.map_err(|source| AuthoritiesError::Malformed { path: path.to_owned(), source })?;
            let number = added.len() + 1;
            let unusable = |source| AuthoritiesError::Unusable { path: path.to_owned(), number, source };
            roots.add(certificate.clone()).map_err(unusable)?;
            added.push(certificate);
        }
        if added.is_empty() {
            return Err(AuthoritiesError::Empty { path: path.to_owned() });
        }
        Ok(Self(Arc::new(Shared { added, connector: OnceLock::new() })))
    }

    /// What makes TLS connections.
    pub(super) fn connector(&self) -> &TlsConnector {
        self.0.connector.get_or_init(|| connector(&self.0.added))
    }
}

fn connector(added: &[CertificateDer<'static>]) -> TlsConnector {
    let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    // Each was added once before, when it was read.
    roots.add_parsable_certificates(added.iter().cloned());
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the ciphers of all versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Calls of different users share nothing, not even what would tell a server that they come from one node.
    config.resumption = Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

impl fmt::Debug for Authorities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Mozilla's and {} more", self.0.added.len())
    }
}

impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        self.0.added == other.0.added
    }
}

impl Eq for Authorities {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Authorities, AuthoritiesError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Authorities::read(file.path())
    }

    #[test]
    fn several_authorities_are_read() {
        let one = include_str!("testdata/ca.pem");
        assert_eq!(read(one).unwrap().0.added.len(), 1);
        assert_eq!(read(&format!("a comment\n{one}\nanother\n{one}")).unwrap().0.added.len(), 2);
        assert_eq!(format!("{:?}", read(one).unwrap()), "Mozilla's and 1 more");
        assert_ne!(read(one).unwrap(), Authorities::default());
    }

    #[test]
    fn a_file_without_authorities_is_an_error_that_names_it() {
        let missing = Authorities::read(Path::new("/nowhere/ca.pem")).unwrap_err().to_string();
        assert_eq!(missing, "cannot read /nowhere/ca.pem");
        for empty in ["", "text", include_str!("testdata/server-key.pem")] {
            assert!(matches!(read(empty), Err(AuthoritiesError::Empty { .. })), "{empty}");
        }
        let damaged = include_str!("testdata/ca.pem").replace("MII", "M*I");
        assert!(matches!(read(&damaged), Err(AuthoritiesError::Malformed { .. })));
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let second = read(&format!("{}{nonsense}", include_str!("testdata/ca.pem")));
        assert!(matches!(second, Err(AuthoritiesError::Unusable { number: 2, .. })), "{second:?}");
        let large = read(&"x".repeat(usize::try_from(FILE_BYTES_MAX).unwrap() + 1));
        assert!(matches!(large, Err(AuthoritiesError::TooLarge { .. })));
    }
}

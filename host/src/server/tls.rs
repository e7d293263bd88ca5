//! TLS: versions, protocols, and the certificate that can change while serving.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::certificate::SelfSigned;
use crate::limits;

/// The name of HTTP/2 in ALPN (RFC 9113, section 3.1).
pub(super) const ALPN_HTTP2: &[u8] = b"h2";

/// Why there is no certificate to serve with.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A PEM file cannot be read, or holds no such thing.
    #[error("{}: {source}", .path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls_pki_types::pem::Error,
    },
    /// Certificate and key do not belong together, or their kind is not known.
    #[error("{}: {source}", .path.display())]
    Pair {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong with the two.
        source: rustls::Error,
    },
    /// The self-signed certificate cannot be kept.
    #[error("{}: {source}", .path.display())]
    Keep {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The self-signed certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// Where the certificate comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// PEM files of somebody else's.
    Files { cert: PathBuf, key: PathBuf },
    /// Our own.
    SelfSigned(SelfSigned),
}

/// The certificate in use.
#[derive(Debug)]
pub(super) struct Certificate {
    source: Source,
    current: ArcSwap<CertifiedKey>,
    /// How the files were before they were read first.
    first: Stamp,
}

impl Certificate {
    /// Loads it, or makes it.
    pub(super) fn load(source: Source) -> Result<Self, CertificateError> {
        let before = Stamp::of(&source);
        let current = ArcSwap::from_pointee(read(&source)?);
        let first = match source {
            // What changes from here on is news, though nobody watches yet.
            Source::Files { .. } => before,
            Source::SelfSigned(_) => Stamp::of(&source),
        };
        Ok(Self { source, current, first })
    }

    /// Looks at the files now and then, for ever.
    pub(super) async fn watch(self: Arc<Self>) {
        let mut seen = self.first;
        loop {
            tokio::time::sleep(limits::CERTIFICATE_POLL).await;
            seen = self.look(seen).await;
        }
    }

    /// Loads the certificate again if its files are not as `seen`, and returns how
    /// they are. What is broken is logged, and the certificate before it stays; so a
    /// pair of which only one file has been replaced yet does no harm.
    async fn look(self: &Arc<Self>, seen: Stamp) -> Stamp {
        let certificate = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || {
            let source = &certificate.source;
            let stamp = Stamp::of(source);
            if stamp == seen && !source.is_due() {
                return (seen, None);
            }
            let read = read(source);
            // Files that change while they are read are read again; what we have just
            // written is not news.
            let stamp = if let Source::SelfSigned(_) = source { Stamp::of(source) } else { stamp };
            (stamp, Some(read))
        });
        let (stamp, read) = match read.await {
            Ok(looked) => looked,
            Err(error) => {
                tracing::error!(%error, "certificate not loaded; the one before stays");
                return seen;
            }
        };
        match read {
            None => {}
            Some(Ok(key)) => {
                self.current.store(Arc::new(key));
                tracing::info!("certificate loaded");
            }
            Some(Err(error)) => tracing::warn!(%error, "certificate not loaded; the one before stays"),
        }
        stamp
    }
}

/// Time and size of certificate and key; `None` where there is no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp([Option<(SystemTime, u64)>; 2]);

impl Stamp {
    /// What changes when a file does: links are followed, since secrets are often
    /// mounted as links that move.
    fn of(source: &Source) -> Self {
        let (cert, key) = source.files();
        Self([cert, key].map(|path| {
            let file = std::fs::metadata(path).ok()?;
            Some((file.modified().ok()?, file.len()))
        }))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

impl Source {
    fn files(&self) -> (PathBuf, PathBuf) {
        match self {
            Self::Files { cert, key } => (cert.clone(), key.clone()),
            Self::SelfSigned(own) => (own.cert(), own.key()),
        }
    }

    fn is_due(&self) -> bool {
        matches!(self, Self::SelfSigned(own) if own.is_due())
    }
}

fn read(source: &Source) -> Result<CertifiedKey, CertificateError> {
    let (cert, key) = source.files();
    match source {
        Source::Files { .. } => read_pair(cert, key),
        Source::SelfSigned(own) if own.is_due() => {
            own.make()?;
            read_pair(cert, key)
        }
        Source::SelfSigned(own) => read_pair(cert.clone(), key.clone()).or_else(|error| {
            tracing::warn!(%error, "the self-signed certificate is broken; making a new one");
            own.make()?;
            read_pair(cert, key)
        }),
    }
}

fn read_pair(cert: PathBuf, key: PathBuf) -> Result<CertifiedKey, CertificateError> {
    let chain =
        CertificateDer::pem_file_iter(&cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .and_then(|chain| {
                if chain.is_empty() { Err(rustls_pki_types::pem::Error::NoItemsFound) } else { Ok(chain) }
            })
            .map_err(|source| CertificateError::Pem { path: cert.clone(), source })?;
    let key =
        PrivateKeyDer::from_pem_file(&key).map_err(|source| CertificateError::Pem { path: key, source })?;
    CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map_err(|source| CertificateError::Pair { path: cert, source })
}

/// TLS 1.2 and 1.3; HTTP/2 before HTTP/1; tickets, so that a client that comes back
/// saves a signature.
pub(super) fn acceptor(certificate: Arc<Certificate>) -> Result<TlsAcceptor, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = [ALPN_HTTP2, b"http/1.1", b"http/1.0"].map(<[u8]>::to_vec).into();
    config.ticketer = ring::Ticketer::new()?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn write_pair(dir: &Path) -> Vec<u8> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        fs::write(dir.join("cert.pem"), made.cert.pem()).expect("written");
        fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).expect("written");
        made.cert.der().to_vec()
    }

    fn files(dir: &Path) -> Source {
        Source::Files { cert: dir.join("cert.pem"), key: dir.join("key.pem") }
    }

    fn leaf(certificate: &Certificate) -> Vec<u8> {
        certificate.current.load().cert[0].to_vec()
    }

    #[tokio::test]
    async fn changed_files_are_loaded_and_broken_ones_leave_the_old_certificate() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = write_pair(dir.path());
        let certificate = Arc::new(Certificate::load(files(dir.path())).expect("loaded"));
        assert_eq!(leaf(&certificate), first);

        // Also what changes before anybody watches.
        let second = write_pair(dir.path());
        let seen = certificate.look(certificate.first).await;
        assert_eq!(leaf(&certificate), second);

        let key = fs::read(dir.path().join("key.pem")).expect("the key");
        write_pair(dir.path());
        fs::write(dir.path().join("key.pem"), &key).expect("written");
        let seen = certificate.look(seen).await;
        assert_eq!(leaf(&certificate), second, "a key of another certificate");

        fs::write(dir.path().join("cert.pem"), "half a certificate").expect("written");
        let seen = certificate.look(seen).await;
        fs::remove_file(dir.path().join("key.pem")).expect("removed");
        let seen = certificate.look(seen).await;
        assert_eq!(leaf(&certificate), second, "no certificate at all");

        let third = write_pair(dir.path());
        certificate.look(seen).await;
        assert_eq!(leaf(&certificate), third);
    }

    #[test]
    fn a_missing_file_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let error = Certificate::load(files(dir.path())).expect_err("nothing there");
        assert!(error.to_string().contains("cert.pem"), "{error}");
    }

    #[test]
    fn our_own_certificate_is_kept_and_mended() {
        let dir = tempfile::tempdir().expect("a folder");
        let own = || Source::SelfSigned(SelfSigned::new(dir.path().join("tls")));
        let made = leaf(&Certificate::load(own()).expect("made"));
        assert_eq!(leaf(&Certificate::load(own()).expect("kept")), made);

        fs::write(dir.path().join("tls/self-signed.key"), "half a key").expect("written");
        assert_ne!(leaf(&Certificate::load(own()).expect("mended")), made);
    }
}

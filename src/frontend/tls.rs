//! TLS towards clients, with a certificate that can be replaced while the server runs.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config;

/// A certificate in force.
#[derive(Clone)]
pub struct Tls {
    /// Does handshakes.
    pub acceptor: TlsAcceptor,
    /// The certificate as PEM: SCRAM binds the login to it.
    pub certificate: Arc<Vec<u8>>,
    /// Clients without TLS are refused.
    pub required: bool,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("required", &self.required).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads certificate and key. The error names the file and what is wrong with it.
    pub fn load(tls: &config::Tls) -> Result<Tls, String> {
        let certificate = std::fs::read(&tls.cert).map_err(|error| format!("{}: {error}", tls.cert.display()))?;
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("{}: {error}", tls.cert.display()))?;
        if chain.is_empty() {
            return Err(format!("{}: there is no certificate in it", tls.cert.display()));
        }
        let key = read_key(&tls.key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| format!("{} and {}: {error}", tls.cert.display(), tls.key.display()))?;
        Ok(Tls {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate: Arc::new(certificate),
            required: tls.required,
        })
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| format!("{}: {error}", path.display()))
}

//! TLS towards servers: what each `sslmode` believes, and the channel binding that SCRAM signs.
//!
//! libpq's modes differ in whom they trust. `require` encrypts and believes any certificate, which stops only a listener;
//! `verify-ca` asks a known authority; `verify-full` also asks for the host's name. As in libpq, `require` with a root file means
//! `verify-ca`.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::config::{Server, SslMode};

/// The TLS configuration for a server; the error is a sentence without a full stop.
pub(super) fn client_config(server: &Server) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match (server.sslmode, &server.sslrootcert) {
        (SslMode::Require, None) | (SslMode::Disable | SslMode::Allow | SslMode::Prefer, _) => {
            Arc::new(Believing { check: None, provider: provider.clone() })
        }
        (mode, _) => {
            let roots = Arc::new(roots(server)?);
            let webpki = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
                .build()
                .map_err(|error| format!("no usable certificate authority: {error}"))?;
            if mode == SslMode::VerifyFull {
                webpki
            } else {
                Arc::new(Believing { check: Some(webpki), provider: provider.clone() })
            }
        }
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be used: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn roots(server: &Server) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let Some(path) = &server.sslrootcert else {
        let found = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(found.certs);
        return if store.is_empty() {
            Err("the system has no certificate authorities; name some with sslrootcert".into())
        } else {
            Ok(store)
        };
    };
    let say = |error: &dyn std::fmt::Display| format!("cannot read sslrootcert \"{}\": {error}", path.display());
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| say(&error))? {
        let certificate = certificate.map_err(|error| say(&error))?;
        store.add(certificate).map_err(|error| say(&error))?;
    }
    if store.is_empty() { Err(say(&"no certificate in it")) } else { Ok(store) }
}

/// Believes any certificate, or any of a known authority's whatever host it names. The handshake's signature is checked all the same:
/// the other side has the certificate's key.
#[derive(Debug)]
struct Believing {
    check: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Believing {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(webpki) = &self.check else { return Ok(ServerCertVerified::assertion()) };
        match webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // rustls checks the chain before the name, so that a wrong name means a good chain.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The channel binding `tls-server-end-point` (RFC 5929, 4.1): the certificate's hash by the hash function of its own signature, or by
/// SHA-256 where that is MD5 or SHA-1. `None` where the signature names no hash function (Ed25519) or one not known here.
pub(super) fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    use ring::digest::{SHA256, SHA384, SHA512, digest};
    let algorithm =
        match signature_algorithm(certificate)? {
            // sha256WithRSAEncryption, ecdsa-with-SHA256, and those of MD5 and SHA-1
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b | 0x04 | 0x05] => &SHA256,
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02] | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01] => &SHA256,
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c]
            | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03] => &SHA384,
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d]
            | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04] => &SHA512,
            _ => return None,
        };
    Some(digest(algorithm, certificate).as_ref().to_vec())
}

/// The object identifier of a certificate's signature: `Certificate ::= SEQUENCE { tbsCertificate, SEQUENCE { OID ... } ... }` (RFC 5280).
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = der(certificate, 0x30)?;
    let (_, after_tbs) = der(certificate, 0x30)?;
    let (algorithm, _) = der(after_tbs, 0x30)?;
    Some(der(algorithm, 0x06)?.0)
}

/// A DER element's content and what follows it, if it has this tag.
fn der(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.len() > 4 {
            return None;
        }
        (digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit)), rest)
    };
    rest.split_at_checked(length).filter(|_| found == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binding_is_the_hash_that_the_certificate_was_signed_with() {
        for (algorithm, length) in [(&rcgen::PKCS_ECDSA_P256_SHA256, 32), (&rcgen::PKCS_ECDSA_P384_SHA384, 48)] {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let certificate = rcgen::CertificateParams::new(["h".to_string()]).unwrap().self_signed(&key).unwrap();
            assert_eq!(server_end_point(certificate.der()).unwrap().len(), length);
        }
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let certificate = rcgen::CertificateParams::new(["h".to_string()]).unwrap().self_signed(&key).unwrap();
        assert_eq!(server_end_point(certificate.der()), None);
    }

    #[test]
    fn a_cut_certificate_has_no_binding() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = rcgen::CertificateParams::new(["h".to_string()]).unwrap().self_signed(&key).unwrap();
        for end in 0..certificate.der().len() {
            assert_eq!(server_end_point(&certificate.der()[..end]), None);
        }
    }
}

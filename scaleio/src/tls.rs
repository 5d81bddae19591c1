//! Whom to believe that it is a gateway.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hawser_volume::{Error, Result};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use sha2::{Digest, Sha256};

use crate::config::Trust;

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long a connection is kept for the next request: less than Tomcat keeps it (20 s), as a request that meets the closing has an
/// unknown fate.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// A way to gateways that are believed as `trust` says, which keeps their certificates with the answers if `keep_certificate`. `Invalid`
/// when its file cannot be read.
pub(crate) fn client(trust: &Trust, keep_certificate: bool) -> Result<Client> {
    let builder = Client::builder()
        // A gateway of 4.x may send a browser elsewhere; credentials do not follow.
        .redirect(Policy::none())
        .no_proxy()
        .https_only(true)
        .tls_info(keep_certificate)
        .connect_timeout(CONNECT_MAX)
        .pool_idle_timeout(IDLE_MAX)
        .user_agent(concat!("hawser/", env!("CARGO_PKG_VERSION")));
    let builder = match trust {
        Trust::System => builder,
        Trust::Authorities(path) => builder.tls_certs_only(authorities(path)?),
        Trust::Pinned(digests) => builder.tls_backend_preconfigured(pinned(digests.clone())?),
        Trust::Anyone => builder.tls_danger_accept_invalid_certs(true),
    };
    builder.build().map_err(|error| Error::internal("set up HTTP").caused_by(error))
}

fn authorities(path: &Path) -> Result<Vec<Certificate>> {
    let wrong = || Error::invalid(format!("ca-file: {} must be a PEM file with certificates", path.display()));
    let text = std::fs::read(path).map_err(|error| wrong().caused_by(error))?;
    let certificates = Certificate::from_pem_bundle(&text).map_err(|error| wrong().caused_by(error))?;
    if certificates.is_empty() { Err(wrong()) } else { Ok(certificates) }
}

fn pinned(digests: Vec<[u8; 32]>) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Arc::new(Pinned { digests, provider: Arc::clone(&provider) });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal("set up TLS").caused_by(error))?;
    Ok(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Believes whoever has the key of one of these certificates, whatever names and times are in them: a gateway's own certificate names
/// itself in no way that addresses can be compared with.
#[derive(Debug)]
struct Pinned {
    digests: Vec<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let digest: [u8; 32] = Sha256::digest(certificate).into();
        if self.digests.contains(&digest) {
            return Ok(ServerCertVerified::assertion());
        }
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Err(rustls::Error::General(format!("the certificate's SHA-256 is {hex}, which is not the one of certificate-sha256")))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

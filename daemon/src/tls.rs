//! TLS for listeners: certificates, client certificates, versions. One stack for the whole process: rustls with ring.

use std::{path::Path, sync::Arc};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use worknode_protocol::config::model::TlsServer;

/// Why TLS settings cannot be used. Follows `error preparing tls server config: `.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM of the kind that is needed.
    #[error("{file}: {fault}")]
    Pem {
        /// The file.
        file: String,
        /// What is wrong with it.
        fault: rustls::pki_types::pem::Error,
    },
    /// A file cannot be opened.
    #[error("open {file}: {}", .fault.to_string().split(" (os error").next().unwrap_or_default().to_lowercase())]
    Open {
        /// The file.
        file: String,
        /// The system's words.
        fault: std::io::Error,
    },
    /// Certificate and key do not fit, or the CA is none.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
    /// The client CA file holds nothing to check clients with.
    #[error("client certificates cannot be checked: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// Pins are checked by the mesh part, which is not built yet.
    #[error("pinnedclientcert is not available in this version of worknode")]
    Pinned,
}

/// The settings of a TLS listener. Reads its files: call it before anything is bound.
///
/// # Errors
/// See [`TlsError`].
pub fn server(settings: &TlsServer) -> Result<Arc<ServerConfig>, TlsError> {
    if !settings.pinned_client_cert.is_empty() {
        return Err(TlsError::Pinned);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions: &[_] = if settings.min_tls13 {
        &[&rustls::version::TLS13]
    } else {
        &[&rustls::version::TLS13, &rustls::version::TLS12]
    };
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions)?;
    let builder = match client_roots(settings)? {
        None => builder.with_no_client_auth(),
        Some(roots) => builder.with_client_cert_verifier(verifier(roots, settings.require_client_cert, provider)?),
    };
    let cert = read(&settings.cert, |pem| CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>())?;
    let key = read(&settings.key, PrivateKeyDer::from_pem_slice)?;
    Ok(Arc::new(builder.with_single_cert(cert, key)?))
}

fn verifier(
    roots: RootCertStore,
    required: bool,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
    Ok(if required { builder.build()? } else { builder.allow_unauthenticated().build()? })
}

/// Who may sign client certificates: `clientcas`, else the system's roots where certificates are required.
fn client_roots(settings: &TlsServer) -> Result<Option<RootCertStore>, TlsError> {
    let Some(file) = &settings.client_cas else {
        if !settings.require_client_cert {
            return Ok(None);
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(Some(roots));
    };
    let mut roots = RootCertStore::empty();
    for cert in read(file, |pem| CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>())? {
        roots.add(cert)?;
    }
    Ok(Some(roots))
}

fn read<T>(file: &Path, parse: impl FnOnce(&[u8]) -> Result<T, rustls::pki_types::pem::Error>) -> Result<T, TlsError> {
    let name = || file.display().to_string();
    let pem = std::fs::read(file).map_err(|fault| TlsError::Open { file: name(), fault })?;
    parse(&pem).map_err(|fault| TlsError::Pem { file: name(), fault })
}

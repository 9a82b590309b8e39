//! Certificates, keys and authorities from PEM files: the one way in which they are read.

use std::{path::Path, sync::Arc};

use rustls::{RootCertStore, crypto::CryptoProvider, sign::CertifiedKey};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};
use tracing::warn;

use super::{TlsError, receptor_names};

/// A certificate chain and its key. Keys are RSA, ECDSA P-256 or P-384, or Ed25519, in PKCS#1, SEC1 or PKCS#8.
///
/// # Errors
/// If a file cannot be read, or certificate and key do not fit.
pub(super) fn identity(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(cert)?;
    let key = read(key, PrivateKeyDer::from_pem_slice)?;
    Ok(Arc::new(CertifiedKey::from_der(chain, key, provider)?))
}

/// Checks that the own certificate carries the own node ID (mesh-protocol 1.4). `section` is the name of the settings.
///
/// # Errors
/// If it does not.
pub(super) fn check_own_name(identity: &CertifiedKey, node: &str, section: &str, file: &Path) -> Result<(), TlsError> {
    let Some(leaf) = identity.cert.first() else { return Err(no_certificate(file)) };
    let found = receptor_names(leaf).map_err(|fault| TlsError::Names { file: file.display().to_string(), fault })?;
    if found.iter().any(|name| name == node) {
        return Ok(());
    }
    let (section, file) = (section.to_owned(), file.display().to_string());
    Err(TlsError::NotOurName { node: node.to_owned(), found, section, file })
}

/// Authorities from a file. Those that cannot be used are left out, as the reference does; none left is an error.
///
/// # Errors
/// If the file cannot be read or holds no authority.
pub(super) fn authorities(file: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    match roots.add_parsable_certificates(certificates(file)?) {
        (0, _) => return Err(no_certificate(file)),
        (_, 0) => {}
        (_, ignored) => warn!("{}: {ignored} certificates cannot be used and are left out", file.display()),
    }
    Ok(Arc::new(roots))
}

/// The authorities that the system trusts. Reads many files; what cannot be read is left out.
pub(super) fn system_authorities() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        warn!("this system has no certificates of authorities: name a file with rootcas or clientcas");
    }
    Arc::new(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = read(file, |pem| CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>())?;
    if chain.is_empty() { Err(no_certificate(file)) } else { Ok(chain) }
}

fn no_certificate(file: &Path) -> TlsError {
    TlsError::NoCertificate { file: file.display().to_string() }
}

fn read<T>(file: &Path, parse: impl FnOnce(&[u8]) -> Result<T, pem::Error>) -> Result<T, TlsError> {
    let name = || file.display().to_string();
    let pem = std::fs::read(file).map_err(|fault| TlsError::Open { file: name(), fault })?;
    parse(&pem).map_err(|fault| TlsError::Pem { file: name(), fault })
}

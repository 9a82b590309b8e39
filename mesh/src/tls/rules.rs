//! Versions, curves and cipher suites (mesh-protocol 1.4), and the rules that both sides share.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, Error, OtherError, SupportedProtocolVersion,
    crypto::{
        CryptoProvider,
        ring::{self, cipher_suite as suite, kx_group},
    },
    version::{TLS12, TLS13},
};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256, Sha512};
use worknode_protocol::config::model::Fingerprint;

use super::{NameFault, receptor_names};

/// Application protocol of streams (mesh-protocol 7.2).
pub(super) const ALPN: &[u8] = b"netceptor";

/// The cryptography of named settings. Without `mintls13` it is what the reference allows, less what ring lacks (P-521)
/// and what has no forward secrecy (RSA key exchange). P-256 stands first: the reference takes no X25519 there.
pub(super) fn provider(min_tls13: bool) -> Arc<CryptoProvider> {
    let provider = ring::default_provider();
    if min_tls13 {
        return Arc::new(provider);
    }
    let cipher_suites = vec![
        suite::TLS13_AES_256_GCM_SHA384,
        suite::TLS13_AES_128_GCM_SHA256,
        suite::TLS13_CHACHA20_POLY1305_SHA256,
        suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ];
    Arc::new(CryptoProvider { cipher_suites, kx_groups: vec![kx_group::SECP256R1, kx_group::SECP384R1], ..provider })
}

/// The versions of a backend. Streams have TLS 1.3 alone, as QUIC demands.
pub(super) fn versions(min_tls13: bool) -> &'static [&'static SupportedProtocolVersion] {
    static NEW: [&SupportedProtocolVersion; 1] = [&TLS13];
    static ALL: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    if min_tls13 { &NEW } else { &ALL }
}

/// Why a peer's certificate is refused although its chain is good.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// None of the pinned fingerprints is that of the certificate.
    #[error("presented certificate does not match any pinned fingerprint")]
    NotPinned,
    /// The certificate is for other nodes (mesh-protocol 7.4).
    #[error("certificate is {}, but wanted to match {expected}", valid_for(.found))]
    OtherNode {
        /// The node that it should be for.
        expected: String,
        /// The receptor names that it carries.
        found: Vec<String>,
    },
    /// The certificate's names cannot be read.
    #[error(transparent)]
    Names(#[from] NameFault),
    /// A service with named TLS was opened without (mesh-protocol 7.4).
    #[error("insecure connection to secure service")]
    NotInsecure,
}

/// rustls shows an error of this kind by its `Debug`: it is what the log and the dialling user read.
impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An error of a handshake without what rustls puts around a [`Refusal`].
pub(crate) fn plain(words: &str) -> &str {
    let refusal = words.strip_prefix("invalid peer certificate: Other(OtherError(");
    refusal.and_then(|rest| rest.strip_suffix("))")).unwrap_or(words)
}

fn valid_for(found: &[String]) -> String {
    match found {
        [] => "not valid for any Receptor node IDs".to_owned(),
        [one] => format!("valid for Receptor node ID {one}"),
        many => format!("valid for Receptor node IDs {}", many.join(", ")),
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
    }
}

/// Holds a certificate against the pins; no pins allow all. Any one may match (mesh-protocol 1.4).
pub(super) fn check_pins(pins: &[Fingerprint], leaf: &CertificateDer<'_>) -> Result<(), Refusal> {
    let matches = |pin: &Fingerprint| match pin {
        Fingerprint::Sha256(digest) => Sha256::digest(leaf).as_slice() == digest,
        Fingerprint::Sha512(digest) => Sha512::digest(leaf).as_slice() == digest.as_slice(),
    };
    if pins.is_empty() || pins.iter().any(matches) { Ok(()) } else { Err(Refusal::NotPinned) }
}

/// Checks that a certificate carries a node's ID; the comparison is exact (mesh-protocol 1.5).
pub(super) fn check_node(leaf: &CertificateDer<'_>, node: &str) -> Result<(), Refusal> {
    let found = receptor_names(leaf)?;
    if found.iter().any(|name| name == node) {
        return Ok(());
    }
    Err(Refusal::OtherNode { expected: node.to_owned(), found })
}

/// The node IDs that a backend's peer may have, by its certificate; none where the certificate does not restrict them.
///
/// A certificate without receptor names restricts nothing: it is for a host. One whose names cannot be read allows no ID.
pub(super) fn certified(peer: Option<&[CertificateDer<'_>]>) -> Option<Vec<String>> {
    let names = receptor_names(peer?.first()?).map(|names| Some(names).filter(|names| !names.is_empty()));
    names.unwrap_or(Some(Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_its_own_words() {
        let refused = Error::from(Refusal::NotInsecure).to_string();
        assert_eq!(plain(&refused), "insecure connection to secure service");
        let other = Error::InvalidCertificate(CertificateError::UnknownIssuer).to_string();
        assert_eq!(plain(&other), "invalid peer certificate: UnknownIssuer");
    }
}

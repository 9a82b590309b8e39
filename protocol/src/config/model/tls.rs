//! Named TLS settings.

use std::path::PathBuf;

/// TLS for a listener: the action `tls-server` (control-protocol 1.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsServer {
    /// Name by which other actions refer to these settings.
    pub name: String,
    /// PEM file of the certificate chain.
    pub cert: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
    /// Refuse clients without a certificate.
    pub require_client_cert: bool,
    /// PEM file of the authorities that client certificates are verified with; the system's where unset.
    pub client_cas: Option<PathBuf>,
    /// If not empty, a client certificate must also be one of these.
    pub pinned_client_cert: Vec<Fingerprint>,
    /// Do not insist that the certificate carries this node's ID.
    pub skip_receptor_names_check: bool,
    /// TLS 1.3 and nothing older.
    pub min_tls13: bool,
}

/// TLS for a connection this node opens: the action `tls-client` (control-protocol 1.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsClient {
    /// Name by which other actions refer to these settings.
    pub name: String,
    /// Certificate chain and private key, PEM files; `None` where both were given empty.
    pub identity: Option<TlsIdentity>,
    /// PEM file of the authorities that server certificates are verified with; the system's where unset.
    pub root_cas: Option<PathBuf>,
    /// Accept any server certificate.
    pub insecure_skip_verify: bool,
    /// If not empty, the server certificate must also be one of these.
    pub pinned_server_cert: Vec<Fingerprint>,
    /// Do not insist that the own certificate carries this node's ID.
    pub skip_receptor_names_check: bool,
    /// TLS 1.3 and nothing older.
    pub min_tls13: bool,
}

/// Files of a certificate chain and its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsIdentity {
    /// PEM file of the certificate chain.
    pub cert: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
}

/// Digest of a certificate in DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fingerprint {
    /// SHA-256.
    Sha256([u8; 32]),
    /// SHA-512.
    Sha512(Box<[u8; 64]>),
}

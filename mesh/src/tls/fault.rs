//! Why TLS settings cannot be used.

use rustls_pki_types::pem;

/// Why TLS settings cannot be used. `Display` follows `error preparing tls server config: ` or the same with `client`.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM of the kind that is needed.
    #[error("{file}: {fault}")]
    Pem {
        /// The file.
        file: String,
        /// What is wrong with it.
        fault: pem::Error,
    },
    /// A file cannot be opened.
    #[error("open {file}: {}", .fault.to_string().split(" (os error").next().unwrap_or_default().to_lowercase())]
    Open {
        /// The file.
        file: String,
        /// The system's words.
        fault: std::io::Error,
    },
    /// A file of authorities or certificates holds none that can be used.
    #[error("{file}: no usable certificate in it")]
    NoCertificate {
        /// The file.
        file: String,
    },
    /// The own certificate does not carry the own node ID (mesh-protocol 1.4). The words are the reference's.
    #[error(
        "nodeID={node} not found in certificate name(s); names found=[{}]; cfg section={section}; server cert={file}",
        .found.join(" ")
    )]
    NotOurName {
        /// The own node ID.
        node: String,
        /// The receptor names that are there.
        found: Vec<String>,
        /// Name of the TLS settings.
        section: String,
        /// The certificate's file.
        file: String,
    },
    /// The own certificate cannot be taken apart.
    #[error("{file}: {fault}")]
    Names {
        /// The certificate's file.
        file: String,
        /// What is wrong with it.
        fault: super::NameFault,
    },
    /// Certificate and key do not fit, or the key is of a kind that cannot be used.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
    /// The client CA file holds nothing to check clients with.
    #[error("client certificates cannot be checked: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// The host in an address is neither a DNS name nor an address, so no certificate can be for it.
    #[error("{0} is no host name that a certificate could carry")]
    HostName(String),
    /// The certificate of the built-in insecure streams could not be made.
    #[error("the built-in certificate cannot be made: {0}")]
    BuiltIn(#[from] rcgen::Error),
}

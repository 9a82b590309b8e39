//! Keys for the signatures of submitted work (control-protocol 4.7).

use std::path::PathBuf;
use std::time::Duration;

/// How this node signs: the action `work-signing`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkSigning {
    /// PEM file of the RSA private key.
    pub private_key: PathBuf,
    /// How long a signature is valid.
    pub token_expiration: Duration,
}

impl WorkSigning {
    /// Validity of a signature where the file does not say.
    pub const DEFAULT_TOKEN_EXPIRATION: Duration = Duration::from_secs(5 * 60);
}

/// What this node verifies signatures with: the action `work-verification`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkVerification {
    /// PEM file of the RSA public key.
    pub public_key: PathBuf,
}

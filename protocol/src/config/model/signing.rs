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
    /// What a signature is good for.
    pub token_binding: TokenBinding,
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
    /// What a signature must be good for, at most.
    pub token_binding: TokenBinding,
}

/// What a signature is good for, beyond the node and the time that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenBinding {
    /// Anything, any number of times: as in receptor.
    #[default]
    None,
    /// One request with its payload, once.
    Request,
}

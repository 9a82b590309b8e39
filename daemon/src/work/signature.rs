//! Signatures of requests (control-protocol 4.7): [`Signatures`] checks those that a work type demands, [`Signer`] makes
//! those that other nodes demand.
//!
//! Keys are read anew for each signature, so that a file that was replaced counts at once.

mod signer;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use worknode_protocol::{
    control::{
        SignatureError, Token,
        token::{Hash, Scheme, TokenFault, UncheckedToken},
    },
    id::NodeId,
};
use x509_parser::{prelude::FromDer, x509::SubjectPublicKeyInfo};

pub use self::signer::Signer;
use crate::control::stream::Carrier;

/// Checks signatures for this node.
#[derive(Debug, Clone)]
pub struct Signatures {
    node: NodeId,
    verifying_key: Option<Arc<Path>>,
}

impl Signatures {
    /// Signatures made for `node`, to be checked with the public key in a PEM file.
    pub fn new(node: NodeId, verifying_key: Option<PathBuf>) -> Self {
        Self { node, verifying_key: verifying_key.map(Into::into) }
    }

    /// Checks the right to a request on work of a type that demands a signature, or does not.
    ///
    /// # Errors
    /// The request is not to be carried out.
    pub async fn check(
        &self,
        demanded: bool,
        signature: Option<&Token>,
        carrier: Carrier,
    ) -> Result<(), SignatureError> {
        let token = match (demanded, carrier, signature) {
            (false, _, Some(_)) => return Err(SignatureError::NotExpected),
            (false, _, None) | (true, Carrier::Unix, _) => return Ok(()),
            (true, _, None) => return Err(SignatureError::Empty),
            (true, _, Some(token)) => token.clone(),
        };
        let key = self.verifying_key.clone().ok_or(SignatureError::NoVerifyingKey)?;
        let node = self.node.clone();
        let verify = move || verify(&token, &key, node.as_str(), Timestamp::now());
        let verified = tokio::task::spawn_blocking(verify).await;
        verified.unwrap_or_else(|panic| Err(SignatureError::Invalid(panic.to_string())))
    }
}

fn verify(token: &Token, key: &Path, node: &str, now: Timestamp) -> Result<(), SignatureError> {
    let key = read_key(key).map_err(SignatureError::UnreadableVerifyingKey)?;
    let invalid = |fault: TokenFault| SignatureError::Invalid(fault.to_string());
    let token = UncheckedToken::parse(token.as_str()).map_err(invalid)?;
    let genuine =
        UnparsedPublicKey::new(algorithm(token.scheme), &key).verify(token.signed.as_bytes(), &token.signature);
    genuine.map_err(|_| invalid(TokenFault::Forged))?;
    token.claims.check_times(now).map_err(invalid)?;
    if token.claims.is_for(node) { Ok(()) } else { Err(SignatureError::Audience) }
}

fn algorithm(scheme: Scheme) -> &'static dyn VerificationAlgorithm {
    match scheme {
        Scheme::Pkcs1(Hash::Sha256) => &signature::RSA_PKCS1_2048_8192_SHA256,
        Scheme::Pkcs1(Hash::Sha384) => &signature::RSA_PKCS1_2048_8192_SHA384,
        Scheme::Pkcs1(Hash::Sha512) => &signature::RSA_PKCS1_2048_8192_SHA512,
        Scheme::Pss(Hash::Sha256) => &signature::RSA_PSS_2048_8192_SHA256,
        Scheme::Pss(Hash::Sha384) => &signature::RSA_PSS_2048_8192_SHA384,
        Scheme::Pss(Hash::Sha512) => &signature::RSA_PSS_2048_8192_SHA512,
    }
}

/// The RSA key in a PEM file of one `PUBLIC KEY`, as ring takes it: PKCS#1 in DER.
fn read_key(file: &Path) -> Result<Vec<u8>, String> {
    let at = |fault: &dyn std::fmt::Display| format!("{}: {fault}", file.display());
    let pem = std::fs::read(file).map_err(|fault| at(&fault))?;
    let mut keys = SubjectPublicKeyInfoDer::pem_slice_iter(&pem);
    let key = match (keys.next(), keys.next()) {
        (Some(Ok(key)), None) => key,
        (Some(Err(fault)), _) => return Err(at(&fault)),
        (None, _) => return Err(at(&"holds no PUBLIC KEY")),
        (Some(_), Some(_)) => return Err(at(&"holds more than one PUBLIC KEY")),
    };
    let (_, key) = SubjectPublicKeyInfo::from_der(&key).map_err(|fault| at(&fault))?;
    match key.parsed() {
        Ok(x509_parser::public_key::PublicKey::RSA(rsa)) if rsa.key_size() >= 2048 => {
            Ok(key.subject_public_key.data.into_owned())
        }
        Ok(x509_parser::public_key::PublicKey::RSA(_)) => Err(at(&"is an RSA key of less than 2048 bits")),
        _ => Err(at(&"is no RSA key")),
    }
}

#[cfg(test)]
mod tests;

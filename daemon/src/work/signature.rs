//! Signatures of requests (control-protocol 4.7): [`Signatures`] checks those that a work type demands, [`Signer`] makes
//! those that other nodes demand.
//!
//! Keys are read anew for each signature, so that a file that was replaced counts at once. A token that is bound is good for
//! one request with its payload, once (`docs/decisions/0018-bound-tokens.md`).

mod once;
mod signer;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use ring::{
    digest,
    signature::{self, UnparsedPublicKey, VerificationAlgorithm},
};
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use worknode_protocol::{
    config::model::{TokenBinding, WorkVerification},
    control::{
        SignatureError, Token, WorkRequest,
        token::{Binding, Digest, Hash, Scheme, TokenFault, UncheckedToken},
    },
    id::NodeId,
};
use x509_parser::{prelude::FromDer, x509::SubjectPublicKeyInfo};

pub use self::{once::UsedTokens, signer::Signer};
use crate::control::stream::Carrier;

/// Checks signatures for this node.
#[derive(Debug, Clone)]
pub struct Signatures {
    node: NodeId,
    settings: Option<Arc<WorkVerification>>,
    used: UsedTokens,
}

/// What a client shows for a request.
#[derive(Debug, Clone)]
pub struct Shown {
    carrier: Carrier,
    /// A payload follows.
    has_payload: bool,
    /// The token, and the text that it may be bound to.
    token: Option<(Token, String)>,
}

impl Shown {
    /// For this request, on a connection of this kind.
    pub fn with(request: &WorkRequest, carrier: Carrier) -> Self {
        let token = request.signature().cloned();
        let has_payload = matches!(request, WorkRequest::Submit(_));
        Self { carrier, has_payload, token: token.map(|token| (token, request.bound_text())) }
    }
}

/// What is still to be held against a signature, once it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Pledge {
    payload: Option<Digest>,
}

impl Pledge {
    /// Whether a payload was named. It must not be passed on before it is whole.
    pub fn is_for_a_payload(&self) -> bool {
        self.payload.is_some()
    }

    /// Checks a payload, as it is on disk.
    ///
    /// # Errors
    /// It is another one, or cannot be read.
    pub async fn check(self, payload: PathBuf) -> Result<(), SignatureError> {
        let Some(pledged) = self.payload else { return Ok(()) };
        let found = tokio::task::spawn_blocking(move || digest_of_file(&payload)).await.map_err(io::Error::other);
        match found.flatten() {
            Ok(found) if found == pledged => Ok(()),
            Ok(_) => Err(invalid(TokenFault::OtherPayload)),
            Err(fault) => Err(SignatureError::Invalid(fault.to_string())),
        }
    }
}

impl Signatures {
    /// Signatures made for `node`; `used` remembers those that are good once.
    pub fn new(node: NodeId, settings: Option<WorkVerification>, used: UsedTokens) -> Self {
        Self { node, settings: settings.map(Arc::new), used }
    }

    /// Checks the right to a request on work of a type that demands a signature, or does not.
    ///
    /// # Errors
    /// The request is not to be carried out.
    pub async fn check(&self, demanded: bool, shown: &Shown) -> Result<Pledge, SignatureError> {
        let (token, text) = match (demanded, shown.carrier, &shown.token) {
            (false, _, Some(_)) => return Err(SignatureError::NotExpected),
            (false, _, None) | (true, Carrier::Unix, _) => return Ok(Pledge { payload: None }),
            (true, _, None) => return Err(SignatureError::Empty),
            (true, _, Some(token)) => token.clone(),
        };
        let settings = self.settings.clone().ok_or(SignatureError::NoVerifyingKey)?;
        let node = self.node.clone();
        let verify = move || verify(&token, &text, &settings, node.as_str(), Timestamp::now());
        let verified = tokio::task::spawn_blocking(verify).await;
        let bound = verified.unwrap_or_else(|panic| Err(SignatureError::Invalid(panic.to_string())))?;
        let Some((Binding { id, payload, .. }, end)) = bound else { return Ok(Pledge { payload: None }) };
        if payload.is_some() != shown.has_payload {
            return Err(invalid(TokenFault::Unbound));
        }
        self.used.use_up(id, end).await.map_err(invalid)?;
        Ok(Pledge { payload })
    }
}

/// A binding, and the end of its token.
type Bound = (Binding, Option<Timestamp>);

/// Checks a token; says what it is bound to, if it is, and that is this request.
fn verify(
    token: &Token,
    text: &str,
    settings: &WorkVerification,
    node: &str,
    now: Timestamp,
) -> Result<Option<Bound>, SignatureError> {
    let key = read_key(&settings.public_key).map_err(SignatureError::UnreadableVerifyingKey)?;
    let token = UncheckedToken::parse(token.as_str()).map_err(invalid)?;
    let genuine =
        UnparsedPublicKey::new(algorithm(token.scheme), &key).verify(token.signed.as_bytes(), &token.signature);
    genuine.map_err(|_| invalid(TokenFault::Forged))?;
    token.claims.check_times(now).map_err(invalid)?;
    if !token.claims.is_for(node) {
        return Err(SignatureError::Audience);
    }
    match token.claims.binding().map_err(invalid)? {
        None if settings.token_binding == TokenBinding::Request => Err(invalid(TokenFault::Unbound)),
        None => Ok(None),
        Some(binding) if binding.command != digest_of(text) => Err(invalid(TokenFault::OtherRequest)),
        Some(binding) => Ok(Some((binding, token.claims.expires()))),
    }
}

fn invalid(fault: TokenFault) -> SignatureError {
    SignatureError::Invalid(fault.to_string())
}

fn digest_of(text: &str) -> Digest {
    finished(&digest::digest(&digest::SHA256, text.as_bytes()))
}

/// Blocks.
fn digest_of_file(file: &Path) -> io::Result<Digest> {
    let (mut file, mut context) = (File::open(file)?, digest::Context::new(&digest::SHA256));
    let mut block = vec![0; 256 * 1024];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(finished(&context.finish())),
            length => context.update(block.get(..length).unwrap_or_default()),
        }
    }
}

fn finished(digest: &digest::Digest) -> Digest {
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    Digest(bytes)
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

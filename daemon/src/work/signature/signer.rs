//! Signs what this node asks of others.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA512, RsaKeyPair},
};
use rustls::pki_types::pem::{PemObject, SectionKind};
use worknode_protocol::{
    config::model::{TokenBinding, WorkSigning},
    control::{
        SignatureError, Token, WorkRequest,
        token::{Binding, UnsignedToken},
    },
};

use super::{digest_of, digest_of_file};

/// Largest key file that is read. A key of 4096 bits has 3 KiB.
const LARGEST: u64 = 64 * 1024;

/// Makes tokens for requests to other nodes, with the key of `work-signing`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Signer {
    settings: Option<Arc<WorkSigning>>,
}

impl Signer {
    /// A signer with these settings; one without any can sign nothing.
    pub fn new(settings: Option<WorkSigning>) -> Self {
        Self { settings: settings.map(Arc::new) }
    }

    /// Whether a submit can be signed only when its payload is whole.
    pub fn needs_payload(&self) -> bool {
        self.settings.as_ref().is_some_and(|settings| settings.token_binding == TokenBinding::Request)
    }

    /// The request with a fresh token for the node `audience`. `payload` is the file with the whole payload of a submit.
    ///
    /// # Errors
    /// There is no key, or its file cannot be used; or the payload cannot be read.
    pub async fn signed(
        &self,
        request: WorkRequest,
        audience: &str,
        payload: Option<PathBuf>,
    ) -> Result<WorkRequest, SignatureError> {
        let settings = self.settings.clone().ok_or(SignatureError::NoSigningKey)?;
        let audience = audience.to_owned();
        // Reads files, and takes milliseconds of arithmetic.
        let signing = tokio::task::spawn_blocking(move || {
            let end = expiry(Timestamp::now(), settings.token_expiration);
            let token = match settings.token_binding {
                TokenBinding::None => UnsignedToken::new(&audience, end),
                TokenBinding::Request => {
                    let payload = payload.as_deref().map(digest_of_file).transpose();
                    let unreadable = |fault| SignatureError::Unsignable(format!("the payload cannot be read: {fault}"));
                    let payload = payload.map_err(unreadable)?;
                    let command = digest_of(&request.bound_text());
                    UnsignedToken::bound(&audience, end, &Binding { id: fresh_id(), command, payload })
                }
            };
            let signed = sign(token, &settings.private_key).map_err(SignatureError::UnreadableSigningKey);
            signed.map(|token| request.with_signature(Some(token)))
        });
        signing.await.unwrap_or_else(|panic| Err(SignatureError::Unsignable(panic.to_string())))
    }
}

/// A name that no other token has.
fn fresh_id() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>())
}

/// A time beyond what a clock can show is its end.
fn expiry(now: Timestamp, after: Duration) -> Timestamp {
    now.checked_add(after).unwrap_or(Timestamp::MAX)
}

/// Fails with the file's name and words that show nothing of its content.
pub(super) fn sign(token: UnsignedToken, key: &Path) -> Result<Token, String> {
    let at = |fault: &dyn std::fmt::Display| format!("{}: {fault}", key.display());
    let key = read_key(key).map_err(|fault| at(&fault))?;
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA512, &SystemRandom::new(), token.as_bytes(), &mut signature)
        .map_err(|_| at(&"the key does not sign"))?;
    Ok(token.signed(&signature))
}

/// The one item of a PEM file, which must be an RSA key in PKCS#1 or PKCS#8.
fn read_key(file: &Path) -> Result<RsaKeyPair, String> {
    let mut pem = Vec::new();
    let read = File::open(file).and_then(|open| open.take(LARGEST).read_to_end(&mut pem));
    read.map_err(|fault| fault.to_string())?;
    let mut items = <(SectionKind, Vec<u8>)>::pem_slice_iter(&pem);
    let (kind, der) = match (items.next(), items.next()) {
        (Some(item), None) => item.map_err(|fault| fault.to_string())?,
        (None, _) => return Err("holds no private key".to_owned()),
        (Some(_), Some(_)) => return Err("holds more than one item".to_owned()),
    };
    let key = match kind {
        SectionKind::RsaPrivateKey => RsaKeyPair::from_der(&der),
        SectionKind::PrivateKey => RsaKeyPair::from_pkcs8(&der),
        _ => return Err("holds no private key".to_owned()),
    };
    key.map_err(|fault| match fault.to_string().as_str() {
        "WrongAlgorithm" => "is no RSA key".to_owned(),
        "TooSmall" => "is an RSA key of less than 2048 bits".to_owned(),
        "TooLarge" => "is an RSA key of more than 4096 bits".to_owned(),
        other => format!("holds a key that cannot be used: {other}"),
    })
}

#[cfg(test)]
mod tests;

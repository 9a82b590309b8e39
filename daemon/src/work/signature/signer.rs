//! Signs what this node asks of others.

use std::{fs::File, io::Read, path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA512, RsaKeyPair},
};
use rustls::pki_types::pem::{PemObject, SectionKind};
use worknode_protocol::{
    config::model::WorkSigning,
    control::{SignatureError, Token, token::UnsignedToken},
};

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

    /// A fresh token for one request to the node `audience`.
    ///
    /// # Errors
    /// There is no key, or its file cannot be used.
    pub async fn token(&self, audience: &str) -> Result<Token, SignatureError> {
        let settings = self.settings.clone().ok_or(SignatureError::NoSigningKey)?;
        let audience = audience.to_owned();
        // Reads a file, and takes milliseconds of arithmetic.
        let signing = tokio::task::spawn_blocking(move || {
            let end = expiry(Timestamp::now(), settings.token_expiration);
            sign(UnsignedToken::new(&audience, end), &settings.private_key)
        });
        let signed = signing.await.unwrap_or_else(|panic| Err(panic.to_string()));
        signed.map_err(SignatureError::UnreadableSigningKey)
    }
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

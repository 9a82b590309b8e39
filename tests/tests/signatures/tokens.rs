//! Tokens as a client makes them that has the key.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use rustls::{SignatureScheme, crypto::ring::sign::any_supported_type, sign::SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use worknode_tests::binaries;

/// A file of the key pair that the unit tests have, too.
pub(crate) fn key(name: &str) -> PathBuf {
    binaries::workspace().join("daemon/src/work/signature/keys").join(format!("signing.{name}"))
}

/// Signs with the private key.
pub(crate) struct Tokens(Arc<dyn SigningKey>);

impl Tokens {
    pub(crate) fn new() -> Result<Self> {
        let der = PrivateKeyDer::from_pem_file(key("pkcs8.pem")).map_err(|fault| anyhow::anyhow!("{fault}"))?;
        Ok(Self(any_supported_type(&der)?))
    }

    fn signed(&self, claims: &Value) -> Result<String> {
        let (header, claims) = (r#"{"alg":"RS512","typ":"JWT"}"#, claims.to_string());
        let text = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
        let signer = self.0.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA512]).context("no RSA key")?;
        Ok(format!("{text}.{}", BASE64.encode(signer.sign(text.as_bytes())?)))
    }

    /// For anything on this node.
    pub(crate) fn plain(&self, node: &str) -> Result<String> {
        self.signed(&json!({"aud": [node], "exp": in_five_minutes()?}))
    }

    /// For one request, which is given as the line that decision 18 describes.
    pub(crate) fn bound(&self, node: &str, id: &str, request: &str, payload: Option<&[u8]>) -> Result<String> {
        let digest = |bytes: &[u8]| BASE64.encode(Sha256::digest(bytes));
        let mut bound = json!({"command": digest(request.as_bytes())});
        if let (Some(payload), Some(bound)) = (payload, bound.as_object_mut()) {
            bound.insert("payload".to_owned(), json!(digest(payload)));
        }
        self.signed(&json!({"aud": [node], "exp": in_five_minutes()?, "jti": id, "worknode": bound}))
    }
}

fn in_five_minutes() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 300)
}

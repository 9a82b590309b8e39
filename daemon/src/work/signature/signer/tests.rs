use std::{fs, path::PathBuf};

use tempfile::TempDir;
use worknode_protocol::{config::model::WorkVerification, control::UnitCommand};

use super::*;
use crate::{
    control::stream::Carrier,
    work::signature::{Shown, Signatures, UsedTokens},
};

const PKCS1: &[u8] = include_bytes!("../keys/signing.pkcs1.pem");
const PKCS8: &[u8] = include_bytes!("../keys/signing.pkcs8.pem");
const PUBLIC: &[u8] = include_bytes!("../keys/signing.pub.pem");
const ELLIPTIC: &[u8] = include_bytes!("../keys/ec.pkcs8.pem");
const SHORT: &[u8] = include_bytes!("../keys/short.pkcs1.pem");

/// Claims of control-protocol 4.7, signed by `openssl dgst -sha512`.
const GOLDEN: &str = concat!(
    "eyJhbGciOiJSUzUxMiIsInR5cCI6IkpXVCJ9.eyJhdWQiOlsibjMiXSwiZXhwIjoxNzk1MjI1MzI2fQ.",
    "SrPqYUTZHfVGNgIBfbsLKIw9lnChwMX0tMYWaUacvHmKf30LrvNHUTN457BPyP5jDNiBWOlqN3nEfnDYaNwjmEfR9mu_YntzWuvKArJMbnRCuuNg_7mcEaQozUhY1KLEfLYMIQ52Zqfxzyr1i4JwoyFSXnv7ub-d1_jvOdQnva4ZC1UZ1RPXt8MWZLsJ7J9w2giGTEVrHomSSUCVTD9mg7C1XOfMTrdSHM2bJ3c6Uoiq7QQpQo-eb3e9BCC9ufd4b3-d4dmn5PLICc-WejcckDvBr3LcuMMNpysQzrhqpWmKfyxxjSORVxihzweva_2STwa_w1ycNxdVH0P4Nm_H_Q"
);

/// A directory for key files.
struct Keys(TempDir);

impl Keys {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let file = self.0.path().join(name);
        fs::write(&file, content).unwrap();
        file
    }

    fn signer(&self, token_expiration: Duration) -> Signer {
        let private_key = self.0.path().join("key.pem");
        Signer::new(Some(WorkSigning { private_key, token_expiration, token_binding: TokenBinding::None }))
    }

    /// What the node `n3` says to a request.
    async fn verified(&self, request: &WorkRequest) -> Result<(), String> {
        let public_key = self.file("key.pub.pem", PUBLIC);
        let settings = WorkVerification { public_key, token_binding: TokenBinding::None };
        let used = UsedTokens::start(self.0.path().join("used")).0;
        let signatures = Signatures::new("n3".parse().unwrap(), Some(settings), used);
        let checked = signatures.check(true, &Shown::with(request, Carrier::Mesh)).await;
        checked.map(drop).map_err(|fault| fault.to_string())
    }
}

async fn signed(signer: &Signer, audience: &str) -> Result<WorkRequest, SignatureError> {
    signer.signed(WorkRequest::Cancel(UnitCommand::default()), audience, None).await
}

#[test]
fn tokens_are_byte_for_byte_those_of_the_original() {
    let keys = Keys::new();
    for key in [PKCS1, PKCS8] {
        let token = UnsignedToken::new("n3", Timestamp::from_second(1_795_225_326).unwrap());
        let token = sign(token, &keys.file("key.pem", key)).unwrap();
        assert_eq!(token.as_str(), GOLDEN);
    }
}

#[tokio::test]
async fn a_token_is_accepted_by_the_node_it_is_for_and_for_its_time() {
    let keys = Keys::new();
    keys.file("key.pem", PKCS8);
    let signer = keys.signer(WorkSigning::DEFAULT_TOKEN_EXPIRATION);
    assert_eq!(keys.verified(&signed(&signer, "n3").await.unwrap()).await, Ok(()));
    let other = keys.verified(&signed(&signer, "n4").await.unwrap()).await;
    assert_eq!(other, Err("token audience did not match node ID".to_owned()));
    let over = keys.verified(&signed(&keys.signer(Duration::ZERO), "n3").await.unwrap()).await.unwrap_err();
    assert!(over.starts_with("could not verify signature: token is expired by "), "{over}");
    let ever = signed(&keys.signer(Duration::MAX), "n3").await.unwrap();
    assert_eq!(keys.verified(&ever).await, Ok(()));
}

#[tokio::test]
async fn a_key_that_was_replaced_counts_at_once() {
    let keys = Keys::new();
    keys.file("key.pem", SHORT);
    let signer = keys.signer(WorkSigning::DEFAULT_TOKEN_EXPIRATION);
    assert!(signed(&signer, "n3").await.is_err());
    keys.file("key.pem", PKCS1);
    assert_eq!(keys.verified(&signed(&signer, "n3").await.unwrap()).await, Ok(()));
}

#[tokio::test]
async fn a_key_file_that_cannot_be_used_is_named() {
    let keys = Keys::new();
    let words = async |signer: &Signer| {
        let fault = signed(signer, "n3").await.unwrap_err().to_string();
        fault.replace(keys.0.path().to_str().unwrap(), "DIR")
    };
    assert_eq!(words(&Signer::new(None)).await, "cannot sign work: signing key is empty");
    let signer = keys.signer(WorkSigning::DEFAULT_TOKEN_EXPIRATION);
    let missing = "could not load signing key file: DIR/key.pem: No such file or directory (os error 2)";
    assert_eq!(words(&signer).await, missing);
    for (key, fault) in [
        (&b""[..], "holds no private key"),
        (PUBLIC, "holds no private key"),
        (&[PKCS1, PKCS1].concat(), "holds more than one item"),
        (&[PKCS8, PUBLIC].concat(), "holds more than one item"),
        (ELLIPTIC, "is no RSA key"),
        (SHORT, "is an RSA key of less than 2048 bits"),
    ] {
        keys.file("key.pem", key);
        assert_eq!(words(&signer).await, format!("could not load signing key file: DIR/key.pem: {fault}"));
    }
}

//! Tokens of every kind are in the transcript `signature` of the black-box tests, which Go's daemon answers alike.

use tempfile::TempDir;

use super::*;

const PUBLIC: &[u8] = include_bytes!("keys/rsa.pub.pem");
const ELLIPTIC: &[u8] = include_bytes!("keys/ec.pub.pem");
const SHORT: &[u8] = include_bytes!("keys/short.pub.pem");

/// Whether the node `n3` with this key takes the token, or its words.
async fn answer(key: &[u8], token: &Token) -> String {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("key.pem");
    std::fs::write(&file, key).unwrap();
    let signatures = Signatures::new("n3".parse().unwrap(), Some(file.clone()));
    let checked = signatures.check(true, Some(token), Carrier::Tcp).await;
    checked.map_or_else(|fault| fault.to_string().replace(file.to_str().unwrap(), "FILE"), |()| "ok".to_owned())
}

/// control-protocol 4.7
#[tokio::test]
async fn signatures_are_demanded_of_everybody_but_the_unix_socket() {
    let signatures = Signatures::new("n3".parse().unwrap(), None);
    let token = Token::new("x.y.z");
    let check = async |demanded, token: Option<&Token>, carrier| {
        signatures.check(demanded, token, carrier).await.err().map(|fault| fault.to_string())
    };
    for carrier in [Carrier::Unix, Carrier::Tcp, Carrier::Mesh] {
        assert_eq!(check(false, None, carrier).await, None);
        assert_eq!(
            check(false, token.as_ref(), carrier).await.as_deref(),
            Some("work type did not expect a signature")
        );
    }
    assert_eq!(check(true, None, Carrier::Unix).await, None);
    assert_eq!(check(true, token.as_ref(), Carrier::Unix).await, None, "on the Unix socket anything is accepted");
    assert_eq!(
        check(true, None, Carrier::Tcp).await.as_deref(),
        Some("could not verify signature: signature is empty")
    );
    assert_eq!(
        check(true, token.as_ref(), Carrier::Mesh).await.as_deref(),
        Some("could not verify signature: verifying key not specified")
    );
}

#[tokio::test]
async fn a_key_file_that_cannot_be_used_is_named() {
    let token = Token::new("x.y.z").unwrap();
    let two = [PUBLIC, PUBLIC].concat();
    assert_eq!(answer(PUBLIC, &token).await, "could not verify signature: illegal base64 data at input byte 0");
    for (key, fault) in [
        (&b""[..], "holds no PUBLIC KEY"),
        (&two, "holds more than one PUBLIC KEY"),
        (ELLIPTIC, "is no RSA key"),
        (SHORT, "is an RSA key of less than 2048 bits"),
    ] {
        assert_eq!(answer(key, &token).await, format!("could not load verifying key file: FILE: {fault}"));
    }
    let signatures = Signatures::new("n3".parse().unwrap(), Some("/nonexistent.pem".into()));
    let missing = signatures.check(true, Some(&token), Carrier::Tcp).await.unwrap_err().to_string();
    assert_eq!(missing, "could not load verifying key file: /nonexistent.pem: No such file or directory (os error 2)");
}

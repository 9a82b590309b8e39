//! Tokens of every kind are in the transcript `signature` of the black-box tests, which Go's daemon answers alike.

use tempfile::TempDir;
use worknode_protocol::{
    config::model::WorkSigning,
    control::{Submit, UnitCommand},
};

use super::*;

const PUBLIC: &[u8] = include_bytes!("keys/rsa.pub.pem");
const ELLIPTIC: &[u8] = include_bytes!("keys/ec.pub.pem");
const SHORT: &[u8] = include_bytes!("keys/short.pub.pem");

/// A request that carries this token.
fn cancel(token: Option<&Token>) -> WorkRequest {
    WorkRequest::Cancel(UnitCommand { unit: "u".to_owned(), signature: token.cloned() })
}

/// The signatures of node `n3`, checked with the key in a file.
fn signatures(public_key: Option<PathBuf>, token_binding: TokenBinding, dir: &TempDir) -> Signatures {
    let settings = public_key.map(|public_key| WorkVerification { public_key, token_binding });
    Signatures::new("n3".parse().unwrap(), settings, UsedTokens::start(dir.path().join(".n3.tokens")).0)
}

/// Whether the node `n3` with this key takes the token, or its words.
async fn answer(key: &[u8], token: &Token) -> String {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("key.pem");
    std::fs::write(&file, key).unwrap();
    let signatures = signatures(Some(file.clone()), TokenBinding::None, &dir);
    let checked = signatures.check(true, &Shown::with(&cancel(Some(token)), Carrier::Tcp)).await;
    checked.map_or_else(|fault| fault.to_string().replace(file.to_str().unwrap(), "FILE"), |_| "ok".to_owned())
}

/// control-protocol 4.7
#[tokio::test]
async fn signatures_are_demanded_of_everybody_but_the_unix_socket() {
    let dir = TempDir::new().unwrap();
    let signatures = signatures(None, TokenBinding::None, &dir);
    let token = Token::new("x.y.z");
    let check = async |demanded, token: Option<&Token>, carrier| {
        let shown = Shown::with(&cancel(token), carrier);
        signatures.check(demanded, &shown).await.err().map(|fault| fault.to_string())
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
    let dir = TempDir::new().unwrap();
    let signatures = signatures(Some("/nonexistent.pem".into()), TokenBinding::None, &dir);
    let shown = Shown::with(&cancel(Some(&token)), Carrier::Tcp);
    let missing = signatures.check(true, &shown).await.unwrap_err().to_string();
    assert_eq!(missing, "could not load verifying key file: /nonexistent.pem: No such file or directory (os error 2)");
}

/// Two nodes that bind their tokens: one signs for `n3`, the other is `n3`.
struct Bound {
    dir: TempDir,
    signer: Signer,
    signatures: Signatures,
}

impl Bound {
    fn new(signs: TokenBinding, demands: TokenBinding) -> Self {
        let dir = TempDir::new().unwrap();
        let file = |name: &str, content: &[u8]| {
            let file = dir.path().join(name);
            std::fs::write(&file, content).unwrap();
            file
        };
        let private_key = file("key.pem", include_bytes!("keys/signing.pkcs8.pem"));
        let public_key = file("key.pub.pem", include_bytes!("keys/signing.pub.pem"));
        let token_expiration = WorkSigning::DEFAULT_TOKEN_EXPIRATION;
        let signer = Signer::new(Some(WorkSigning { private_key, token_expiration, token_binding: signs }));
        let signatures = signatures(Some(public_key), demands, &dir);
        Self { dir, signer, signatures }
    }

    fn payload(&self, content: &[u8]) -> PathBuf {
        let file = self.dir.path().join("stdin");
        std::fs::write(&file, content).unwrap();
        file
    }

    async fn signed(&self, request: WorkRequest, payload: Option<&[u8]>) -> WorkRequest {
        let payload = payload.map(|payload| self.payload(payload));
        self.signer.signed(request, "n3", payload).await.unwrap()
    }

    /// What `n3` says to a request.
    async fn checked(&self, request: &WorkRequest) -> Result<Pledge, String> {
        let shown = Shown::with(request, Carrier::Mesh);
        let checked = self.signatures.check(true, &shown).await;
        checked.map_err(|fault| fault.to_string().replace("could not verify signature: ", ""))
    }
}

fn submit(work_type: &str) -> WorkRequest {
    WorkRequest::Submit(Submit { node: "n3".to_owned(), work_type: work_type.to_owned(), ..Submit::default() })
}

#[tokio::test]
async fn a_bound_token_is_good_for_its_request_once() {
    for demands in [TokenBinding::None, TokenBinding::Request] {
        let nodes = Bound::new(TokenBinding::Request, demands);
        let signed = nodes.signed(cancel(None), None).await;
        let release = |about: &WorkRequest| {
            let about = UnitCommand { unit: "u".to_owned(), signature: about.signature().cloned() };
            WorkRequest::Release(about)
        };
        let other = nodes.checked(&release(&signed)).await;
        assert_eq!(other, Err("token was made for another request".to_owned()));
        assert_eq!(nodes.checked(&signed).await, Ok(Pledge { payload: None }), "a wrong use spends nothing");
        assert_eq!(nodes.checked(&signed).await, Err("token was used before".to_owned()));
        assert!(nodes.checked(&nodes.signed(cancel(None), None).await).await.is_ok(), "another token");
    }
}

#[tokio::test]
async fn a_submit_is_good_for_its_payload() {
    let nodes = Bound::new(TokenBinding::Request, TokenBinding::Request);
    assert!(nodes.signer.needs_payload());
    for (sent, expected) in [
        (&b"hello"[..], Ok(())),
        (b"hellO", Err("could not verify signature: token was made for another payload".to_owned())),
        (b"", Err("could not verify signature: token was made for another payload".to_owned())),
    ] {
        let signed = nodes.signed(submit("cat"), Some(b"hello")).await;
        let pledge = nodes.checked(&signed).await.unwrap();
        assert!(pledge.is_for_a_payload());
        assert_eq!(pledge.check(nodes.payload(sent)).await.map_err(|fault| fault.to_string()), expected);
    }
    let other = nodes.signed(submit("cat"), Some(b"hello")).await.signature().cloned();
    let other = nodes.checked(&submit("sh").with_signature(other)).await;
    assert_eq!(other, Err("token was made for another request".to_owned()));
    let without = nodes.signed(submit("cat"), None).await;
    assert_eq!(nodes.checked(&without).await, Err("token is not bound to a request".to_owned()));
    let gone = Pledge { payload: Some(digest_of("x")) }.check("/nonexistent".into()).await;
    assert!(gone.is_err());
}

#[tokio::test]
async fn tokens_for_anything_are_taken_unless_bound_ones_are_demanded() {
    let nodes = Bound::new(TokenBinding::None, TokenBinding::None);
    assert!(!nodes.signer.needs_payload());
    let signed = nodes.signed(submit("cat"), Some(b"hello")).await;
    for _ in 0..2 {
        assert_eq!(nodes.checked(&signed).await, Ok(Pledge { payload: None }));
    }
    let strict = Bound::new(TokenBinding::None, TokenBinding::Request);
    let signed = strict.signed(submit("cat"), Some(b"hello")).await;
    assert_eq!(strict.checked(&signed).await, Err("token is not bound to a request".to_owned()));
}

#[test]
fn a_digest_is_sha_256() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "abc").unwrap();
    assert_eq!(digest_of_file(file.path()).unwrap(), digest_of("abc"));
    assert_eq!(digest_of("abc").to_string(), "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
}

//! What a signature says: the text that is signed, and what is read of one before anybody has looked whether it is genuine
//! (control-protocol 4.7, RFC 7519).
//!
//! The texts are those of the original's token library, as clients of receptor know them.

use std::fmt;
use std::str::FromStr;

use base64::{
    DecodeError, Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;

use super::Token;
use crate::duration::GoDuration;

/// Base64 as the original reads it: no padding, and bits that are left over do not matter.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Why a text is no token, or one that does not hold now. `Display` follows `could not verify signature: `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not three parts with dots between.
    #[error("token contains an invalid number of segments")]
    Segments,
    /// A part is not base64.
    #[error("illegal base64 data at input byte {0}")]
    Base64(usize),
    /// Header or claims are not the JSON that they should be.
    #[error("{part} of the token cannot be read: {fault}")]
    Json {
        /// `header` or `claims`.
        part: &'static str,
        /// What is wrong.
        fault: String,
    },
    /// The header names no algorithm.
    #[error("signing method (alg) is unspecified.")]
    Unspecified,
    /// The header names an algorithm that does not exist.
    #[error("signing method (alg) is unavailable.")]
    Unavailable,
    /// Algorithms for other keys than RSA ones.
    #[error("key is of invalid type")]
    KeyType,
    /// No signature at all.
    #[error("'none' signature type is not allowed")]
    None,
    /// Signed with another key, or not over this text.
    #[error("crypto/rsa: verification error")]
    Forged,
    /// The time of the token is over.
    #[error("token is expired by {0}")]
    Expired(GoDuration),
    /// Issued in the future.
    #[error("token used before issued")]
    BeforeIssued,
    /// Its time has not come.
    #[error("token is not valid yet")]
    NotYet,
    /// Made for no request in particular, where that is demanded. This and what follows are texts of ours.
    #[error("token is not bound to a request")]
    Unbound,
    /// Bound to another request.
    #[error("token was made for another request")]
    OtherRequest,
    /// Bound to another payload.
    #[error("token was made for another payload")]
    OtherPayload,
    /// Bound, and used up.
    #[error("token was used before")]
    Used,
    /// Bound, and to be remembered for too long.
    #[error("token is valid for longer than {0}")]
    TooLong(GoDuration),
    /// More bound tokens are to be remembered than can be.
    #[error("too many tokens are in use")]
    TooMany,
    /// The memory of bound tokens is out of order.
    #[error("token cannot be remembered: {0}")]
    NoMemory(String),
}

/// How an RSA key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// RSASSA-PKCS1-v1_5 with this hash.
    Pkcs1(Hash),
    /// RSASSA-PSS with this hash.
    Pss(Hash),
}

/// What is signed of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// A SHA-256 hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

impl FromStr for Digest {
    type Err = TokenFault;

    fn from_str(text: &str) -> Result<Self, TokenFault> {
        decode(text)?.try_into().map(Self).map_err(|_| TokenFault::Unbound)
    }
}

/// The one request that a token is good for, once (`docs/decisions/0018-bound-tokens.md`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The token's own name: at most 64 letters, digits, `-` and `_`.
    pub id: String,
    /// Hash of the request's [bound text](super::WorkRequest::bound_text).
    pub command: Digest,
    /// Hash of the payload; for submits alone.
    pub payload: Option<Digest>,
}

/// Longest name of a bound token.
const LONGEST_ID: usize = 64;

/// What a token that this node makes says. To be signed by RSASSA-PKCS1-v1_5 with SHA-512, the original's only scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsignedToken(String);

impl UnsignedToken {
    /// A token that `node` accepts until `expires`, which counts in whole seconds.
    pub fn new(node: &str, expires: Timestamp) -> Self {
        Self::saying(&json!({"aud": [node], "exp": expires.as_second()}))
    }

    /// A token that is good for one request to that node, once.
    pub fn bound(node: &str, expires: Timestamp, binding: &Binding) -> Self {
        let Binding { id, command, payload } = binding;
        let mut bound = json!({"command": command.to_string()});
        if let (Some(payload), Some(bound)) = (payload, bound.as_object_mut()) {
            bound.insert("payload".to_owned(), payload.to_string().into());
        }
        Self::saying(&json!({"aud": [node], "exp": expires.as_second(), "jti": id, "worknode": bound}))
    }

    fn saying(claims: &serde_json::Value) -> Self {
        Self(format!("{}.{}", BASE64.encode(r#"{"alg":"RS512","typ":"JWT"}"#), BASE64.encode(claims.to_string())))
    }

    /// The bytes to sign.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The token with its signature.
    pub fn signed(self, signature: &[u8]) -> Token {
        Token::of(format!("{}.{}", self.0, BASE64.encode(signature)))
    }
}

/// A token whose signature is still to be checked.
#[derive(Debug, Clone, PartialEq)]
pub struct UncheckedToken<'a> {
    /// The text that is signed.
    pub signed: &'a str,
    /// How.
    pub scheme: Scheme,
    /// The signature.
    pub signature: Vec<u8>,
    /// What it says.
    pub claims: Claims,
}

/// Who may use a token, and when. What is absent holds always.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Claims {
    #[serde(default, rename = "aud")]
    audience: Option<Audience>,
    /// Seconds since 1970, as all three.
    #[serde(default, rename = "exp")]
    expires: Option<f64>,
    #[serde(default, rename = "nbf")]
    not_before: Option<f64>,
    #[serde(default, rename = "iat")]
    issued: Option<f64>,
    #[serde(default, rename = "jti")]
    id: Option<String>,
    #[serde(default, rename = "worknode")]
    bound: Option<Bound>,
}

/// Our private claim.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Bound {
    command: String,
    #[serde(default)]
    payload: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    alg: Option<String>,
}

impl<'a> UncheckedToken<'a> {
    /// Reads a token.
    ///
    /// # Errors
    /// It is none, or is signed in a way that an RSA key cannot check.
    pub fn parse(text: &'a str) -> Result<Self, TokenFault> {
        let mut parts = text.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenFault::Segments);
        };
        let read: Header = json("header", header)?;
        let claims_read = json("claims", claims)?;
        let scheme = scheme(&read.alg.ok_or(TokenFault::Unspecified)?)?;
        Ok(Self {
            signed: text.get(..header.len() + 1 + claims.len()).unwrap_or_default(),
            scheme,
            signature: decode(signature)?,
            claims: claims_read,
        })
    }
}

impl Claims {
    /// Checks the times against `now`. Of several faults the last is told, as the original does.
    ///
    /// # Errors
    /// The token's time is over, or has not come.
    pub fn check_times(&self, now: Timestamp) -> Result<(), TokenFault> {
        let ahead = |time: Option<f64>| time.is_some_and(|seconds| now < instant(seconds));
        if ahead(self.not_before) {
            return Err(TokenFault::NotYet);
        }
        if ahead(self.issued) {
            return Err(TokenFault::BeforeIssued);
        }
        match self.expires.map(instant) {
            Some(end) if now >= end => Err(TokenFault::Expired(span(now.duration_since(end)))),
            _ => Ok(()),
        }
    }

    /// The request that the token is good for; none if it is good for any.
    ///
    /// # Errors
    /// It says that it is bound, and not to what, or has no name by which it could be known again.
    pub fn binding(&self) -> Result<Option<Binding>, TokenFault> {
        let Some(bound) = &self.bound else { return Ok(None) };
        let is_id = |id: &&String| {
            (1..=LONGEST_ID).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        Ok(Some(Binding {
            id: self.id.as_ref().filter(is_id).ok_or(TokenFault::Unbound)?.clone(),
            command: bound.command.parse()?,
            payload: bound.payload.as_deref().map(str::parse).transpose()?,
        }))
    }

    /// The end of the token's time; none if it has none.
    pub fn expires(&self) -> Option<Timestamp> {
        self.expires.map(instant)
    }

    /// Whether the token is meant for this node.
    pub fn is_for(&self, node: &str) -> bool {
        match &self.audience {
            None => false,
            Some(Audience::One(name)) => name == node,
            Some(Audience::Many(names)) => names.iter().any(|name| name == node),
        }
    }
}

/// Whole seconds, as the original keeps them; times beyond what a clock can show are its ends.
fn instant(seconds: f64) -> Timestamp {
    let bounded = seconds.clamp(-1e10, 2e11).trunc();
    #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
    Timestamp::from_second(bounded as i64).unwrap_or(if bounded < 0.0 { Timestamp::MIN } else { Timestamp::MAX })
}

fn span(passed: SignedDuration) -> GoDuration {
    GoDuration::from_nanos(i64::try_from(passed.as_nanos()).unwrap_or(i64::MAX))
}

fn json<T: for<'de> Deserialize<'de>>(part: &'static str, text: &str) -> Result<T, TokenFault> {
    serde_json::from_slice(&decode(text)?).map_err(|fault| TokenFault::Json { part, fault: fault.to_string() })
}

fn decode(text: &str) -> Result<Vec<u8>, TokenFault> {
    BASE64.decode(text).map_err(|fault| {
        TokenFault::Base64(match fault {
            DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => at,
            DecodeError::InvalidLength(length) => length.saturating_sub(1),
            DecodeError::InvalidPadding => text.find('=').unwrap_or_default(),
        })
    })
}

fn scheme(algorithm: &str) -> Result<Scheme, TokenFault> {
    Ok(match algorithm {
        "RS256" => Scheme::Pkcs1(Hash::Sha256),
        "RS384" => Scheme::Pkcs1(Hash::Sha384),
        "RS512" => Scheme::Pkcs1(Hash::Sha512),
        "PS256" => Scheme::Pss(Hash::Sha256),
        "PS384" => Scheme::Pss(Hash::Sha384),
        "PS512" => Scheme::Pss(Hash::Sha512),
        "HS256" | "HS384" | "HS512" | "ES256" | "ES384" | "ES512" | "EdDSA" => return Err(TokenFault::KeyType),
        "none" => return Err(TokenFault::None),
        _ => return Err(TokenFault::Unavailable),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str) -> String {
        format!("{}.{}.{}", BASE64.encode(header), BASE64.encode(claims), BASE64.encode("s"))
    }

    fn words(header: &str, claims: &str) -> String {
        UncheckedToken::parse(&token(header, claims)).unwrap_err().to_string()
    }

    fn claims(text: &str) -> Claims {
        let token = token(r#"{"alg":"RS512","typ":"JWT"}"#, text);
        UncheckedToken::parse(&token).unwrap().claims
    }

    /// The texts of control-protocol 4.7.
    #[test]
    fn what_is_no_token_is_refused_in_the_originals_words() {
        for (text, fault) in [
            ("junk", "token contains an invalid number of segments"),
            ("a.b", "token contains an invalid number of segments"),
            ("a.b.c.d", "token contains an invalid number of segments"),
            ("$.b.c", "illegal base64 data at input byte 0"),
            ("eyJ!.b.c", "illegal base64 data at input byte 3"),
            ("a.b.c", "illegal base64 data at input byte 0"),
        ] {
            assert_eq!(UncheckedToken::parse(text).unwrap_err().to_string(), fault, "{text}");
        }
        assert_eq!(words(r#"{"alg":"HS256"}"#, "{}"), "key is of invalid type");
        assert_eq!(words(r#"{"alg":"none"}"#, "{}"), "'none' signature type is not allowed");
        assert_eq!(words(r#"{"alg":"RS1"}"#, "{}"), "signing method (alg) is unavailable.");
        assert_eq!(words("{}", "{}"), "signing method (alg) is unspecified.");
        assert!(words("[", "{}").starts_with("header of the token cannot be read: "));
        assert!(words(r#"{"alg":"RS512"}"#, "7").starts_with("claims of the token cannot be read: "));
    }

    #[test]
    fn the_signed_text_is_what_stands_before_the_second_dot() {
        let text = token(r#"{"alg":"RS256"}"#, r#"{"aud":["n3"],"exp":1795225326}"#);
        let read = UncheckedToken::parse(&text).unwrap();
        assert_eq!(text, format!("{}.{}", read.signed, BASE64.encode("s")));
        assert_eq!((read.scheme, read.signature.as_slice()), (Scheme::Pkcs1(Hash::Sha256), &b"s"[..]));
    }

    #[test]
    fn a_token_is_for_the_nodes_it_names() {
        assert!(claims(r#"{"aud":["n2","n3"]}"#).is_for("n3"));
        assert!(claims(r#"{"aud":"n3"}"#).is_for("n3"), "a text is accepted");
        for other in [r#"{"aud":["n33"]}"#, r#"{"aud":[]}"#, r#"{"aud":null}"#, "{}"] {
            assert!(!claims(other).is_for("n3"), "{other}");
        }
    }

    #[test]
    fn times_are_checked_where_they_are_given() {
        let now: Timestamp = "2026-11-21T10:00:00.5Z".parse().unwrap();
        let at = now.as_second();
        let check = |text: &str| claims(text).check_times(now).map_err(|fault| fault.to_string());
        assert_eq!(check("{}"), Ok(()), "no exp at all: accepted");
        assert_eq!(check(&format!(r#"{{"exp":{}}}"#, at + 1)), Ok(()));
        assert_eq!(check(&format!(r#"{{"exp":{}}}"#, at - 60)), Err("token is expired by 1m0.5s".to_owned()));
        assert_eq!(check(&format!(r#"{{"exp":{at}}}"#)), Err("token is expired by 500ms".to_owned()));
        assert_eq!(check(&format!(r#"{{"nbf":{}}}"#, at + 9)), Err("token is not valid yet".to_owned()));
        assert_eq!(check(&format!(r#"{{"iat":{}}}"#, at + 9)), Err("token used before issued".to_owned()));
        assert_eq!(check(r#"{"exp":1e300,"nbf":-1e300}"#), Ok(()));
    }

    /// The claims of control-protocol 4.7, in the original's order.
    #[test]
    fn a_token_of_ours_says_node_and_end() {
        let token = UnsignedToken::new("n3", "2026-11-21T01:02:06.7Z".parse().unwrap());
        let token = token.signed(b"s");
        let parts: Vec<_> = token.as_str().split('.').map(|part| decode(part).unwrap()).collect();
        let expected = [r#"{"alg":"RS512","typ":"JWT"}"#, r#"{"aud":["n3"],"exp":1795222926}"#, "s"];
        assert_eq!(parts, expected.map(|part| part.as_bytes().to_vec()));
    }

    #[test]
    fn a_bound_token_says_what_it_is_bound_to() {
        let end = "2026-11-21T01:02:06Z".parse().unwrap();
        for payload in [None, Some(Digest([7; 32]))] {
            let binding = Binding { id: "abc-_1".to_owned(), command: Digest([255; 32]), payload };
            let token = UnsignedToken::bound("n3", end, &binding).signed(b"s");
            let claims = UncheckedToken::parse(token.as_str()).unwrap().claims;
            assert_eq!(claims.binding(), Ok(Some(binding)));
            assert_eq!((claims.is_for("n3"), claims.expires()), (true, Some(end)));
        }
        let digest = Digest([255; 32]).to_string();
        assert_eq!(digest, "__________________________________________8");
        assert_eq!(claims(r#"{"jti":"a"}"#).binding(), Ok(None), "receptor's, with a name");
    }

    #[test]
    fn a_binding_that_cannot_be_kept_is_refused() {
        let digest = Digest([1; 32]).to_string();
        let long = "a".repeat(65);
        for (id, command, payload) in [
            (None, digest.as_str(), None),
            (Some(""), &digest, None),
            (Some("a b"), &digest, None),
            (Some("a\n"), &digest, None),
            (Some(long.as_str()), &digest, None),
            (Some("a"), "AAAA", None),
            (Some("a"), "$", None),
            (Some("a"), &digest, Some("AAAA")),
        ] {
            let text = json!({"jti": id, "worknode": {"command": command, "payload": payload}}).to_string();
            assert!(claims(&text).binding().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd(text: String, header: String, claims: String) {
            let _ = UncheckedToken::parse(&text);
            let _ = UncheckedToken::parse(&token(&header, &claims));
        }
    }
}

//! Keys that sign: made here, or read from PKCS#1, SEC1 or PKCS#8.

use std::{path::Path, sync::Arc};

use rustls::{SignatureScheme, crypto::ring::sign::any_supported_type, sign::SigningKey};
use rustls_pki_types::{
    PrivateKeyDer, PrivatePkcs1KeyDer,
    pem::{PemObject, SectionKind},
};
use secrecy::SecretString;
use worknode_protocol::config::model::certs::KeyBits;

use super::{CertError, der, files, rsa};

/// Signatures in the order in which they are preferred; a key can make one kind.
const SCHEMES: &[SignatureScheme] = &[
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ED25519,
];

/// A private key that signs certificates and requests.
pub(super) struct Key {
    key: Arc<dyn SigningKey>,
    /// `SubjectPublicKeyInfo`.
    public: Vec<u8>,
}

impl Key {
    /// A new RSA key, and its PEM in PKCS#1: what the reference writes and reads.
    pub(super) fn generate(bits: KeyBits) -> Result<(Self, SecretString), CertError> {
        let der = rsa::generate(bits, &mut rand::rng()).map_err(|fault| fault.in_file("new key"))?;
        let pem = files::pem("RSA PRIVATE KEY", &der);
        let key = PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der));
        Ok((Self::new(&key, "new key")?, SecretString::from(pem)))
    }

    /// The one private key of a file.
    pub(super) fn read(file: &Path) -> Result<Self, CertError> {
        let pem = files::read(file)?;
        let name = file.display().to_string();
        let mut keys = Vec::new();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(&pem) {
            let (kind, der) = section.map_err(|fault| CertError::Pem { file: name.clone(), fault })?;
            keys.extend(PrivateKeyDer::from_pem(kind, der));
        }
        match keys.as_slice() {
            [key] => Self::new(key, &name),
            [] => Err(CertError::Content(format!("no private keys in file {name}"))),
            _ => Err(CertError::Content(format!("multiple private keys in file {name}"))),
        }
    }

    fn new(key: &PrivateKeyDer<'_>, file: &str) -> Result<Self, CertError> {
        let failed = |fault| CertError::Key { file: file.to_owned(), fault };
        let key = any_supported_type(key).map_err(failed)?;
        let public = key.public_key().ok_or_else(|| failed(no_use("its public half cannot be told")))?;
        let public = public.as_ref().to_vec();
        Ok(Self { key, public })
    }

    /// `SubjectPublicKeyInfo` of the public half.
    pub(super) fn public(&self) -> &[u8] {
        &self.public
    }

    /// Appends algorithm and signature: what stands in a certificate or request after that which is signed. `signed` gets
    /// the algorithm, because a certificate names it inside, too.
    pub(super) fn seal(&self, signed: impl FnOnce(&[u8]) -> Vec<u8>) -> Result<Vec<u8>, CertError> {
        let failed = |fault| CertError::Key { file: "signing".to_owned(), fault };
        let signer = self.key.choose_scheme(SCHEMES).ok_or_else(|| failed(no_use("it makes no usual signature")))?;
        let algorithm = algorithm(signer.scheme());
        let signed = signed(&algorithm);
        let signature = signer.sign(&signed).map_err(failed)?;
        Ok(der::sequence(&[&signed, &algorithm, &der::bits(&signature, 0)]))
    }
}

fn no_use(why: &str) -> rustls::Error {
    rustls::Error::General(format!("the key cannot be used: {why}"))
}

/// `AlgorithmIdentifier` of a signature.
fn algorithm(scheme: SignatureScheme) -> Vec<u8> {
    match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => der::sequence(&[&der::object(&[1, 2, 840, 10045, 4, 3, 2])]),
        SignatureScheme::ECDSA_NISTP384_SHA384 => der::sequence(&[&der::object(&[1, 2, 840, 10045, 4, 3, 3])]),
        SignatureScheme::ED25519 => der::sequence(&[&der::object(&[1, 3, 101, 112])]),
        _ => der::sequence(&[&der::object(&[1, 2, 840, 113_549, 1, 1, 11]), &der::null()]),
    }
}

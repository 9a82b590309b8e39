//! Certificates: X.509, version 3, with the extensions that the reference's have (mesh-protocol 1.5).

use std::path::Path;

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use rand::Rng;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};
use worknode_protocol::config::model::certs::{CertInit, Validity};
use x509_parser::{
    asn1_rs::FromDer, certificate::X509Certificate, extensions::ParsedExtension, x509::SubjectPublicKeyInfo,
};

use super::{CertError, der, files, key::Key, request};

/// Extension with the names of a certificate.
pub(super) const SUBJECT_ALT_NAME: &[u64] = &[2, 5, 29, 17];
const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
const SUBJECT_KEY: &[u64] = &[2, 5, 29, 14];
const AUTHORITY_KEY: &[u64] = &[2, 5, 29, 35];
const SERVER_AUTH: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 1];
const CLIENT_AUTH: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 2];

/// Years for which an authority and a node are certified unless told otherwise.
const AUTHORITY_YEARS: i64 = 10;
const NODE_YEARS: i64 = 1;

/// The certificate of a new authority.
pub(super) fn authority(order: &CertInit, key: &Key) -> Result<Vec<u8>, CertError> {
    let name = request::common_name(&order.common_name);
    let extensions = [
        // digitalSignature and keyCertSign.
        critical(KEY_USAGE, &der::bits(&[0b1000_0100], 2)),
        both_uses(),
        critical(BASIC_CONSTRAINTS, &der::sequence(&[&der::true_value()])),
        extension(SUBJECT_KEY, &der::octets(&key_identifier(key.public()))),
    ];
    let validity = period(order.validity, AUTHORITY_YEARS)?;
    let content = Content { issuer: &name, subject: &name, public_key: key.public(), validity };
    key.seal(|algorithm| content.encode(algorithm, &extensions.concat()))
}

/// An authority that signs requests.
pub(super) struct Authority {
    key: Key,
    /// Its name, in DER, byte for byte: chains are found by it.
    name: Vec<u8>,
    /// What it calls its key; none where it has no name for it.
    key_identifier: Option<Vec<u8>>,
}

impl Authority {
    /// Reads certificate and key, and checks that they belong together and may sign.
    pub(super) fn read(certificate: &Path, key: &Path) -> Result<Self, CertError> {
        let unusable = |why| CertError::Unusable { file: certificate.display().to_string(), why };
        let der = one_certificate(certificate)?;
        let key = Key::read(key)?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| unusable("not an X.509 certificate"))?;
        let (_, public) = SubjectPublicKeyInfo::from_der(key.public()).map_err(|_| CertError::OtherKey)?;
        if public.subject_public_key.data != parsed.public_key().subject_public_key.data {
            return Err(CertError::OtherKey);
        }
        if !parsed.is_ca() {
            return Err(unusable("not the certificate of an authority"));
        }
        let key_identifier = parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
            _ => None,
        });
        Ok(Self { key, name: parsed.subject().as_raw().to_vec(), key_identifier })
    }

    /// The certificate that `request` asks for: its subject, key and names, and nothing else that it says.
    pub(super) fn sign(&self, request: &request::Request, validity: Validity) -> Result<Vec<u8>, CertError> {
        let mut extensions = [critical(KEY_USAGE, &der::bits(&[0b1000_0000], 7)), both_uses()].concat();
        if let Some(identifier) = &self.key_identifier {
            let identifier = der::sequence(&[&der::context_simple(0, identifier)]);
            extensions.extend(extension(AUTHORITY_KEY, &identifier));
        }
        extensions.extend(extension(SUBJECT_ALT_NAME, &request.names));
        let content = Content {
            issuer: &self.name,
            subject: &request.subject,
            public_key: &request.public_key,
            validity: period(validity, NODE_YEARS)?,
        };
        self.key.seal(|algorithm| content.encode(algorithm, &extensions))
    }
}

fn one_certificate(file: &Path) -> Result<CertificateDer<'static>, CertError> {
    let pem = files::read(file)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|fault| CertError::Pem { file: file.display().to_string(), fault })?;
    let text = match certificates.as_slice() {
        [one] => return Ok(one.clone()),
        [] => "certificate file does not contain certificate data",
        _ => "certificate file should contain exactly one item",
    };
    Err(CertError::Content(text.to_owned()))
}

/// What a certificate says, in DER.
struct Content<'a> {
    issuer: &'a [u8],
    subject: &'a [u8],
    public_key: &'a [u8],
    validity: Vec<u8>,
}

impl Content<'_> {
    fn encode(&self, algorithm: &[u8], extensions: &[u8]) -> Vec<u8> {
        der::sequence(&[
            &der::context(0, &der::integer(&[2])),
            &der::integer(&serial()),
            algorithm,
            self.issuer,
            &self.validity,
            self.subject,
            self.public_key,
            &der::context(3, &der::sequence(&[extensions])),
        ])
    }
}

/// 128 random bits: no two certificates of an authority are alike, however fast they are made.
fn serial() -> [u8; 16] {
    let mut serial = [0; 16];
    rand::rng().fill_bytes(&mut serial);
    serial
}

fn period(validity: Validity, years: i64) -> Result<Vec<u8>, CertError> {
    let now = Timestamp::now();
    let later = || now.to_zoned(TimeZone::UTC).checked_add(years.years()).map_or(now, |later| later.timestamp());
    let (first, last) = (validity.not_before.unwrap_or(now), validity.not_after.unwrap_or_else(later));
    if last <= first {
        return Err(CertError::NeverValid);
    }
    Ok(der::sequence(&[&der::time(first), &der::time(last)]))
}

fn extension(kind: &[u64], content: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::object(kind), &der::octets(content)])
}

fn critical(kind: &[u64], content: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::object(kind), &der::true_value(), &der::octets(content)])
}

/// For both ends of a TLS connection: every node is client and server.
fn both_uses() -> Vec<u8> {
    extension(EXTENDED_KEY_USAGE, &der::sequence(&[&der::object(CLIENT_AUTH), &der::object(SERVER_AUTH)]))
}

/// The first 160 bits of the key's SHA-256: RFC 7093, method 1.
fn key_identifier(public: &[u8]) -> Vec<u8> {
    let key = SubjectPublicKeyInfo::from_der(public).map(|(_, info)| info.subject_public_key.data.to_vec());
    Sha256::digest(key.unwrap_or_default()).iter().copied().take(20).collect()
}

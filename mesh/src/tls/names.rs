//! Receptor names: node IDs in certificates (mesh-protocol 1.5).

use rustls_pki_types::CertificateDer;
use x509_parser::{
    asn1_rs::{Any, Class, FromDer, Oid, Tag, oid},
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension, SubjectAlternativeName, X509Extension},
    oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME,
};

/// Type of an `otherName` that is a node ID: 1.3.6.1.4.1.2312.19.1 (mesh-protocol 1.5).
const RECEPTOR_NAME: Oid<'static> = oid!(1.3.6.1.4.1.2312.19.1);

/// The same as numbers, for those who write certificates.
pub const RECEPTOR_NAME_OID: [u64; 9] = [1, 3, 6, 1, 4, 1, 2312, 19, 1];

/// Why the receptor names of a certificate cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// The bytes are no X.509 certificate.
    #[error("not an X.509 certificate")]
    NotACertificate,
    /// The certificate has a `subjectAltName` that cannot be read. Nobody may guess what it would have said.
    #[error("the subjectAltName of the certificate is malformed")]
    Malformed,
}

/// The receptor names of a certificate, in its order; none where it carries none.
///
/// All names together are shorter than the certificate.
///
/// # Errors
/// If the bytes are no certificate, or its `subjectAltName` is malformed.
pub fn receptor_names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, NameFault> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| NameFault::NotACertificate)?;
    receptor_names_in(certificate.extensions())
}

/// All names of a certificate that its authority has vouched for and that can stand in rules: receptor names and DNS names.
/// The common name is none of them: it is free text, by which nobody is identified any more.
///
/// # Errors
/// If the bytes are no certificate, or its `subjectAltName` is malformed.
pub fn certificate_names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, NameFault> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| NameFault::NotACertificate)?;
    let mut names = receptor_names_in(certificate.extensions())?;
    for extension in certificate.extensions() {
        let ParsedExtension::SubjectAlternativeName(alternatives) = extension.parsed_extension() else { continue };
        names.extend(alternatives.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        }));
    }
    Ok(names)
}

/// The receptor names in the extensions of a certificate or of a request for one.
///
/// # Errors
/// If a `subjectAltName` is malformed.
pub fn receptor_names_in(extensions: &[X509Extension<'_>]) -> Result<Vec<String>, NameFault> {
    let mut names = Vec::new();
    for extension in extensions.iter().filter(|extension| extension.oid == OID_X509_EXT_SUBJECT_ALT_NAME) {
        let ParsedExtension::SubjectAlternativeName(alternatives) = extension.parsed_extension() else {
            return Err(NameFault::Malformed);
        };
        take(alternatives, &mut names)?;
    }
    Ok(names)
}

fn take(alternatives: &SubjectAlternativeName<'_>, names: &mut Vec<String>) -> Result<(), NameFault> {
    for name in &alternatives.general_names {
        match name {
            GeneralName::OtherName(kind, value) if *kind == RECEPTOR_NAME => names.push(node_id(value)?),
            GeneralName::Invalid(Tag(0), _) => return Err(NameFault::Malformed),
            _ => {}
        }
    }
    Ok(())
}

/// Reads `[0] EXPLICIT UTF8String`; other strings of ASCII are taken, too, as the reference does.
fn node_id(value: &[u8]) -> Result<String, NameFault> {
    let whole = |bytes| match Any::from_der(bytes) {
        Ok(([], any)) => Ok(any),
        _ => Err(NameFault::Malformed),
    };
    let wrapper = whole(value)?;
    if wrapper.class() != Class::ContextSpecific || wrapper.tag() != Tag(0) {
        return Err(NameFault::Malformed);
    }
    let text = whole(wrapper.data)?;
    let is_text = text.class() == Class::Universal
        && matches!(text.tag(), Tag::Utf8String | Tag::PrintableString | Tag::Ia5String);
    let text = std::str::from_utf8(text.data).ok().filter(|_| is_text).ok_or(NameFault::Malformed)?;
    Ok(text.to_owned())
}

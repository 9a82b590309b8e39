//! Requests for certificates: PKCS#10.

use std::{fmt::Write as _, net::IpAddr, path::Path};

use rustls_pki_types::{CertificateSigningRequestDer, pem::PemObject};
use worknode_mesh::tls::{RECEPTOR_NAME_OID, receptor_names_in};
use worknode_protocol::config::model::certs::CertRequest;
use x509_parser::{
    asn1_rs::{FromDer, Oid},
    certification_request::X509CertificationRequest,
    cri_attributes::ParsedCriAttribute,
    extensions::{GeneralName, ParsedExtension, X509Extension},
    oid_registry::{
        OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION, OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA,
        OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ED25519,
        OID_X509_EXT_SUBJECT_ALT_NAME,
    },
    public_key::PublicKey,
    x509::{SubjectPublicKeyInfo, X509Name},
};

use super::{CertError, certificate::SUBJECT_ALT_NAME, der, files, key::Key};

/// Attribute of a request that holds extensions for the certificate.
const EXTENSION_REQUEST: &[u64] = &[1, 2, 840, 113_549, 1, 9, 14];

/// A request for the names of `order`, signed by `key`.
pub(super) fn encode(order: &CertRequest, key: &Key) -> Result<Vec<u8>, CertError> {
    let names = names(order);
    let mut attributes = Vec::new();
    if !names.is_empty() {
        let extension = der::sequence(&[&der::object(SUBJECT_ALT_NAME), &der::octets(&der::sequence(&[&names]))]);
        let extensions = der::set_of_one(&der::sequence(&[&extension]));
        attributes = der::sequence(&[&der::object(EXTENSION_REQUEST), &extensions]);
    }
    key.seal(|_| {
        let subject = common_name(&order.common_name);
        der::sequence(&[&der::integer(&[0]), &subject, key.public(), &der::context(0, &attributes)])
    })
}

/// A name of one common name.
pub(super) fn common_name(text: &str) -> Vec<u8> {
    let attribute = der::sequence(&[&der::object(&[2, 5, 4, 3]), &der::utf8(text)]);
    der::sequence(&[&der::set_of_one(&attribute)])
}

/// The names asked for, in the reference's order (mesh-protocol 1.5).
fn names(order: &CertRequest) -> Vec<u8> {
    let mut names = Vec::new();
    for name in &order.dns_names {
        names.extend(der::context_simple(2, name.as_bytes()));
    }
    for address in &order.ip_addresses {
        names.extend(match address {
            IpAddr::V4(address) => der::context_simple(7, &address.octets()),
            IpAddr::V6(address) => der::context_simple(7, &address.octets()),
        });
    }
    for node in &order.node_ids {
        let name = [der::object(&RECEPTOR_NAME_OID), der::context(0, &der::utf8(node))].concat();
        names.extend(der::context(0, &name));
    }
    names
}

/// A request that was read: it is signed with the key that it is for, and asks for names.
pub(super) struct Request {
    /// Subject, in DER.
    pub(super) subject: Vec<u8>,
    /// `SubjectPublicKeyInfo`.
    pub(super) public_key: Vec<u8>,
    /// Contents of the extension `subjectAltName`, in DER.
    pub(super) names: Vec<u8>,
    shown: String,
}

impl Request {
    /// Reads the one request of a file.
    pub(super) fn read(file: &Path) -> Result<Self, CertError> {
        let pem = files::read(file)?;
        let unusable = |why| CertError::Unusable { file: file.display().to_string(), why };
        let mut requests = CertificateSigningRequestDer::pem_slice_iter(&pem);
        let first = requests.next().transpose();
        let first = first.map_err(|fault| CertError::Pem { file: file.display().to_string(), fault })?;
        let der = first.ok_or_else(|| {
            CertError::Content("certificate request file does not contain certificate request data".to_owned())
        })?;
        if requests.next().is_some() {
            let text = "certificate request file should contain exactly one item";
            return Err(CertError::Content(text.to_owned()));
        }
        Self::parse(&der, unusable)
    }

    fn parse(der: &[u8], unusable: impl Fn(&'static str) -> CertError) -> Result<Self, CertError> {
        let (_, request) = X509CertificationRequest::from_der(der).map_err(|_| unusable("not a request"))?;
        // Whoever asks must hold the key. The reference does not look.
        request.verify_signature().map_err(|_| unusable("not signed with the key that it is for"))?;
        let info = &request.certification_request_info;
        let extensions: Vec<&X509Extension<'_>> = info
            .iter_attributes()
            .filter_map(|attribute| match attribute.parsed_attribute() {
                ParsedCriAttribute::ExtensionRequest(request) => Some(&request.extensions),
                _ => None,
            })
            .flatten()
            .filter(|extension| extension.oid == OID_X509_EXT_SUBJECT_ALT_NAME)
            .collect();
        let names = match extensions.as_slice() {
            [] => return Err(CertError::NoNames),
            [names] => *names,
            _ => return Err(unusable("it names its names twice")),
        };
        let listed = listed(names).ok_or_else(|| unusable("its names are malformed"))?;
        if listed.is_empty() {
            return Err(CertError::NoNames);
        }
        let algorithm = signature_name(&request.signature_algorithm.algorithm);
        Ok(Self {
            subject: info.subject.as_raw().to_vec(),
            public_key: info.subject_pki.raw.to_vec(),
            names: names.value.to_vec(),
            shown: show(&info.subject, &key_name(&info.subject_pki), &algorithm, &listed),
        })
    }

    /// What whoever signs is shown: the reference's text, with nothing in it that a terminal would act upon.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }
}

fn show(subject: &X509Name<'_>, key: &str, signature: &str, names: &[(Kind, String)]) -> String {
    let mut text = String::from("Requested certificate:\n");
    let _ = writeln!(text, "  Subject: {}", harmless(&subject.to_string()));
    let _ = writeln!(text, "  Encryption Algorithm: {key}");
    let _ = writeln!(text, "  Signature Algorithm: {signature}");
    let _ = writeln!(text, "  Names:");
    for (kind, name) in names {
        let _ = writeln!(text, "    {}: {}", kind.title(), harmless(name));
    }
    text
}

/// Kinds of names, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Dns,
    Address,
    Node,
    Other,
}

impl Kind {
    fn title(self) -> &'static str {
        match self {
            Self::Dns => "DNS Name",
            Self::Address => "IP Address",
            Self::Node => "Receptor Node ID",
            Self::Other => "Other Name",
        }
    }
}

/// All names of the extension; every one will be in the certificate, so none is left out. None: it is malformed.
fn listed(extension: &X509Extension<'_>) -> Option<Vec<(Kind, String)>> {
    let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else { return None };
    let nodes = receptor_names_in(std::slice::from_ref(extension)).ok()?;
    let mut listed: Vec<_> = nodes.into_iter().map(|node| (Kind::Node, node)).collect();
    for name in &names.general_names {
        listed.push(match name {
            GeneralName::DNSName(name) => (Kind::Dns, (*name).to_owned()),
            GeneralName::IPAddress(bytes) => (Kind::Address, address(bytes)?.to_string()),
            GeneralName::OtherName(kind, _) if is_receptor_name(kind) => continue,
            GeneralName::Invalid(..) => return None,
            other => (Kind::Other, other.to_string()),
        });
    }
    listed.sort_by_key(|(kind, _)| *kind);
    Some(listed)
}

fn is_receptor_name(kind: &Oid<'_>) -> bool {
    kind.iter().is_some_and(|arcs| arcs.eq(RECEPTOR_NAME_OID))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// Writes out what would move the cursor or turn the direction of the text.
fn harmless(text: &str) -> String {
    let mut harmless = String::new();
    for c in text.chars() {
        let turns = matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns {
            harmless.extend(c.escape_unicode());
        } else {
            harmless.push(c);
        }
    }
    harmless
}

fn key_name(key: &SubjectPublicKeyInfo<'_>) -> String {
    let kind = &key.algorithm.algorithm;
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) if *kind == OID_PKCS1_RSAENCRYPTION => format!("RSA ({} bits)", rsa.key_size()),
        _ if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY => "ECDSA".to_owned(),
        _ if *kind == OID_SIG_ED25519 => "Ed25519".to_owned(),
        _ => kind.to_id_string(),
    }
}

fn signature_name(algorithm: &Oid<'_>) -> String {
    let names = [
        (OID_PKCS1_SHA256WITHRSA, "SHA256-RSA"),
        (OID_PKCS1_SHA384WITHRSA, "SHA384-RSA"),
        (OID_PKCS1_SHA512WITHRSA, "SHA512-RSA"),
        (OID_SIG_ECDSA_WITH_SHA256, "ECDSA-SHA256"),
        (OID_SIG_ECDSA_WITH_SHA384, "ECDSA-SHA384"),
        (OID_SIG_ED25519, "Ed25519"),
    ];
    let known = names.iter().find(|(oid, _)| oid == algorithm).map(|(_, name)| (*name).to_owned());
    known.unwrap_or_else(|| algorithm.to_id_string())
}

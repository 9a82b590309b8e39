use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use proptest::prelude::*;
use rustls::{
    RootCertStore, client::verify_server_cert_signed_by_trust_anchor, crypto::ring::default_provider,
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject};
use tempfile::TempDir;
use worknode_mesh::tls::{receptor_names, receptor_names_in};
use worknode_protocol::config::model::certs::{KeyBits, Validity};
use x509_parser::{asn1_rs::FromDer, certificate::X509Certificate};

use super::*;

/// A directory with an authority, made once for all that need one: a key takes its time.
struct Desk(TempDir);

impl Desk {
    fn empty() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn with_authority() -> Self {
        let desk = Self::empty();
        desk.run(&desk.init()).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.text(name).as_bytes()).unwrap()
    }

    fn init(&self) -> CertCommand {
        CertCommand::Init(CertInit {
            common_name: "test CA".to_owned(),
            bits: KeyBits::DEFAULT,
            validity: Validity::default(),
            out_cert: self.path("ca.crt"),
            out_key: self.path("ca.key"),
        })
    }

    /// A request with a key that is there: quick to make.
    fn request(&self, names: &[&str]) -> CertRequest {
        let key = rcgen::KeyPair::generate().unwrap();
        fs::write(self.path("n.key"), key.serialize_pem()).unwrap();
        CertRequest {
            common_name: "Nœud 1".to_owned(),
            dns_names: vec!["host.example".to_owned()],
            ip_addresses: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
            node_ids: names.iter().map(|name| (*name).to_owned()).collect(),
            key: RequestKey::Existing(self.path("n.key")),
            out_req: self.path("n.req"),
        }
    }

    fn signing(&self) -> CertSigning {
        CertSigning {
            req: self.path("n.req"),
            ca_cert: self.path("ca.crt"),
            ca_key: self.path("ca.key"),
            validity: Validity::default(),
            out_cert: self.path("n.crt"),
            without_asking: true,
        }
    }

    fn run(&self, command: &CertCommand) -> Result<(), CertError> {
        run(command, &mut [].as_slice(), &mut Vec::new())
    }

    fn refused(&self, command: &CertCommand) -> String {
        let directory = format!("{}/", self.0.path().display());
        self.run(command).unwrap_err().to_string().replace(&directory, "")
    }

    /// Whether a TLS stack takes the certificate for a server's.
    fn verify(&self, leaf: &str) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate("ca.crt")).unwrap();
        let (leaf, algorithms) = (self.certificate(leaf), default_provider().signature_verification_algorithms);
        let leaf = ParsedCertificate::try_from(&leaf)?;
        verify_server_cert_signed_by_trust_anchor(&leaf, &roots, &[], UnixTime::now(), algorithms.all)
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn from_nothing_to_a_nodes_certificate() {
    let desk = Desk::with_authority();
    let request = CertRequest {
        key: RequestKey::New { bits: KeyBits::DEFAULT, file: desk.path("new.key") },
        ..desk.request(&["Nœud 1", "b"])
    };
    desk.run(&CertCommand::Request(request)).unwrap();
    desk.run(&CertCommand::Sign(desk.signing())).unwrap();
    desk.verify("n.crt").unwrap();
    let leaf = desk.certificate("n.crt");
    assert_eq!(receptor_names(&leaf).unwrap(), ["Nœud 1", "b"]);
    let (_, parsed) = X509Certificate::from_der(&leaf).unwrap();
    assert_eq!(parsed.issuer().to_string(), "CN=test CA");
    assert_eq!(parsed.subject().to_string(), "CN=Nœud 1");
    let (key, uses) = (parsed.key_usage().unwrap().unwrap(), parsed.extended_key_usage().unwrap().unwrap());
    assert!(key.critical && key.value.flags == 1, "digitalSignature alone");
    assert!(uses.value.client_auth && uses.value.server_auth && uses.value.other.is_empty());
    assert!(desk.text("ca.key").starts_with("-----BEGIN RSA PRIVATE KEY-----\n"));
    for file in ["ca.crt", "ca.key", "new.key", "n.req", "n.crt"] {
        assert_eq!(mode(&desk.path(file)), 0o600, "{file}");
    }
}

#[test]
fn an_authority_says_that_it_is_one_and_names_nobody() {
    let desk = Desk::with_authority();
    let der = desk.certificate("ca.crt");
    let (_, ca) = X509Certificate::from_der(&der).unwrap();
    assert!(ca.is_ca());
    let usage = ca.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && usage.key_cert_sign() && !usage.crl_sign());
    assert_eq!(receptor_names_in(ca.extensions()).unwrap(), [""; 0]);
    let validity = ca.validity();
    let days = (validity.not_after.timestamp() - validity.not_before.timestamp()) / 86_400;
    assert!((3652..=3653).contains(&days), "{days}");
    ca.verify_signature(None).unwrap();
}

#[test]
fn a_key_is_never_written_over_and_a_certificate_is() {
    let desk = Desk::with_authority();
    let (key, certificate) = (desk.text("ca.key"), desk.text("ca.crt"));
    assert_eq!(desk.refused(&desk.init()), "open ca.key: file exists, and a key is not written over");
    assert_eq!((desk.text("ca.key"), desk.text("ca.crt")), (key, certificate));

    let request = desk.request(&["a"]);
    let kept = RequestKey::New { bits: KeyBits::DEFAULT, file: desk.path("ca.key") };
    let new = CertRequest { key: kept, ..request.clone() };
    assert_eq!(desk.refused(&CertCommand::Request(new)), "open ca.key: file exists, and a key is not written over");

    desk.run(&CertCommand::Request(request)).unwrap();
    desk.run(&CertCommand::Sign(desk.signing())).unwrap();
    let first = desk.text("n.crt");
    desk.run(&CertCommand::Sign(desk.signing())).unwrap();
    assert_ne!(first, desk.text("n.crt"));
    assert_eq!(mode(&desk.path("n.crt")), 0o600);
}

#[test]
fn no_key_is_left_behind_without_its_certificate() {
    let desk = Desk::empty();
    let CertCommand::Init(init) = desk.init() else { unreachable!() };
    let init = CertCommand::Init(CertInit { out_cert: desk.path("no/ca.crt"), ..init });
    assert_eq!(desk.refused(&init), "open no/ca.crt: no such file or directory");
    assert_eq!(fs::read_dir(desk.0.path()).unwrap().count(), 0);
}

/// The words are those of the reference, seen on a terminal.
#[test]
fn whoever_signs_is_shown_the_request_and_asked() {
    let desk = Desk::with_authority();
    desk.run(&CertCommand::Request(desk.request(&["go1"]))).unwrap();
    let order = CertCommand::Sign(CertSigning { without_asking: false, ..desk.signing() });
    let answered = |answer: &str| {
        let mut shown = Vec::new();
        let result = run(&order, &mut answer.as_bytes(), &mut shown).map_err(|fault| fault.to_string());
        (result, String::from_utf8(shown).unwrap())
    };
    let (result, shown) = answered("no\n");
    assert_eq!(result, Err("user declined".to_owned()));
    let expected = "Requested certificate:
  Subject: CN=Nœud 1
  Encryption Algorithm: ECDSA
  Signature Algorithm: ECDSA-SHA256
  Names:
    DNS Name: host.example
    IP Address: 127.0.0.1
    IP Address: ::1
    Receptor Node ID: go1
Sign certificate (yes/no)? ";
    assert_eq!(shown, expected);
    for (answer, fault) in [("", "EOF"), ("\n", "unexpected newline"), ("yes please\n", "expected newline")] {
        assert_eq!(answered(answer).0, Err(fault.to_owned()));
        assert!(!desk.path("n.crt").exists());
    }
    for answer in ["yes\n", "Y\n", "y"] {
        assert_eq!(answered(answer).0, Ok(()), "{answer}");
        desk.verify("n.crt").unwrap();
    }
}

/// A request comes from a stranger; what is shown of it must be what is signed.
#[test]
fn names_cannot_play_with_the_terminal() {
    let desk = Desk::with_authority();
    let request = CertRequest { common_name: "a\r\x1b[2K\u{202E}b".to_owned(), ..desk.request(&["c\nd"]) };
    desk.run(&CertCommand::Request(request)).unwrap();
    let order = CertCommand::Sign(CertSigning { without_asking: false, ..desk.signing() });
    let mut shown = Vec::new();
    run(&order, &mut "no".as_bytes(), &mut shown).unwrap_err();
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains(r"  Subject: CN=a\u{d}\u{1b}[2K\u{202e}b"), "{shown}");
    assert!(shown.contains(r"    Receptor Node ID: c\u{a}d"), "{shown}");
}

#[test]
fn names_of_other_kinds_are_shown_too() {
    let desk = Desk::with_authority();
    let mut params = rcgen::CertificateParams::default();
    params.subject_alt_names = vec![
        rcgen::SanType::Rfc822Name("a@example.org".try_into().unwrap()),
        rcgen::SanType::OtherName((vec![1, 2, 3], "x".into())),
    ];
    let request = params.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap();
    fs::write(desk.path("n.req"), request.pem().unwrap()).unwrap();
    let order = CertCommand::Sign(CertSigning { without_asking: false, ..desk.signing() });
    let mut shown = Vec::new();
    run(&order, &mut "yes".as_bytes(), &mut shown).unwrap();
    let shown = String::from_utf8(shown).unwrap();
    assert!(
        shown.contains("    Other Name: RFC822Name(a@example.org)\n    Other Name: OtherName(1.2.3, [...])\n"),
        "{shown}"
    );
}

#[test]
fn what_cannot_be_signed_is_refused() {
    let desk = Desk::with_authority();
    let sign = || CertCommand::Sign(desk.signing());
    let nobody = CertRequest { dns_names: Vec::new(), ip_addresses: Vec::new(), ..desk.request(&[]) };
    desk.run(&CertCommand::Request(nobody)).unwrap();
    assert_eq!(desk.refused(&sign()), "cannot sign: no names found in certificate");

    desk.run(&CertCommand::Request(desk.request(&["victim"]))).unwrap();
    let swap = |change: fn(&Desk, &mut CertSigning)| {
        let mut order = desk.signing();
        change(&desk, &mut order);
        desk.refused(&CertCommand::Sign(order))
    };
    assert_eq!(
        swap(|desk, order| order.req = desk.path("ca.crt")),
        "certificate request file does not contain certificate request data"
    );
    assert_eq!(
        swap(|desk, order| order.ca_cert = desk.path("n.req")),
        "certificate file does not contain certificate data"
    );
    assert_eq!(swap(|desk, order| order.ca_key = desk.path("ca.crt")), "no private keys in file ca.crt");
    assert_eq!(
        swap(|desk, order| order.ca_key = desk.path("n.key")),
        "x509: provided PrivateKey doesn't match parent's PublicKey"
    );
    assert_eq!(swap(|desk, order| order.req = desk.path("no")), "open no: no such file or directory");
    let moment = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    let mut order = desk.signing();
    order.validity = Validity { not_before: moment("2030-01-01T00:00:00Z"), not_after: moment("2029-01-01T00:00:00Z") };
    assert_eq!(desk.refused(&CertCommand::Sign(order)), "notafter is not later than notbefore");

    // A node is no authority.
    desk.run(&sign()).unwrap();
    let text = swap(|desk, order| {
        order.ca_cert = desk.path("n.crt");
        order.ca_key = desk.path("n.key");
    });
    assert_eq!(text, "n.crt: not the certificate of an authority");

    // The names of somebody else's request under one's own key.
    let mut der = pem_contents(&desk.text("n.req"));
    let at = der.windows(6).position(|bytes| bytes == b"victim").unwrap();
    der[at] = b'V';
    fs::write(desk.path("n.req"), files::pem("CERTIFICATE REQUEST", &der)).unwrap();
    assert_eq!(desk.refused(&sign()), "n.req: not signed with the key that it is for");
}

/// The keys that openssl and others write.
#[test]
fn keys_of_every_usual_form_sign() {
    let desk = Desk::with_authority();
    let kinds = [
        ("pkcs8 p256", rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem()),
        ("pkcs8 p384", rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem()),
        ("pkcs8 ed25519", rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem()),
        ("sec1 p256", SEC1.to_owned()),
        ("pkcs1 rsa", desk.text("ca.key")),
    ];
    for (kind, pem) in kinds {
        let request = desk.request(&["a"]);
        fs::write(desk.path("n.key"), pem).unwrap();
        desk.run(&CertCommand::Request(request)).unwrap_or_else(|fault| panic!("{kind}: {fault}"));
        desk.run(&CertCommand::Sign(desk.signing())).unwrap_or_else(|fault| panic!("{kind}: {fault}"));
        desk.verify("n.crt").unwrap_or_else(|fault| panic!("{kind}: {fault}"));
    }
    fs::write(desk.path("n.key"), format!("{SEC1}{SEC1}")).unwrap();
    let two = CertRequest { key: RequestKey::Existing(desk.path("n.key")), ..desk.request(&["a"]) };
    fs::write(desk.path("n.key"), format!("{SEC1}{SEC1}")).unwrap();
    assert_eq!(desk.refused(&CertCommand::Request(two)), "multiple private keys in file n.key");
}

/// A key for nothing but this test, as `openssl ecparam -genkey` writes it.
const SEC1: &str = "-----BEGIN EC PRIVATE KEY-----
MHcCAQEEICad0I80R+N2ww8ksa8dhA6PC8OP61Skaiki1Q67Un6LoAoGCCqGSM49
AwEHoUQDQgAEfQjBFiorsRlFGevopPUFVJ0Bw7qnkpKcvOUxvbyFzafdyRdPGo6e
RKFCkiJDdRvi2hWOTUbtfE9H539uBtvQdw==
-----END EC PRIVATE KEY-----
";

#[test]
fn serial_numbers_are_random() {
    let desk = Desk::with_authority();
    desk.run(&CertCommand::Request(desk.request(&["a"]))).unwrap();
    let mut serials = std::collections::BTreeSet::new();
    for _ in 0..16 {
        desk.run(&CertCommand::Sign(desk.signing())).unwrap();
        let der = desk.certificate("n.crt");
        serials.insert(X509Certificate::from_der(&der).unwrap().1.raw_serial().to_vec());
    }
    assert_eq!(serials.len(), 16);
    assert!(serials.iter().all(|serial| serial.len() <= 17 && serial.iter().any(|byte| *byte != 0)));
}

#[test]
fn moments_are_written_as_the_standard_demands() {
    let time = |text: &str| der::time(text.parse().unwrap());
    assert_eq!(time("1950-01-01T00:00:00Z"), b"\x17\x0D500101000000Z");
    assert_eq!(time("2049-12-31T23:59:59.9Z"), b"\x17\x0D491231235959Z");
    assert_eq!(time("2050-01-01T00:00:00Z"), b"\x18\x0F20500101000000Z");
}

#[test]
fn numbers_and_objects_are_written_in_their_shortest_form() {
    assert_eq!(der::integer(&[0, 0]), [2, 1, 0]);
    assert_eq!(der::integer(&[0, 0x7F]), [2, 1, 0x7F]);
    assert_eq!(der::integer(&[0x80]), [2, 2, 0, 0x80]);
    // The bytes of mesh-protocol 1.5.
    let receptor = worknode_mesh::tls::RECEPTOR_NAME_OID;
    assert_eq!(der::object(&receptor), b"\x06\x09\x2B\x06\x01\x04\x01\x92\x08\x13\x01");
    assert_eq!(der::octets(&[7; 200])[..3], [4, 0x81, 200]);
    assert_eq!(der::octets(&[7; 300])[..4], [4, 0x82, 1, 44]);
}

fn pem_contents(pem: &str) -> Vec<u8> {
    rustls_pki_types::CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

proptest! {
    /// Whatever is in the files: an answer in words.
    #[test]
    fn arbitrary_files_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..400), wrapped in any::<bool>()) {
        let desk = Desk::empty();
        let text = files::pem("CERTIFICATE REQUEST", &bytes);
        fs::write(desk.path("n.req"), if wrapped { text.as_bytes() } else { &bytes }).unwrap();
        prop_assert!(Request::read(&desk.path("n.req")).is_err());
        let text = files::pem("RSA PRIVATE KEY", &bytes);
        fs::write(desk.path("n.key"), if wrapped { text.as_bytes() } else { &bytes }).unwrap();
        prop_assert!(Key::read(&desk.path("n.key")).is_err());
        let text = files::pem("CERTIFICATE", &bytes);
        fs::write(desk.path("ca.crt"), if wrapped { text.as_bytes() } else { &bytes }).unwrap();
        prop_assert!(Authority::read(&desk.path("ca.crt"), &desk.path("n.key")).is_err());
    }
}

//! Receptor names: mesh-protocol 1.5.

use proptest::prelude::*;
use rustls_pki_types::pem::PemObject;

use super::*;
use crate::tls::{NameFault, certificate_names, receptor_names};

/// The bytes for node `rust1` in mesh-protocol 1.5.
const RUST1: &[u8] = b"\xA0\x14\x06\x09\x2B\x06\x01\x04\x01\x92\x08\x13\x01\xA0\x07\x0C\x05rust1";

#[test]
fn a_name_has_the_bytes_of_the_reference() {
    let certificate = Pki::new().issue("n", &["rust1"]);
    assert!(certificate.windows(RUST1.len()).any(|bytes| bytes == RUST1));
    assert_eq!(receptor_names(&certificate).unwrap(), ["rust1"]);
}

#[test]
fn several_names_and_other_kinds_of_names() {
    let pki = Pki::new();
    assert_eq!(receptor_names(&pki.issue("n", &["b", "Nœud 1", "b"])).unwrap(), ["b", "Nœud 1", "b"]);
    assert_eq!(receptor_names(&pki.issue("n", &[])).unwrap(), [""; 0]);
    let other = SanType::OtherName((vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3], "someone@example.org".into()));
    let certificate =
        pki.issue_with("n", &["a"], &rcgen::PKCS_ECDSA_P256_SHA256, |params| params.subject_alt_names.push(other));
    assert_eq!(receptor_names(&certificate).unwrap(), ["a"]);
    assert_eq!(receptor_names(pki.authority.der()).unwrap(), [""; 0]);
}

#[test]
fn the_names_for_rules_are_those_of_nodes_and_hosts() {
    let certificate = Pki::new().issue_with("admin", &["n1"], &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
        params.subject_alt_names.push(SanType::DnsName("ci.example.org".try_into().unwrap()));
    });
    let names = certificate_names(&certificate).unwrap();
    assert!(names.contains(&"n1".to_owned()) && names.contains(&"ci.example.org".to_owned()), "{names:?}");
    assert!(!names.contains(&"admin".to_owned()), "the common name: {names:?}");
    assert_eq!(certificate_names(&CertificateDer::from(Vec::new())), Err(NameFault::NotACertificate));
}

#[test]
fn a_name_that_cannot_be_read_is_no_name_left_out() {
    let good = Pki::new().issue("n", &["rust1"]);
    let at = good.windows(RUST1.len()).position(|bytes| bytes == RUST1).unwrap();
    // Offset in the name, new byte: the wrapper's tag, the wrapper's length, the string's tag, its length, its text.
    for (offset, byte) in [(13, 0xA1), (14, 6), (15, 0x04), (16, 4), (16, 6), (17, 0xFF)] {
        let mut bytes = good.to_vec();
        bytes[at + offset] = byte;
        assert_eq!(receptor_names(&bytes.into()), Err(NameFault::Malformed), "byte {offset} is {byte}");
    }
    let mut other_strings = good.to_vec();
    other_strings[at + 15] = 0x16;
    assert_eq!(receptor_names(&other_strings.into()).unwrap(), ["rust1"]);
    assert_eq!(receptor_names(&CertificateDer::from(Vec::new())), Err(NameFault::NotACertificate));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(receptor_names(&bytes.into()).is_err());
    }

    /// Whatever is changed in a certificate: an answer, and never more text than the certificate has bytes.
    #[test]
    fn damaged_certificates_are_answered(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>()) {
        let mut bytes = damaged();
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        let whole = bytes.len();
        if let Ok(names) = receptor_names(&bytes.clone().into()) {
            prop_assert!(names.iter().map(String::len).sum::<usize>() < whole);
        }
        bytes.truncate(cut.index(whole));
        prop_assert_eq!(receptor_names(&bytes.into()), Err(NameFault::NotACertificate));
    }

    #[test]
    fn every_node_id_comes_back(ids in prop::collection::vec("[^/\\p{Cc}]{1,60}", 0..5)) {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let key = KeyPair::from_pem(KEY).unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names.extend(ids.iter().map(|id| receptor_name(id)));
        let certificate = params.self_signed(&key).unwrap();
        prop_assert_eq!(receptor_names(certificate.der()).unwrap(), ids);
    }
}

/// A key for nothing but these tests: making one anew for each case is slow.
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg8OyL/MjIRWpwWSwc
++UDTNXu24nSyihOuuVeSqomjFehRANCAAQNnDiMqKiAN3dkWSqoY7WhRutl8pdo
3Q1bmNnkiwZ1RLMC00eU5JbplWK1R6Mi6bE2rcXjakbMk+5viD2I2xas
-----END PRIVATE KEY-----
";

fn damaged() -> Vec<u8> {
    let key = KeyPair::from_pem(KEY).unwrap();
    let mut params = CertificateParams::new(vec!["host".to_owned()]).unwrap();
    params.subject_alt_names.push(receptor_name("node"));
    params.self_signed(&key).unwrap().der().to_vec()
}

#[test]
fn the_certificate_in_a_pem_file_is_the_first() {
    let pki = Pki::new();
    pki.issue("n", &["n"]);
    let pem = fs::read(pki.path("n.crt")).unwrap();
    assert_eq!(receptor_names(&CertificateDer::from_pem_slice(&pem).unwrap()).unwrap(), ["n"]);
}

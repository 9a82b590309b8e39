//! Actions about certificates: control-protocol 1.3 and 1.4.

use std::path::PathBuf;

use super::*;
use crate::config::model::certs::{CertCommand, CertInit, CertRequest, CertSigning, KeyBits, RequestKey, Validity};

fn ordered(words: &[&str]) -> CertCommand {
    let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
    match load(&words, &host("")) {
        Ok(Startup::Certificates(command)) => command,
        other => panic!("{words:?}: {other:?}"),
    }
}

#[test]
fn the_command_line_orders_certificates() {
    let words = ["--cert-init", "commonname=my CA", "bits=4096", "outcert=ca.crt", "outkey=ca.key"];
    let init = CertInit {
        common_name: "my CA".to_owned(),
        bits: KeyBits::new(4096).unwrap(),
        validity: Validity::default(),
        out_cert: PathBuf::from("ca.crt"),
        out_key: PathBuf::from("ca.key"),
    };
    assert_eq!(ordered(&words), CertCommand::Init(init));

    let words = [
        "--cert-makereq",
        "commonname=a",
        "bits=2048",
        "nodeid=a",
        "nodeid=b",
        "dnsname=host.example",
        "ipaddress=127.0.0.1",
        "ipaddress=::1",
        "outreq=a.req",
        "outkey=a.key",
    ];
    let request = CertRequest {
        common_name: "a".to_owned(),
        dns_names: vec!["host.example".to_owned()],
        ip_addresses: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
        node_ids: vec!["a".to_owned(), "b".to_owned()],
        key: RequestKey::New { bits: KeyBits::DEFAULT, file: PathBuf::from("a.key") },
        out_req: PathBuf::from("a.req"),
    };
    assert_eq!(ordered(&words), CertCommand::Request(request));

    let words = [
        "--cert-signreq",
        "req=a.req",
        "cacert=ca.crt",
        "cakey=ca.key",
        "outcert=a.crt",
        "verify=true",
        "notbefore=2026-11-21T00:00:00+01:00",
        "notafter=2030-01-01T00:00:00Z",
    ];
    let signing = CertSigning {
        req: PathBuf::from("a.req"),
        ca_cert: PathBuf::from("ca.crt"),
        ca_key: PathBuf::from("ca.key"),
        validity: Validity {
            not_before: Some("2026-11-20T23:00:00Z".parse().unwrap()),
            not_after: Some("2030-01-01T00:00:00Z".parse().unwrap()),
        },
        out_cert: PathBuf::from("a.crt"),
        without_asking: true,
    };
    assert_eq!(ordered(&words), CertCommand::Sign(signing));
}

#[test]
fn a_file_orders_certificates() {
    let text = "- cert-makereq: {commonname: a, outreq: b, inkey: c, nodeid: a}";
    assert_eq!(file(text), "certificates");
    let Ok(Startup::Certificates(CertCommand::Request(request))) =
        load(&["-c".to_owned(), FILE.to_owned()], &host(text))
    else {
        panic!()
    };
    assert_eq!(request.key, RequestKey::Existing(PathBuf::from("c")));
    assert_eq!(request.node_ids, ["a"]);
}

/// The node around them is not looked at: a host called `localhost` makes certificates, too.
#[test]
fn certificates_need_no_node_id() {
    let words = ["--cert-init", "commonname=a", "bits=0", "outcert=b", "outkey=c"].map(str::to_owned);
    let mut host = host("");
    host.name = "localhost".to_owned();
    let Ok(Startup::Certificates(CertCommand::Init(init))) = load(&words, &host) else { panic!() };
    assert_eq!(init.bits.get(), 2048);
}

#[test]
fn orders_that_cannot_be_carried_out_are_refused() {
    let init = "- cert-init: {commonname: a, outcert: b, outkey: c, ";
    let make = "- cert-makereq: {commonname: a, outreq: b, ";
    let cases = [
        ("- cert-init: {commonname: '', bits: 0, outcert: b, outkey: c}".to_owned(), "must provide CommonName"),
        (format!("{init} bits: 1024}}"), "a key has 2048, 3072 or 4096 bits, not 1024"),
        (format!("{init} bits: -1}}"), "a key has 2048, 3072 or 4096 bits, not -1"),
        (
            format!("{init} bits: 2048, notbefore: bad}}"),
            "parsing time \"bad\" as \"2006-01-02T15:04:05Z07:00\": no such time",
        ),
        (
            format!("{init} bits: 2048, notafter: '1949-12-31T23:59:59Z'}}"),
            "parsing time \"1949-12-31T23:59:59Z\" as \"2006-01-02T15:04:05Z07:00\": no such time",
        ),
        (
            "- cert-init: {commonname: a, bits: 0, outcert: '', outkey: c}".to_owned(),
            "open : no such file or directory",
        ),
        (format!("{init} bits: 1}}\n- local-only"), "cannot specify any other options with cert-init"),
        (format!("{make} }}"), "must provide either InKey or OutKey"),
        (format!("{make} inkey: c, outkey: d}}"), "cannot use both InKey and OutKey"),
        (format!("{make} inkey: c, bits: 5}}"), "cannot specify key bits when reading an already-existing key"),
        (format!("{make} outkey: c}}"), "must specify key bits when creating a new key"),
        (format!("{make} inkey: c, ipaddress: foo}}"), "invalid IP address: foo"),
        (format!("{make} inkey: c, dnsname: hüt}}"), "invalid DNS name: hüt"),
    ];
    for (text, expected) in cases {
        assert_eq!(file(&text), format!("Error: {expected}"), "{text}");
    }
}

#[test]
fn the_check_mode_only_checks() {
    let words = ["--check-config", "--cert-init", "commonname=a", "bits=0", "outcert=b", "outkey=c"];
    assert_eq!(outcome(&words, &host("")), "command line: OK\n  cert-init\n");
}

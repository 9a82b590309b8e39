//! TLS on the control service's TCP listener: control-protocol 2.1.
#![allow(clippy::indexing_slicing, reason = "an index out of range fails the test, as it should")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use sha2::{Digest, Sha256};
use worknode_tests::wait::{Deadline, Watch};
use worknode_tests::{Harness, Node, Session};

/// A certificate authority, and the certificates of a server and a client.
struct Certificates {
    authority: CertifiedIssuer<'static, KeyPair>,
    client: (CertificateDer<'static>, PrivateKeyDer<'static>),
}

/// Writes `ca.pem`, `server.pem` and `server.key`.
fn write_certificates(directory: &Path) -> Result<Certificates> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let (server_key, client_key) = (KeyPair::generate()?, KeyPair::generate()?);
    let server = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&server_key, &authority)?;
    let client = CertificateParams::new(vec!["client".to_owned()])?.signed_by(&client_key, &authority)?;
    fs::write(directory.join("ca.pem"), authority.pem())?;
    fs::write(directory.join("server.pem"), server.pem())?;
    fs::write(directory.join("server.key"), server_key.serialize_pem())?;
    let client_key = PrivateKeyDer::try_from(client_key.serialize_der()).map_err(anyhow::Error::msg)?;
    Ok(Certificates { authority, client: (client.der().clone(), client_key) })
}

/// A node that speaks TLS, and wants client certificates if `mutual`.
fn node(mutual: bool) -> Result<(Node, Certificates)> {
    let harness = Harness::new()?;
    let certificates = write_certificates(harness.directory())?;
    let file = |name: &str| json!(harness.directory().join(name));
    let mut server = json!({
        "name": "server", "cert": file("server.pem"), "key": file("server.key"), "skipreceptornamescheck": true,
    });
    if mutual {
        server["requireclientcert"] = json!(true);
        server["clientcas"] = file("ca.pem");
    }
    let node = harness.action("tls-server", server).tcp().control("tcptls", json!("server")).start()?;
    Ok((node, certificates))
}

fn session(node: &Node, certificates: &Certificates, with_certificate: bool) -> Result<Session> {
    let mut roots = RootCertStore::empty();
    roots.add(certificates.authority.der().clone())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let config = if with_certificate {
        let (certificate, key) = &certificates.client;
        builder.with_client_auth_cert(vec![certificate.clone()], key.clone_key())?
    } else {
        builder.with_no_client_auth()
    };
    Session::tls(node.tcp_address()?, ServerName::try_from("localhost")?, Arc::new(config))
}

#[test]
fn a_session_over_tls() -> Result<()> {
    let (node, certificates) = node(false)?;
    let mut session = session(&node, &certificates, false)?;
    assert_eq!(session.line()?, "Receptor Control, node n1");
    assert_eq!(session.ask("work list")?, "{}");
    session.half_close()?;
    assert_eq!(session.line_or_end()?, None);
    Ok(())
}

#[test]
fn a_required_client_certificate_is_required() -> Result<()> {
    let (node, certificates) = node(true)?;
    let refused = session(&node, &certificates, false)?.line();
    let text = format!("{:#}", refused.err().context("served without a certificate")?);
    ensure!(text.to_lowercase().contains("certificate"), "{text}");
    let mut served = session(&node, &certificates, true)?;
    assert_eq!(served.line()?, "Receptor Control, node n1");
    assert_eq!(served.ask("work list")?, "{}");
    Ok(())
}

/// A pin is enforced in addition to the authority.
#[test]
fn a_pinned_client_certificate_is_the_only_one_taken() -> Result<()> {
    for (pinned, served) in [(true, true), (false, false)] {
        let harness = Harness::new()?;
        let certificates = write_certificates(harness.directory())?;
        let file = |name: &str| json!(harness.directory().join(name));
        let own = Sha256::digest(&certificates.client.0);
        let pin: String = own.iter().map(|byte| format!("{:02X}:", if pinned { *byte } else { !byte })).collect();
        let server = json!({
            "name": "server", "cert": file("server.pem"), "key": file("server.key"), "skipreceptornamescheck": true,
            "requireclientcert": true, "clientcas": file("ca.pem"), "pinnedclientcert": [pin],
        });
        let node = harness.action("tls-server", server).tcp().control("tcptls", json!("server")).start()?;
        let line = session(&node, &certificates, true)?.line();
        ensure!(line.is_ok() == served, "{line:?}");
    }
    Ok(())
}

/// A new certificate is used from the next connection on, without a restart.
#[test]
fn a_renewed_certificate_is_taken_up() -> Result<()> {
    let (node, old) = node(false)?;
    session(&node, &old, false)?.line()?;
    let new = write_certificates(node.root())?;
    let served = || Ok(session(&node, &new, false)?.line().ok());
    // The daemon looks at its files once a second at most, and when somebody connects.
    Watch::new(node.root())?.until(Deadline::default(), "the new certificate", served)?;
    ensure!(session(&node, &old, false)?.line().is_err(), "the old certificate is still shown");
    Ok(())
}

/// A client that speaks no TLS gets no banner and holds nobody up.
#[test]
fn plain_tcp_to_a_tls_port_gets_no_banner() -> Result<()> {
    let (node, certificates) = node(false)?;
    let mut plain = Session::tcp(node.tcp_address()?)?;
    plain.send(b"status\n")?;
    let mut served = session(&node, &certificates, false)?;
    assert_eq!(served.line()?, "Receptor Control, node n1");
    let rest = plain.rest()?;
    ensure!(!String::from_utf8_lossy(&rest).contains("Receptor"), "{rest:?}");
    Ok(())
}

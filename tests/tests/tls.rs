//! TLS on the control service's TCP listener: control-protocol 2.1.
#![allow(clippy::indexing_slicing, reason = "an index out of range fails the test, as it should")]

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use sha2::{Digest, Sha256};
use worknode_tests::certificates::Certificates;
use worknode_tests::wait::{Deadline, Watch};
use worknode_tests::work::{answer, created, submit_line};
use worknode_tests::{Harness, Node, Session, State};

/// A node that speaks TLS, and wants client certificates if `mutual`.
fn node(mutual: bool) -> Result<(Node, Certificates)> {
    let harness = Harness::new()?.command("cat", "cat");
    let certificates = Certificates::write(harness.directory())?;
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
    roots.add(certificates.authority.clone())?;
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
        let certificates = Certificates::write(harness.directory())?;
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
    let new = Certificates::write(node.root())?;
    let served = || Ok(session(&node, &new, false)?.line().ok());
    // The daemon looks at its files once a second at most, and when somebody connects.
    Watch::new(node.root())?.until(Deadline::default(), "the new certificate", served)?;
    ensure!(session(&node, &old, false)?.line().is_err(), "the old certificate is still shown");
    Ok(())
}

/// Python's client ends its payload without TLS's farewell (decision 3).
#[test]
fn a_payload_ends_with_the_connection_between_two_records_and_is_cut_within_one() -> Result<()> {
    let (node, certificates) = node(false)?;
    for (before, state) in [(&[][..], State::Succeeded), (&[23, 3, 3, 0][..], State::Failed)] {
        let mut session = session(&node, &certificates, false)?;
        session.line()?;
        let unit = created(&session.ask(&submit_line("cat", &[]))?)?;
        session.send(b"payload")?;
        session.half_close_below_tls(before)?;
        if state == State::Succeeded {
            assert_eq!(answer(&session.line()?)?["result"], "Job Started");
            assert_eq!(node.results(&unit)?, b"payload");
        }
        let status = node.wait_ended(&unit)?;
        assert_eq!(status.state, state, "{status}");
    }
    Ok(())
}

/// A farewell that nobody reads resets the connection when it is closed, and the client loses what it has not read.
#[test]
fn results_arrive_whole_after_a_farewell() -> Result<()> {
    const LENGTH: usize = 8 << 20;
    let (node, certificates) = node(false)?;
    let unit = node.submit("cat", &vec![b'x'; LENGTH])?;
    node.wait_ended(&unit)?;
    for _ in 0..5 {
        let mut session = session(&node, &certificates, false)?;
        session.line()?;
        session.ask(&format!("work results {unit}"))?;
        session.half_close()?;
        assert_eq!(session.drain(|_| ())?, LENGTH as u64);
    }
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

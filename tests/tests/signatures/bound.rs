//! Tokens that are good for one request with its payload, once: `docs/decisions/0018-bound-tokens.md`.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use worknode_tests::{
    Harness, Node, Session, State,
    mesh::{
        Kind::{Go, Ours},
        free_port, linked_with,
    },
    work::submit_line,
};

use crate::tokens::{Tokens, key};
use crate::{SOON, pair, signed_from_end_to_end, submit, to_n2};

fn bound() -> Value {
    json!({"tokenbinding": "request"})
}

#[test]
fn bound_work_runs_on_another_node() -> Result<()> {
    for (signs, verifies) in [(bound(), bound()), (bound(), json!({}))] {
        signed_from_end_to_end(&pair(&[Ours, Ours], &signs, &verifies)?.context("ours can always be had")?)?;
    }
    Ok(())
}

/// Receptor reads over what it does not know.
#[test]
fn bound_work_runs_on_a_receptor_node() -> Result<()> {
    let Some(nodes) = pair(&[Ours, Go], &bound(), &json!({}))? else { return Ok(()) };
    signed_from_end_to_end(&nodes)
}

#[test]
fn tokens_for_anything_are_refused_where_bound_ones_are_demanded() -> Result<()> {
    let [from, to] = pair(&[Ours, Ours], &json!({}), &bound())?.context("ours can always be had")?;
    let (_, reply) = to_n2(&from, "signed", true, b"hello")?;
    ensure!(
        reply == "ERROR: could not parse response: ERROR: could not verify signature: token is not bound to a request",
        "{reply}"
    );
    ensure!(to.list()?.is_empty());
    Ok(())
}

/// A node on TCP that demands bound tokens.
fn strict() -> Result<Node> {
    let signed = json!({"worktype": "signed", "command": "cat", "verifysignature": true});
    let verification = json!({"publickey": key("pub.pem"), "tokenbinding": "request"});
    Harness::new()?.action("work-verification", verification).action("work-command", signed).tcp().start()
}

/// What decision 18 says that is bound of a submit to `n1`.
const SUBMIT: &str = r#"{"command":"work","foo":"bar","node":"n1","subcommand":"submit","worktype":"signed"}"#;

fn submit_signed(session: Session, token: &str, payload: &[u8]) -> Result<(Option<String>, String)> {
    submit(session, &submit_line("signed", &[("node", "n1"), ("foo", "bar"), ("signature", token)]), payload)
}

#[test]
fn a_bound_token_that_was_seen_is_of_no_use() -> Result<()> {
    let (mut node, tokens) = (strict()?, Tokens::new()?);
    let token = tokens.bound("n1", "first", SUBMIT, Some(b"hello"))?;
    let used = "ERROR: could not verify signature: token was used before";
    let other = "ERROR: could not verify signature: token was made for another request";

    // Seen on its way, before its owner has used it: good for nothing else.
    let mut session = node.connect_tcp()?;
    ensure!(session.ask(&submit_line("signed", &[("node", "n1"), ("signature", &token)]))? == other);
    let cancel = json!({"command": "work", "subcommand": "cancel", "unitid": "x", "signature": token});
    ensure!(session.ask(&cancel.to_string())? == "ERROR: unknown work unit x");
    ensure!(node.list()?.is_empty(), "nothing was made");

    let (id, reply) = submit_signed(node.connect_tcp()?, &token, b"hello")?;
    let id = id.context(reply)?;
    ensure!(node.results(&id)? == b"hello");
    // Seen afterwards: good for nothing at all, and a restart does not help.
    ensure!(submit_signed(node.connect_tcp()?, &token, b"hello")?.1 == used);
    node.crash_and_restart()?;
    ensure!(submit_signed(node.connect_tcp()?, &token, b"hello")?.1 == used);
    let cancel = json!({"command": "work", "subcommand": "cancel", "unitid": id, "signature": token});
    ensure!(node.connect_tcp()?.ask(&cancel.to_string())? == other);
    ensure!(node.list()?.len() == 1);
    Ok(())
}

/// The payload is known when it is whole: the unit fails, and its job has never run.
#[test]
fn another_payload_does_not_run() -> Result<()> {
    let (node, tokens) = (strict()?, Tokens::new()?);
    for (number, payload) in [&b"hellO"[..], b"", b"hello hello"].into_iter().enumerate() {
        let token = tokens.bound("n1", &format!("t{number}"), SUBMIT, Some(b"hello"))?;
        let (id, reply) = submit_signed(node.connect_tcp()?, &token, payload)?;
        ensure!(reply == "ERROR: could not verify signature: token was made for another payload", "{reply}");
        let status = node.wait_status_within(&id.context("no unit")?, SOON, |status| status.state.ended())?;
        let detail = "Error starting worker: could not verify signature: token was made for another payload";
        ensure!(status.state == State::Failed && status.detail == detail && status.stdout_size == 0, "{status}");
    }
    // Without a hash of the payload it is not bound.
    let token = tokens.bound("n1", "none", SUBMIT, None)?;
    let (_, reply) = submit_signed(node.connect_tcp()?, &token, b"hello")?;
    ensure!(reply == "ERROR: could not verify signature: token is not bound to a request", "{reply}");
    Ok(())
}

/// A node that passes work on checks what it was asked itself, and passes on no payload that was not signed for it.
#[test]
fn work_for_another_node_goes_there_when_its_payload_is_the_signed_one() -> Result<()> {
    let port = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let signed = json!({"worktype": "signed", "command": "cat", "verifysignature": true});
    let verification = json!({"publickey": key("pub.pem"), "tokenbinding": "request"});
    let signing = json!({"privatekey": key("pkcs8.pem"), "tokenbinding": "request"});
    let furnished = |place, harness: Harness| {
        let harness = harness.action("work-verification", verification.clone()).action("work-command", signed.clone());
        let gateway = |harness: Harness| harness.control("tcplisten", json!(port.to_string()));
        if place == 0 { gateway(harness.action("work-signing", signing.clone())) } else { harness }
    };
    let nodes = linked_with(&[Ours, Ours], false, furnished)?.context("ours can always be had")?;
    let tokens = Tokens::new()?;
    let text = r#"{"command":"work","node":"n2","signwork":"true","subcommand":"submit","worktype":"signed"}"#;
    for (id, payload) in [("good", &b"hello"[..]), ("bad", b"hellO")] {
        let token = tokens.bound("n1", id, text, Some(b"hello"))?;
        let mut session = Session::tcp(port)?;
        ensure!(session.line()? == "Receptor Control, node n1");
        let line = submit_line("signed", &[("node", "n2"), ("signwork", "true"), ("signature", &token)]);
        let (unit, reply) = submit(session, &line, payload)?;
        let unit = unit.context("no unit")?;
        let status = nodes[0].wait_status_within(&unit, SOON, |status| status.state.ended())?;
        if id == "good" {
            ensure!(status.state == State::Succeeded && nodes[0].results(&unit)? == b"hello", "{reply} {status}");
        } else {
            ensure!(reply == "ERROR: could not verify signature: token was made for another payload", "{reply}");
            ensure!(status.state == State::Failed, "{status}");
        }
    }
    ensure!(nodes[1].list()?.len() == 1, "nothing was begun for the other");
    Ok(())
}

//! Signed work from end to end over the mesh (control-protocol 4.7). With `RECEPTOR_BIN` naming a Go daemon, with it at either
//! end. The refusals of single tokens on TCP are in the transcript `signature`.

#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

mod bound;
mod tokens;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use worknode_tests::{
    Harness, Node, Session, State, binaries,
    mesh::{
        Kind::{self, Go, Ours},
        free_port, linked_with,
    },
    work::{answer, created, submit_line},
};

use crate::tokens::{Tokens, key};

const SOON: Duration = Duration::from_secs(30);

/// `n1` signs, `n2` verifies. Both have a Unix socket, a key to verify with, and types that want signatures: `here` at `n1`,
/// `signed` and `slow` at `n2`.
fn pair(kinds: &[Kind], signs: &Value, verifies: &Value) -> Result<Option<[Node; 2]>> {
    Ok(pair_with_port(kinds, signs, verifies)?.map(|(nodes, _)| nodes))
}

/// The same, and where the control service of `n1` listens on TCP.
fn pair_with_port(kinds: &[Kind], signs: &Value, verifies: &Value) -> Result<Option<([Node; 2], SocketAddr)>> {
    let port = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let merged = |mut parameters: Value, more: &Value| {
        if let (Some(parameters), Some(more)) = (parameters.as_object_mut(), more.as_object()) {
            parameters.extend(more.clone());
        }
        parameters
    };
    let signing = merged(json!({"privatekey": key("pkcs8.pem"), "tokenexpiration": "5m"}), signs);
    let verification = merged(json!({"publickey": key("pub.pem")}), verifies);
    let guarded = |harness: Harness, name: &str, command: &str, params: &str| {
        let parameters = json!({"worktype": name, "command": command, "params": params, "verifysignature": true});
        harness.action("work-command", parameters)
    };
    let furnished = |place, harness: Harness| {
        let harness = harness.command("cat", "cat").action("work-verification", verification.clone());
        if place == 0 {
            let harness = harness.control("tcplisten", json!(port.to_string()));
            guarded(harness.action("work-signing", signing.clone()), "here", "cat", "")
        } else {
            guarded(guarded(harness, "signed", "cat", ""), "slow", "sleep", "1000")
        }
    };
    let Some(nodes) = linked_with(kinds, false, furnished)? else { return Ok(None) };
    let nodes = nodes.try_into().map_err(|nodes: Vec<_>| anyhow::anyhow!("{} nodes", nodes.len()))?;
    Ok(Some((nodes, port)))
}

fn plain(kinds: &[Kind]) -> Result<Option<[Node; 2]>> {
    pair(kinds, &json!({}), &json!({}))
}

/// The last answer to a submit, and the unit if there is one.
fn submit(mut session: Session, line: &str, payload: &[u8]) -> Result<(Option<String>, String)> {
    session.set_patience(SOON);
    let first = session.ask(line)?;
    let Ok(id) = created(&first) else { return Ok((None, first)) };
    session.send(payload)?;
    session.half_close()?;
    Ok((Some(id), session.line()?))
}

/// Submits for `n2` on the Unix socket of `n1`.
fn to_n2(from: &Node, worktype: &str, signwork: bool, payload: &[u8]) -> Result<(String, String)> {
    let signwork = if signwork { "true" } else { "false" };
    let line = submit_line(worktype, &[("node", "n2"), ("signwork", signwork)]);
    let (id, reply) = submit(from.connect()?, &line, payload)?;
    Ok((id.with_context(|| reply.clone())?, reply))
}

fn started(from: &Node, worktype: &str, payload: &[u8]) -> Result<String> {
    let (id, reply) = to_n2(from, worktype, true, payload)?;
    ensure!(answer(&reply)? == json!({"result": "Job Started", "unitid": id}), "{reply}\n{}", from.log_tail());
    Ok(id)
}

/// The unit at the other node.
fn there(from: &Node, id: &str) -> Result<String> {
    Ok(from.status(id)?.extra["RemoteUnitID"].as_str().context("no remote unit")?.to_owned())
}

fn gone(node: &Node, id: &str) -> Result<()> {
    let start = std::time::Instant::now();
    while node.list()?.contains_key(id) {
        ensure!(start.elapsed() < SOON, "{id} is still at {}", node.id());
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(())
}

/// Submit, results, cancel and release of work that is signed for the other node.
fn signed_from_end_to_end(nodes: &[Node; 2]) -> Result<()> {
    let [from, to] = nodes;
    let sent: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let id = started(from, "signed", &sent)?;
    let mut results = from.open_results(&id, 0)?;
    results.set_patience(SOON);
    ensure!(results.rest()? == sent, "{}", from.status(&id)?);
    let status = from.wait_status_within(&id, SOON, |status| status.state.ended())?;
    ensure!(status.state == State::Succeeded && status.extra["SignWork"] == true, "{status}");
    let far = there(from, &id)?;
    from.release(&id)?;
    gone(from, &id)?;
    gone(to, &far)?;

    let id = started(from, "slow", b"")?;
    from.wait_status_within(&id, SOON, |status| status.state == State::Running)?;
    let far = there(from, &id)?;
    from.cancel(&id)?;
    to.wait_status_within(&far, SOON, |status| status.state == State::Canceled)?;
    from.wait_status_within(&id, SOON, |status| status.state == State::Canceled)?;
    let forced = from.connect()?.ask(&format!("work force-release {id}"))?;
    ensure!(answer(&forced)? == json!({"released": id}), "{forced}");
    gone(from, &id)?;
    gone(to, &far)
}

#[test]
fn signed_work_runs_on_another_node() -> Result<()> {
    signed_from_end_to_end(&plain(&[Ours, Ours])?.context("ours can always be had")?)
}

#[test]
fn signed_work_runs_between_ours_and_receptors() -> Result<()> {
    for kinds in [[Ours, Go], [Go, Ours]] {
        let Some(nodes) = plain(&kinds)? else { return Ok(()) };
        signed_from_end_to_end(&nodes).with_context(|| format!("{kinds:?}"))?;
    }
    Ok(())
}

/// What the far node does not take fails the submission, in its own words.
fn refusals_of_the_far_node(kinds: &[Kind]) -> Result<()> {
    let Some([from, _to]) = plain(kinds)? else { return Ok(()) };
    for (worktype, signwork, words) in [
        ("signed", false, "could not verify signature: signature is empty"),
        ("cat", true, "work type did not expect a signature"),
    ] {
        let (_, reply) = to_n2(&from, worktype, signwork, b"")?;
        ensure!(reply == format!("ERROR: could not parse response: ERROR: {words}"), "{kinds:?} {worktype}: {reply}");
    }
    Ok(())
}

#[test]
fn what_the_far_node_refuses_is_told_in_its_words() -> Result<()> {
    refusals_of_the_far_node(&[Ours, Ours])?;
    refusals_of_the_far_node(&[Ours, Go])?;
    refusals_of_the_far_node(&[Go, Ours])
}

/// A session on the control service of `n2` that comes over the mesh.
fn over_the_mesh(from: &Node, to: &str) -> Result<Session> {
    let mut session = from.connect()?;
    session.send(format!("connect {to} control\n").as_bytes())?;
    ensure!(session.line()? == "Connecting");
    ensure!(session.line()? == format!("Receptor Control, node {to}"));
    Ok(session)
}

/// The refused tokens of the transcript, each with its words. They are for `n1`.
fn refused_tokens() -> Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(binaries::workspace().join("tests/data/transcripts/signature.txt"))?;
    let (_, scenario) = text.split_once("== Tokens that are refused").context("the scenario is gone")?;
    let scenario = scenario.split("\n== ").next().unwrap_or_default();
    let mut pairs = Vec::new();
    let mut asked = None;
    for line in scenario.lines() {
        if let Some(command) = line.strip_prefix("C> ") {
            asked = command.contains("\"signature\"").then(|| command.to_owned());
        } else if let (Some(command), Some(reply)) = (asked.take(), line.strip_prefix("S> ")) {
            pairs.push((command, reply.split('<').next().unwrap_or_default().to_owned()));
        }
    }
    ensure!(pairs.len() >= 8, "{} tokens", pairs.len());
    Ok(pairs)
}

/// Every row of the table, on a session that comes over the mesh as on one that comes by TCP.
#[test]
fn signatures_are_asked_for_on_the_mesh_as_on_tcp() -> Result<()> {
    let verify = binaries::workspace().join("tests/data/signature/verify.pub.pem");
    let furnished = |place, harness: Harness| {
        let (file, name) = if place == 0 { (json!(verify), "signed") } else { (json!(key("pub.pem")), "signed") };
        let signed = json!({"worktype": name, "command": "cat", "verifysignature": true});
        harness
            .command("cat", "cat")
            .action("work-verification", json!({"publickey": file}))
            .action("work-command", signed)
    };
    let nodes = linked_with(&[Ours, Ours], false, furnished)?.context("ours can always be had")?;
    let mut session = over_the_mesh(&nodes[1], "n1")?;
    for (command, words) in refused_tokens()? {
        let reply = session.ask(&command)?;
        ensure!(reply.starts_with(&words), "{command}: {reply}");
    }
    ensure!(nodes[0].list()?.is_empty());

    // The other way round with a key that tokens can be made with: first by the socket, where none is asked for.
    let tokens = Tokens::new()?;
    let unit = nodes[1].submit("signed", b"hello")?;
    nodes[1].wait_ended(&unit)?;
    let mut session = over_the_mesh(&nodes[0], "n2")?;
    let empty = "ERROR: could not verify signature: signature is empty";
    for command in ["results", "cancel", "release", "force-release", "describe", "follow"] {
        ensure!(session.ask(&format!("work {command} {unit}"))? == empty, "{command}");
    }
    ensure!(session.ask(&submit_line("signed", &[]))? == empty);
    ensure!(session.ask("work submit n2 signed")? == empty);
    answer(&session.ask(&format!("work status {unit}"))?)?;
    answer(&session.ask("work list")?)?;
    let token = tokens.plain("n2")?;
    let unexpected = session.ask(&submit_line("cat", &[("signature", &token)]))?;
    ensure!(unexpected == "ERROR: work type did not expect a signature", "{unexpected}");
    let about = |command: &str| json!({"command": "work", "subcommand": command, "unitid": unit, "signature": token});
    ensure!(session.ask(&about("cancel").to_string())? == json!({"cancelled": unit}).to_string());
    ensure!(session.ask(&about("release").to_string())? == json!({"released": unit}).to_string());
    let (id, reply) = submit(session, &submit_line("signed", &[("signature", &token)]), b"hello")?;
    ensure!(reply.contains("Job Started"), "{reply}");
    ensure!(nodes[1].wait_ended(&id.context("no unit")?)?.state == State::Succeeded);
    Ok(())
}

/// "other commands: type of the unit; for a `remote` unit its `SignWork` flag", on every way in.
fn remote_units_ask_by_their_flag(kinds: &[Kind]) -> Result<()> {
    let Some(([from, to], port)) = pair_with_port(kinds, &json!({}), &json!({}))? else { return Ok(()) };
    let token = Tokens::new()?.plain("n1")?;
    let signed = started(&from, "signed", b"hello")?;
    let (unsigned, _) = to_n2(&from, "cat", false, b"hello")?;
    for unit in [&signed, &unsigned] {
        from.wait_status_within(unit, SOON, |status| status.state.ended())?;
    }
    let about = |command: &str, unit: &str, token: Option<&str>| {
        let mut line = json!({"command": "work", "subcommand": command, "unitid": unit, "startpos": 0});
        if let Some(token) = token {
            line["signature"] = json!(token);
        }
        line.to_string()
    };
    let mut by_tcp = Session::tcp(port)?;
    ensure!(by_tcp.line()? == "Receptor Control, node n1");
    let mut strangers = [over_the_mesh(&to, "n1")?, by_tcp];
    for session in &mut strangers {
        for command in ["results", "cancel", "release", "force-release"] {
            let reply = session.ask(&about(command, &signed, None))?;
            ensure!(reply == "ERROR: could not verify signature: signature is empty", "{kinds:?} {command}: {reply}");
            let reply = session.ask(&about(command, &unsigned, Some(&token)))?;
            ensure!(reply == "ERROR: work type did not expect a signature", "{kinds:?} {command}: {reply}");
        }
    }
    // On the Unix socket nothing is asked for; a token where none is expected is refused there, too.
    let mut local = from.connect()?;
    let reply = local.ask(&about("cancel", &unsigned, Some(&token)))?;
    ensure!(reply == "ERROR: work type did not expect a signature", "{kinds:?}: {reply}");
    ensure!(local.ask(&about("cancel", &signed, Some("junk")))? == json!({"cancelled": signed}).to_string());
    let mut results = over_the_mesh(&to, "n1")?;
    ensure!(results.ask(&about("results", &signed, Some(&token)))?.starts_with("Streaming results"));
    ensure!(results.rest()? == b"hello");
    let [mut by_mesh, mut by_tcp] = strangers;
    let reply = by_tcp.ask(&about("release", &signed, Some(&token)))?;
    ensure!(answer(&reply)? == json!({"released": signed}), "{kinds:?}: {reply}");
    let reply = by_mesh.ask(&about("release", &unsigned, None))?;
    ensure!(answer(&reply)? == json!({"released": unsigned}), "{kinds:?}: {reply}");
    Ok(())
}

#[test]
fn a_remote_unit_asks_for_signatures_if_it_was_signed() -> Result<()> {
    remote_units_ask_by_their_flag(&[Ours, Ours])?;
    remote_units_ask_by_their_flag(&[Ours, Go])?;
    remote_units_ask_by_their_flag(&[Go, Ours])
}

/// "submit: decided by the `worktype` in the local table, even when the target is another node".
fn a_submit_is_judged_by_the_local_table(kinds: &[Kind]) -> Result<()> {
    let Some([from, to]) = plain(kinds)? else { return Ok(()) };
    let token = Tokens::new()?.plain("n1")?;
    let mut session = over_the_mesh(&to, "n1")?;
    let line = |worktype: &str, token: &str| {
        let mut fields = vec![("node", "n2"), ("signwork", "true")];
        if !token.is_empty() {
            fields.push(("signature", token));
        }
        submit_line(worktype, &fields)
    };
    // A type of that name verifies at n1; n2 has none of it.
    let reply = session.ask(&line("here", ""))?;
    ensure!(reply == "ERROR: could not verify signature: signature is empty", "{kinds:?}: {reply}");
    let (_, reply) = submit(session, &line("here", &token), b"")?;
    ensure!(
        reply == "ERROR: could not parse response: ERROR: work type did not expect a signature"
            || reply == "ERROR: could not parse response: ERROR: unknown work type here",
        "{kinds:?}: {reply}"
    );
    // n1 knows no type `signed`, so it asks for nothing, and signs for n2.
    let reply = over_the_mesh(&to, "n1")?.ask(&line("signed", &token))?;
    ensure!(reply == "ERROR: work type did not expect a signature", "{kinds:?}: {reply}");
    let (id, reply) = submit(over_the_mesh(&to, "n1")?, &line("signed", ""), b"hello")?;
    ensure!(reply.contains("Job Started"), "{kinds:?}: {reply}");
    from.wait_status_within(&id.context("no unit")?, SOON, |status| status.state == State::Succeeded).map(drop)
}

#[test]
fn a_submit_for_another_node_is_judged_by_the_types_here() -> Result<()> {
    a_submit_is_judged_by_the_local_table(&[Ours, Ours])?;
    a_submit_is_judged_by_the_local_table(&[Ours, Go])?;
    a_submit_is_judged_by_the_local_table(&[Go, Ours])
}

/// A node without a key says so, and nothing is sent.
#[test]
fn without_a_key_nothing_is_signed() -> Result<()> {
    let nodes = linked_with(&[Ours, Ours], false, |_, harness| harness.command("cat", "cat"))?.context("ours")?;
    let (id, reply) = to_n2(&nodes[0], "cat", true, b"")?;
    ensure!(reply == "ERROR: cannot sign work: signing key is empty", "{reply}");
    let status = nodes[0].status(&id)?;
    ensure!(status.state == State::Failed && nodes[1].list()?.is_empty(), "{status}");
    Ok(())
}

//! No sequence of bytes on the socket ends the daemon or another session (weaknesses 1, 2, 3, 7).
//!
//! `WORKNODE_STRANGERS` is the number of sessions (few by default), `WORKNODE_STRANGERS_SEED` the first seed.
#![allow(clippy::indexing_slicing, reason = "an index out of range fails the test, as it should")]

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use worknode_tests::{Harness, Node};

/// Sessions in an ordinary test run.
const FEW: u64 = 300;

/// Lines to begin from. The node has no work type that runs what it is given, so that no mutation of a submit is a
/// command of its own.
const LINES: &[&str] = &[
    "ping n1",
    "status",
    "traceroute n1",
    "connect n1 control ",
    "reload",
    "work list",
    "work submit localhost cat",
    "work submit localhost cat some params",
    "work status aaaaaaaa",
    "work results aaaaaaaa 5",
    "work cancel aaaaaaaa",
    "work release aaaaaaaa",
    "work force-release aaaaaaaa",
    r#"{"command":"status","requested_fields":["Version"]}"#,
    r#"{"command":"ping","target":"n1"}"#,
    r#"{"command":"connect","node":"n1","service":"control","tls":""}"#,
    r#"{"command":"work","subcommand":"submit","node":"localhost","worktype":"cat","params":"a 'b' \"c\""}"#,
    r#"{"command":"work","subcommand":"submit","node":"n1","worktype":"cat","ttl":"1h","signwork":"true","signature":"a.b.c"}"#,
    r#"{"command":"work","subcommand":"results","unitid":"aaaaaaaa","startpos":5}"#,
    r#"{"command":"work","subcommand":"cancel","unitid":"../../../etc/passwd"}"#,
    r#"{"command":"work","subcommand":"list","unitid":{"a":[1,2.5e300,null,true,"\ud800"]}}"#,
];

/// Pieces that parsers trip over.
const PIECES: &[&[u8]] = &[
    b"\0",
    b"\r",
    b"\n",
    b"\n\n",
    b" ",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\xff\xfe",
    b"\xc3\x28",
    b"\xe2\x80\xa8",
    b"../",
    b"/",
    b"-1",
    b"9223372036854775808",
    b"-9223372036854775809",
    b"1e999",
    b"null",
    b"true",
    b"[[[[[[[[[[[[[[[[",
    b"\\u0000",
    b"\\ud800",
    b"%s%n",
    b"$(id)",
    b"'",
    b"aaaaaaaa",
];

/// Values of every type, for members that want another.
const VALUES: &[&str] =
    &["null", "true", "0", "-1", "1e999", "\"\"", "\"5\"", "\"localhost\"", "[]", "[1]", "[null]", "{}", "{\"a\":{}}"];

fn pick<'a, T: ?Sized>(random: &mut StdRng, from: &[&'a T]) -> &'a T {
    from[random.random_range(0..from.len())]
}

/// One of the lines; if it is JSON, perhaps with a value of another type.
fn line(random: &mut StdRng) -> String {
    let line = pick(random, LINES);
    let members: Vec<_> = line.match_indices("\":").map(|(at, colon)| at + colon.len()).collect();
    if members.is_empty() || random.random_bool(0.5) {
        return line.to_owned();
    }
    let (before, after) = line.split_at(members[random.random_range(0..members.len())]);
    let next = after.find(",\"").or_else(|| after.rfind('}')).unwrap_or(after.len());
    format!("{before}{}{}", pick(random, VALUES), &after[next..])
}

/// Some lines, changed here and there.
fn bytes(random: &mut StdRng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.random_range(1..4) {
        bytes.extend_from_slice(line(random).as_bytes());
        bytes.push(b'\n');
    }
    let changes = if random.random_bool(0.5) { random.random_range(0..8) } else { 0 };
    for _ in 0..changes {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..5) {
            0 => drop(bytes.splice(at..at, pick(random, PIECES).iter().copied())),
            1 => bytes.truncate(at),
            2 if at < bytes.len() => bytes[at] = random.random(),
            3 => {
                let end = random.random_range(at..=bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                let copy = bytes[at..].to_vec();
                bytes.extend(copy);
            }
        }
    }
    bytes
}

/// One stranger's session: it must come to an end, and everybody else must not notice.
fn visit(node: &Node, bytes: &[u8], politely: bool) -> Result<()> {
    let mut session = node.connect()?;
    // The daemon may close the session at any point: that is its right.
    if session.send(bytes).is_ok() && politely && session.half_close().is_ok() {
        session.rest()?;
    }
    Ok(())
}

#[test]
fn no_bytes_end_the_daemon_or_another_session() -> Result<()> {
    let number = |variable: &str, default: u64| std::env::var(variable).map_or(Ok(default), |text| text.parse());
    let first = number("WORKNODE_STRANGERS_SEED", 1)?;
    let mut node = Harness::new()?.command("cat", "cat").start()?;
    let mut bystander = node.connect()?;
    for seed in first..first + number("WORKNODE_STRANGERS", FEW)? {
        let mut random = StdRng::seed_from_u64(seed);
        let bytes = bytes(&mut random);
        let shown = || format!("seed {seed}: {:?}", String::from_utf8_lossy(&bytes));
        visit(&node, &bytes, random.random_bool(0.9)).with_context(shown)?;
        ensure!(node.ended()?.is_none(), "the daemon has ended; {}\n{}", shown(), node.log_tail());
        let answer = bystander.ask("ping n1").with_context(shown)?;
        ensure!(answer.starts_with("{\"From\":\"n1\",\"Success\":true,"), "{answer}; {}", shown());
    }
    node.list()?;
    Ok(())
}

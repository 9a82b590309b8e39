//! Submit, its payload and what may follow (control-protocol 3.7, 6.3).

use std::io::Write as _;

use serde_json::json;

use crate::fake_node::{FakeNode, Outcome, Step, asks, greet, hear, play, say, status, streams};

const CREATED: &str = "Work unit created with ID K8ouomSS. Send stdin data and EOF.\n";
const STARTED: &str = "{\"result\":\"Job Started\",\"unitid\":\"K8ouomSS\"}\n";

fn command() -> Step {
    Step::HearCommand(json!({"command": "work", "subcommand": "submit", "node": "localhost", "worktype": "cat"}))
}

/// A connection that takes a submit with this payload.
fn takes(payload: &str) -> Vec<Step> {
    vec![greet(), command(), say(CREATED), hear(payload), Step::HearEnd, say(STARTED)]
}

fn submit(words: &[&str], connections: Vec<Vec<Step>>) -> Outcome {
    play(&[&["work", "submit", "cat"], words].concat(), connections)
}

#[test]
fn the_payload_goes_over_whole_and_the_sending_half_is_closed() {
    let told = "Result: Job Started\nUnit ID: K8ouomSS\n";
    submit(&["-n"], vec![takes("")]).assert(0, told, "");
    submit(&["-l", "hello"], vec![takes("hello\n")]).assert(0, told, "");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "from\0a file").unwrap();
    submit(&["-p", file.path().to_str().unwrap()], vec![takes("from\0a file")]).assert(0, told, "");
    submit(&["-n", "--json"], vec![takes("")]).assert(0, STARTED, "");
}

#[test]
fn stdin_is_the_payload_if_asked_for_or_if_nothing_is() {
    for words in [&["-p", "-"][..], &[]] {
        let node = FakeNode::start(vec![takes("piped in")]);
        let words = [&["work", "submit", "cat"], words].concat();
        let outcome = node.ctl(&words).stdin("piped in").run();
        outcome.assert(0, "Result: Job Started\nUnit ID: K8ouomSS\n", "");
        node.finish();
    }
}

#[test]
fn a_slow_payload_is_sent_as_it_comes() {
    let (heard, was_heard) = crate::fake_node::signal();
    let node = FakeNode::start(vec![vec![
        greet(),
        command(),
        say(CREATED),
        hear("first\n"),
        Step::Signal(heard),
        hear("second\n"),
        Step::HearEnd,
        say(STARTED),
    ]]);
    let mut child = node.ctl(&["work", "submit", "cat", "-p", "-"]).spawn();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"first\n").unwrap();
    was_heard.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
    stdin.write_all(b"second\n").unwrap();
    drop(stdin);
    Outcome::of(child).assert(0, "Result: Job Started\nUnit ID: K8ouomSS\n", "");
    node.finish();
}

#[test]
fn a_large_payload_goes_over_whole() {
    let payload: String = (0..700_000).map(|number| format!("{number}\n")).collect();
    let node = FakeNode::start(vec![takes(&payload)]);
    let outcome = node.ctl(&["work", "submit", "cat", "-p", "-"]).stdin(&payload).run();
    outcome.assert(0, "Result: Job Started\nUnit ID: K8ouomSS\n", "");
    node.finish();
}

#[test]
fn options_become_fields_of_the_command() {
    let pod = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(pod.path(), "kind: Pod\n").unwrap();
    let param = format!("secret_kube_pod=@{}", pod.path().display());
    let heard = Step::HearCommand(json!({
        "command": "work", "subcommand": "submit", "node": "n2", "worktype": "cat", "tlsclient": "t", "ttl": "20s",
        "signwork": "true", "secret_kube_pod": "kind: Pod\n", "literal": "@@x", "params": "-v a b",
    }));
    let steps = vec![greet(), heard, say(CREATED), Step::HearEnd, say(STARTED)];
    let words = [
        "--node",
        "n2",
        "-n",
        "--tls-client",
        "t",
        "--ttl",
        "20s",
        "--signwork",
        "-a",
        &param,
        "-a",
        "literal=@@x",
        "--param",
        "params=-v",
        "a",
        "b",
    ];
    submit(&words, vec![steps]).assert(0, "Result: Job Started\nUnit ID: K8ouomSS\n", "");
}

#[test]
fn refusals() {
    let refused = |line: &str| vec![vec![greet(), command(), say(line), Step::HearClose]];
    let outcome = submit(&["-n"], refused("ERROR: unknown work type cat\n"));
    outcome.assert(101, "", "ERROR: Failed to start work unit: unknown work type cat");
    assert!(outcome.stderr.ends_with("\n\nhint: ctl status lists the work types of each node\n"));
    submit(&["-n"], refused("hello\n")).assert(101, "", "ERROR: Failed to start work unit");

    let line = "ERROR: could not parse response: ERROR: unknown work type zzz\n";
    let late = vec![greet(), command(), say(CREATED), Step::HearEnd, say(line)];
    let told = "ERROR: Remote error: ERROR: could not parse response: ERROR: unknown work type zzz";
    submit(&["-n"], vec![late]).assert(101, "", told);

    let silent = vec![greet(), command(), say(CREATED), Step::HearEnd];
    submit(&["-n"], vec![silent]).assert(101, "", "ERROR: the connection was closed before the answer");
}

#[test]
fn usage() {
    let two = "ERROR: Cannot provide more than one of --payload, --no-payload and --payload-literal.";
    submit(&["-n", "-l", "x"], Vec::new()).assert(1, "", two);
    let missing = "ERROR: Failed to load payload file: [Errno 2] No such file or directory: '/nope'";
    submit(&["-p", "/nope"], Vec::new()).assert(1, "", missing);
    for (param, told) in [
        ("bad", "ERROR: dictionary update sequence element #0 has length 1; 2 is required"),
        ("x=", "ERROR: string index out of range"),
        ("node=x", "ERROR: Duplicate or illegal parameter node"),
        ("x=@/nope", "ERROR: /nope does not exist"),
    ] {
        submit(&["-n", "-a", param], Vec::new()).assert(101, "", told);
    }
}

#[test]
fn a_submit_can_be_followed_and_released() {
    let connections = |state, detail, release| {
        let mut connections = vec![
            takes("hello\n"),
            streams("work results K8ouomSS 0", "K8ouomSS", "hello\n"),
            asks("work status K8ouomSS", &status(state, detail, 6)),
        ];
        if release {
            connections.push(asks("work release K8ouomSS", r#"{"released":"K8ouomSS"}"#));
        }
        connections
    };
    let outcome = submit(&["-l", "hello", "-f"], connections(2, "exit status 0", false));
    outcome.assert(0, "hello\n", "");
    let outcome = submit(&["-l", "hello", "-f", "--rm"], connections(2, "exit status 0", true));
    outcome.assert(0, "hello\n(K8ouomSS, released)\n", "");
    // Released although it has failed, and the failure is told.
    let outcome = submit(&["-l", "hello", "-f", "--rm"], connections(3, "exit status 4", true));
    outcome.assert(1, "hello\n(K8ouomSS, released)\n", "ERROR: Remote unit failed: exit status 4");
}

#[test]
fn a_release_without_following_is_warned_of() {
    let release = asks("work release K8ouomSS", r#"{"released":"K8ouomSS"}"#);
    let outcome = submit(&["-n", "--rm"], vec![takes(""), release]);
    let warning = "Warning: using --rm without --follow. Unit results will never be seen.";
    outcome.assert(0, "Result: Job Started\nUnit ID: K8ouomSS\n(K8ouomSS, released)\n", warning);
}

#[test]
fn a_node_that_gives_up_half_way_is_heard() {
    let refusal = say("ERROR: no space left on device\n");
    let node = FakeNode::start(vec![vec![greet(), command(), say(CREATED), hear("x"), refusal]]);
    // Far more than fits into the buffers of a connection that nobody reads.
    let outcome = node.ctl(&["work", "submit", "cat", "-p", "-"]).stdin(vec![b'x'; 16 << 20]).run();
    outcome.assert(101, "", "ERROR: Remote error: ERROR: no space left on device");
    node.finish();
}

#[test]
fn a_payload_that_cannot_be_read_does_not_start_the_unit() {
    // Reading this file fails after it has been opened.
    let unreadable = "/proc/self/mem";
    let (cancelled, was_cancelled) = crate::fake_node::signal();
    let submitting = vec![greet(), command(), say(CREATED), Step::Await(was_cancelled), Step::HearClose];
    let cancel = || hear("work cancel K8ouomSS\n");
    let answer = || say("{\"cancelled\":\"K8ouomSS\"}\n");
    let cancelling = vec![greet(), cancel(), Step::Signal(cancelled), answer(), cancel(), answer(), Step::HearClose];
    let outcome = submit(&["-p", unreadable], vec![submitting, cancelling]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (101, ""));
    assert!(outcome.told().starts_with("ERROR: the payload could not be read: "), "{}", outcome.stderr);
}

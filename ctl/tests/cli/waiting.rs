//! `work wait`.

use std::time::{Duration, Instant};

use crate::fake_node::{FakeNode, Step, asks, greet, hear, play, say, signal, status, streams};

/// The byte from which on a stream is opened only to see it end.
const BEYOND: &str = "1099511627776";

/// The connections of waiting for a running unit until it ends so.
fn ends(unit: &str, state: i64, detail: &str) -> Vec<Vec<Step>> {
    let asked = format!("work status {unit}");
    vec![
        asks(&asked, &status(1, "Running: PID 7", 0)),
        streams(&format!("work results {unit} {BEYOND}"), unit, ""),
        asks(&asked, &status(state, detail, 5)),
    ]
}

#[test]
fn the_end_of_the_stream_is_the_end_of_the_unit() {
    play(&["work", "wait", "a"], ends("a", 2, "exit status 0")).assert(0, "a Succeeded exit status 0\n", "");
    play(&["work", "wait", "a"], ends("a", 3, "exit status 3")).assert(10, "a Failed exit status 3\n", "");
    play(&["work", "wait", "a"], ends("a", 4, "Canceled")).assert(11, "a Canceled Canceled\n", "");
}

#[test]
fn units_that_have_ended_are_not_waited_for() {
    let connections =
        vec![asks("work status a", &status(2, "exit status 0", 0)), asks("work status b", &status(4, "Canceled", 0))];
    let outcome = play(&["work", "wait", "a", "b"], connections);
    outcome.assert(11, "a Succeeded exit status 0\nb Canceled Canceled\n", "");
}

#[test]
fn all_units_are_waited_for() {
    let connections = [ends("a", 3, "exit status 3"), ends("b", 2, "exit status 0")].concat_steps();
    let outcome = play(&["work", "wait", "a", "b", "--json"], connections);
    let printed = "{\"a\":{\"StateName\":\"Failed\",\"Detail\":\"exit status 3\",\"ExitCode\":3},\
                   \"b\":{\"StateName\":\"Succeeded\",\"Detail\":\"exit status 0\",\"ExitCode\":0}}\n";
    outcome.assert(10, printed, "");
}

trait ConcatSteps {
    fn concat_steps(self) -> Vec<Vec<Step>>;
}

impl<const N: usize> ConcatSteps for [Vec<Vec<Step>>; N] {
    fn concat_steps(self) -> Vec<Vec<Step>> {
        self.into_iter().flatten().collect()
    }
}

#[test]
fn the_exit_code_can_be_the_units_own() {
    let code = |state, detail| play(&["work", "wait", "--exit-code", "a"], ends("a", state, detail)).code;
    assert_eq!(code(2, "exit status 0"), 0);
    assert_eq!(code(3, "exit status 42"), 42);
    assert_eq!(code(3, "signal: killed"), 137);
    assert_eq!(code(3, "Runner is gone"), 10);
    assert_eq!(code(4, "Canceled"), 11);
}

/// A connection that streams nothing until the client closes.
fn goes_on(unit: &str) -> Vec<Step> {
    let line = format!("work results {unit} {BEYOND}\n");
    let header = format!("Streaming results for work unit {unit}\n");
    vec![greet(), hear(line), say(header), Step::HearHangUp]
}

#[test]
fn any_unit_can_be_waited_for() {
    let (opened, was_opened) = signal();
    let running = |unit: &str| asks(&format!("work status {unit}"), &status(1, "Running: PID 7", 0));
    let mut second = vec![greet(), hear(format!("work results b {BEYOND}\n"))];
    second.extend([say("Streaming results for work unit b\n"), Step::Await(was_opened)]);
    let mut third = goes_on("c");
    third.insert(1, Step::Signal(opened));
    let connections = vec![
        running("a"),
        goes_on("a"),
        running("b"),
        second,
        running("c"),
        third,
        asks("work status b", &status(3, "exit status 3", 0)),
    ];
    let outcome = play(&["work", "wait", "--any", "a", "b", "c"], connections);
    outcome.assert(10, "b Failed exit status 3\n", "");
}

#[test]
fn time_can_be_limited() {
    for any in [&[][..], &["--any"]] {
        let connections = vec![asks("work status a", &status(0, "Queued", 0)), goes_on("a")];
        let began = Instant::now();
        let outcome = play(&[&["work", "wait", "a", "--timeout", "300ms"], any].concat(), connections);
        outcome.assert(124, "", "ERROR: timed out waiting for a");
        assert!(began.elapsed() >= Duration::from_millis(300));
    }
}

#[test]
fn what_has_ended_is_told_even_if_time_is_up() {
    let mut connections = vec![asks("work status a", &status(2, "exit status 0", 0))];
    connections.extend([asks("work status b", &status(1, "", 0)), goes_on("b")]);
    let outcome = play(&["work", "wait", "a", "b", "--timeout", "200ms"], connections);
    outcome.assert(124, "a Succeeded exit status 0\n", "ERROR: timed out waiting for b");
}

#[test]
fn an_unknown_unit_is_not_waited_for() {
    let connections = vec![asks("work status a", "ERROR: unknown work unit a")];
    play(&["work", "wait", "a"], connections).assert(1, "", "ERROR: unknown work unit a");
}

#[test]
fn a_node_that_is_gone_from_the_start_is_an_error_at_once() {
    let node = FakeNode::start(vec![]);
    std::fs::remove_file(node.socket()).unwrap();
    let outcome = node.ctl(&["work", "wait", "a"]).run();
    let told = format!("ERROR: Socket path does not exist: {}", node.socket().display());
    outcome.assert(1, "", &told);
}

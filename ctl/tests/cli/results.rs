//! Results and logs: what a unit has written.

use crate::fake_node::{FakeNode, Step, asks, greet, hear, play, say, status, streams};

fn ends(state: i64, detail: &str, output: &str) -> Vec<Vec<Step>> {
    let size = u64::try_from(output.len()).unwrap();
    vec![streams("work results a 0", "a", output), asks("work status a", &status(state, detail, size))]
}

#[test]
fn results_are_printed_raw_and_the_state_decides_the_code() {
    play(&["work", "results", "a"], ends(2, "exit status 0", "x\0y\n")).assert(0, "x\0y\n", "");
    let failed = play(&["work", "results", "a"], ends(3, "exit status 4", "z"));
    failed.assert(1, "z", "ERROR: Remote unit failed: exit status 4");
    assert!(failed.stderr.starts_with("ERROR: Remote unit failed: exit status 4\n\n"), "{}", failed.stderr);
    play(&["work", "results", "a"], ends(4, "Canceled", "")).assert(0, "", "");
}

#[test]
fn results_of_no_unit() {
    let refused = vec![asks("work results nosuch 0", "ERROR: unknown work unit nosuch")];
    let outcome = play(&["work", "results", "nosuch"], refused);
    outcome.assert(1, "", "ERROR: Failed to get results: unknown work unit nosuch");
}

#[test]
fn results_come_as_they_are_written() {
    use std::io::Read as _;
    let (read, was_read) = crate::fake_node::signal();
    let streaming = vec![
        greet(),
        hear("work results a 0\n"),
        say("Streaming results for work unit a\n"),
        Step::HearEnd,
        say("first\n"),
        Step::Await(was_read),
        say("second\n"),
    ];
    let node = FakeNode::start(vec![streaming, asks("work status a", &status(2, "exit status 0", 13))]);
    let mut child = node.ctl(&["work", "results", "a"]).spawn();
    let mut first = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"first\n");
    read.send(()).unwrap();
    crate::fake_node::Outcome::of(child).assert(0, "second\n", "");
    node.finish();
}

#[test]
fn a_stream_that_is_cut_goes_on_where_it_was() {
    let connections = vec![
        streams("work results a 0", "a", "first\n"),
        asks("work status a", &status(1, "Running: PID 7", 6)),
        streams("work results a 6", "a", "second\n"),
        asks("work status a", &status(2, "exit status 0", 13)),
    ];
    play(&["work", "results", "a"], connections).assert(0, "first\nsecond\n", "");
}

#[test]
fn a_restart_of_the_node_is_outlived() {
    // Between the cut and the resumption the node closes connections, with a word or without one.
    let connections = vec![
        streams("work results a 0", "a", "first\n"),
        vec![],
        vec![say("ERROR: node is shutting down\n")],
        vec![],
        streams("work results a 6", "a", "second\n"),
        asks("work status a", &status(3, "exit status 1", 13)),
    ];
    let outcome = play(&["work", "logs", "-f", "a"], prefixed(asks("work status a", &status(1, "", 0)), connections));
    outcome.assert(0, "first\nsecond\n", "");
}

fn prefixed(first: Vec<Step>, rest: Vec<Vec<Step>>) -> Vec<Vec<Step>> {
    std::iter::once(first).chain(rest).collect()
}

#[test]
fn the_stream_of_a_cancelled_unit_that_never_ends_is_left_after_a_silence() {
    // The original does not end it (control-protocol 3.10).
    let streaming = vec![
        greet(),
        hear("work results a 0\n"),
        say("Streaming results for work unit a\n"),
        Step::HearEnd,
        say("part"),
        Step::HearHangUp,
    ];
    let connections = vec![streaming, asks("work status a", &status(4, "Canceled", 4))];
    play(&["work", "results", "a"], connections).assert(0, "part", "");
}

#[test]
fn results_as_json_are_lines_with_their_offsets() {
    let printed = "{\"stream\":\"stdout\",\"offset\":0,\"text\":\"first\\n\"}\n\
                   {\"stream\":\"stdout\",\"offset\":6,\"text\":\"\\n\"}\n\
                   {\"stream\":\"stdout\",\"offset\":7,\"text\":\"é\"}\n";
    play(&["work", "results", "a", "--json"], ends(2, "", "first\n\né")).assert(0, printed, "");
}

#[test]
fn long_lines_come_in_pieces_as_json() {
    let line = "x".repeat(100_000);
    let outcome = play(&["work", "results", "a", "--json"], ends(2, "", &line));
    let pieces: Vec<serde_json::Value> =
        outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let offsets: Vec<_> = pieces.iter().map(|piece| piece["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, [0, 65_536]);
    let text: String = pieces.iter().map(|piece| piece["text"].as_str().unwrap()).collect();
    assert_eq!(text, line);
}

#[test]
fn logs_of_a_running_unit_end_at_what_there_is() {
    let streaming = vec![
        greet(),
        hear("work results a 0\n"),
        say("Streaming results for work unit a\n"),
        Step::HearEnd,
        say("one\ntwo\nthr"),
        Step::HearHangUp,
    ];
    let asked = asks("work status a", &status(1, "Running: PID 7", 8));
    play(&["work", "logs", "a"], vec![asked, streaming]).assert(0, "one\ntwo\n", "");
    let nothing = asks("work status a", &status(1, "Running: PID 7", 0));
    play(&["work", "logs", "a"], vec![nothing]).assert(0, "", "");
}

#[test]
fn logs_of_an_ended_unit_end_with_0_whatever_its_state() {
    let connections = || prefixed(asks("work status a", &status(3, "exit status 1", 0)), ends(3, "exit status 1", "x"));
    play(&["work", "logs", "a"], connections()).assert(0, "x", "");
    play(&["work", "logs", "a", "-f"], connections()).assert(0, "x", "");
}

/// The connections of `work logs --tail` of an ended unit with this output, which begins in the end at `start`.
fn tails(output: &str, start: usize) -> Vec<Vec<Step>> {
    let size = u64::try_from(output.len()).unwrap();
    let ended = status(2, "exit status 0", size);
    let rest = &output[start..];
    vec![
        asks("work status a", &ended),
        vec![
            greet(),
            hear("work results a 0\n"),
            say("Streaming results for work unit a\n"),
            Step::HearEnd,
            say(output),
        ],
        streams(&format!("work results a {start}"), "a", rest),
        asks("work status a", &ended),
    ]
}

#[test]
fn the_last_lines_can_be_asked_for() {
    for (output, lines, start) in [
        ("one\ntwo\nthree\n", "1", 8),
        ("one\ntwo\nthree", "1", 8),
        ("one\ntwo\nthree\n", "2", 4),
        ("one\ntwo\nthree\n", "3", 0),
        ("one\ntwo\nthree\n", "9", 0),
        ("one\n\n\n", "2", 4),
    ] {
        let outcome = play(&["work", "logs", "a", "--tail", lines], tails(output, start));
        outcome.assert(0, &output[start..], "");
    }
}

#[test]
fn the_last_lines_of_a_large_output_are_found_backwards() {
    let output: String = (0..300_000).map(|number| format!("line {number}\n")).collect();
    let size = output.len();
    let ended = status(2, "exit status 0", u64::try_from(size).unwrap());
    let block = size - (1 << 20);
    let start = size - "line 299999\n".len();
    let connections = vec![
        asks("work status a", &ended),
        streams(&format!("work results a {block}"), "a", &output[block..]),
        streams(&format!("work results a {start}"), "a", &output[start..]),
        asks("work status a", &ended),
    ];
    play(&["work", "logs", "a", "--tail", "1"], connections).assert(0, "line 299999\n", "");
}

#[test]
fn no_lines_can_be_asked_for() {
    let ended = status(2, "exit status 0", 4);
    let connections =
        vec![asks("work status a", &ended), streams("work results a 4", "a", ""), asks("work status a", &ended)];
    play(&["work", "logs", "a", "--tail", "0"], connections).assert(0, "", "");
}

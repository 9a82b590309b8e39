//! What is common to all verbs: stdout, stderr, colours, settings.

use std::io::Read as _;

use crate::fake_node::{Ctl, FakeNode, asks, eventually, play, streams};

#[test]
fn errors_are_coloured_on_request_only_without_a_terminal() {
    let refused = || vec![asks("reload", "ERROR: no")];
    assert_eq!(play(&["reload"], refused()).stderr, "ERROR: no\n");
    assert_eq!(play(&["reload", "--color", "always"], refused()).stderr, "\u{1b}[31mERROR: no\u{1b}[0m\n");
    let warned = play(&["--color", "always", "work", "cancel"], vec![]);
    assert!(warned.stderr.starts_with("\u{1b}[35mWarning: "), "{}", warned.stderr);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let output = "x".repeat(4 << 20);
    let node = FakeNode::start(vec![streams("work results a 0", "a", &output)]);
    let mut child = node.ctl(&["work", "results", "a"]).spawn();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    drop(stdout);
    crate::fake_node::Outcome::of(child).assert(0, "", "");
}

#[test]
fn settings_come_from_the_users_file() {
    let node = FakeNode::start(vec![asks("reload", r#"{"Success":true}"#)]);
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join(".config/worknode")).unwrap();
    let file = home.path().join(".config/worknode/ctl.toml");
    std::fs::write(&file, format!("socket = '{}'\n", node.socket().display())).unwrap();
    let ctl = || Ctl::new(&["reload"]).variable("HOME", home.path().to_str().unwrap());
    ctl().run().assert(0, "Reload successful\n", "");
    node.finish();

    std::fs::write(&file, "sock = 'x'\n").unwrap();
    let outcome = ctl().run();
    assert_eq!(outcome.code, 1);
    let begin = format!("ERROR: settings file {}: ", file.display());
    assert!(outcome.stderr.starts_with(&begin) && outcome.stderr.contains("sock"), "{}", outcome.stderr);
}

#[test]
fn the_originals_variables_are_known() {
    let node = FakeNode::start(vec![asks("reload", r#"{"Success":true}"#)]);
    let socket = node.socket();
    let outcome = Ctl::new(&["reload"]).variable("RECEPTORCTL_SOCKET", socket.to_str().unwrap()).run();
    outcome.assert(0, "Reload successful\n", "");
    node.finish();
}

#[test]
fn generated_texts_need_no_node() {
    for words in [&["completions", "bash"][..], &["man"], &["man", "work", "wait"], &["--help"], &["--version"]] {
        let outcome = Ctl::new(words).run();
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{words:?}");
        assert!(!outcome.stdout.is_empty());
    }
    Ctl::new(&["man", "bogus"]).run().assert(2, "", "ERROR: there is no verb bogus");
    assert_eq!(Ctl::new(&["bogus"]).run().code, 2);
}

#[test]
fn a_follower_leaves_no_process_behind() {
    use crate::fake_node::{Step, greet, hear, say};
    let (_held, never) = crate::fake_node::signal();
    let node = FakeNode::start(vec![vec![
        greet(),
        hear("work results a 0\n"),
        say("Streaming results for work unit a\n"),
        Step::Await(never),
    ]]);
    let mut child = node.ctl(&["work", "results", "a"]).spawn();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    eventually("ctl ends at SIGTERM", || child.try_wait().unwrap().is_some());
}

//! The first dialect on the command line: control-protocol 1.5.

use std::path::Path;

use super::*;

fn run(words: &[&str], host: &FakeHost) -> Start {
    let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
    match load(&words, host) {
        Ok(Startup::Run(start)) => *start,
        other => panic!("{words:?}: {other:?}"),
    }
}

fn split(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn what_is_refused() {
    let cases = [
        ("--log-level=debug", "command error: unknown config type log-level=debug"),
        ("--config=/rx/a.yml", "command error: unknown config type config=/rx/a.yml"),
        ("--bogus a=b c", "command error: unknown config type bogus"),
        ("id=a", "parameter specified before command"),
        ("-c /rx/a.yml id=a", "parameter specified before command"),
        ("--local-only x", "config error: command does not allow bare values"),
        ("--node bogus=x", "config error: unknown field name bogus"),
        ("--node BOGUS=x", "config error: unknown field name bogus"),
        ("--tcp-listener", "error in --tcp-listener: required parameter missing: port"),
        ("-TCP-listener cost=1", "error in -TCP-listener: required parameter missing: port"),
        ("--work-command worktype=a", "error in --work-command: required parameter missing: command"),
        (
            "--control-service Permissions=-rw",
            "error setting config value for field permissions: strconv.ParseInt: parsing \"-rw\": invalid syntax",
        ),
        (
            "--tcp-listener abc",
            "error setting config value for field Port: strconv.ParseInt: parsing \"abc\": invalid syntax",
        ),
        ("--node id=a --node id=b", "directive \"node\" is only allowed once"),
        ("-c /rx/a.yml --node id=b", "directive \"node\" is only allowed once"),
        ("--version --local-only", "cannot specify any other options with version"),
        ("--node id=localhost", "node ID \"localhost\" is reserved"),
        ("--config", "--config needs the name of a file"),
        ("-c --local-only", "--config needs the name of a file"),
        ("--log-level bogus", "bogus is not a valid log level name"),
        ("-c /nope", "error loading config file: open /nope: no such file or directory"),
        ("--bogus -c /nope", "command error: unknown config type bogus"),
        ("-c /nope --bogus", "error loading config file: open /nope: no such file or directory"),
    ];
    for (line, expected) in cases {
        assert_eq!(outcome(&split(line), &host("- node: {id: a}")), format!("Error: {expected}"), "{line}");
    }
    // An item of a file that another source gave before is told in the file's words.
    assert_eq!(
        outcome(&["--node", "id=b", "-c", FILE], &host("- node: {id: a}")),
        "Error: error loading config file: only one node directive is allowed"
    );
}

/// "`--action [param=value | barevalue] ...`; one or two leading dashes, any case".
#[test]
fn actions_are_read_in_all_forms() {
    for line in [
        "--node id=x --local-only --log-level debug",
        "-NODE ID=x -Local-Only -log-LEVEL Debug",
        "--node x --local-only --log-level level=debug",
    ] {
        let config = run(&split(line), &host("")).config;
        assert_eq!(config.node.id.as_str(), "x", "{line}");
        assert!(config.local_only);
        assert_eq!(config.log_level, super::super::model::LogLevel::Debug);
    }
}

#[test]
fn a_value_may_hold_anything() {
    let words = ["--work-command", "worktype=a", "command=/bin/sh", "params=-c 'x=y -h --help'"];
    let start = run(&words, &host(""));
    assert_eq!(command(&start.config).params, "-c 'x=y -h --help'");
    let start = run(&["--work-command", "worktype=a", "command=", "params="], &host(""));
    assert_eq!(command(&start.config).command, "");
}

/// "Repeating a parameter overwrites (lists append)."
#[test]
fn a_parameter_given_again_overwrites_or_appends() {
    assert_eq!(run(&["--node", "id=a", "id=b"], &host("")).config.node.id.as_str(), "b");
    let digest = |digit: &str| digit.repeat(64);
    let (first, second) = (format!("pinnedservercert={}", digest("a")), format!("pinnedservercert={}", digest("b")));
    let words = ["--tls-client", "name=c", "cert=", "key=", &first, &second];
    assert_eq!(run(&words, &host("")).config.tls_clients[0].pinned_server_cert.len(), 2);
}

#[test]
fn maps_and_rules_are_given_as_json() {
    let rules = r#"firewallrules=[{"action": "drop", "tonode": "a"}]"#;
    assert_eq!(run(&["--node", rules], &host("")).config.node.firewall_rules.len(), 1);
}

/// "`--config FILE` / `-c FILE` merges a file."
#[test]
fn files_are_merged_in_order() {
    let host = FakeHost::with(&[
        ("/a", "- node: {id: a}\n- work-command: {worktype: one, command: x}\n"),
        ("/b", "- work-command: {worktype: three, command: x}\n- local-only\n"),
    ]);
    let words = ["--config", "/a", "--work-command", "worktype=two", "command=x", "-C", "/b"];
    let start = run(&words, &host);
    let names: Vec<_> = start.config.work_types.iter().map(WorkType::name).collect();
    assert_eq!(names, ["one", "two", "three"]);
    assert!(start.config.local_only);
    assert!(start.reload.is_some());
    assert!(run(&["--local-only"], &host).reload.is_none());
}

#[test]
fn words_that_end_the_matter() {
    let host = host("- node: {id: a}");
    for line in ["--help", "-h", "-H", "--HELP --bogus", "-c /nope --help", ""] {
        assert_eq!(outcome(&split(line), &host), "help", "{line}");
    }
    for line in ["--version", "-version", "--Version", "--config-v2 --version"] {
        assert_eq!(outcome(&split(line), &host), "version", "{line}");
    }
    assert_eq!(outcome(&["--config-v2", "--help"], &host), "help");
}

/// With nothing named, the usual files are looked for.
#[test]
fn the_usual_files_are_read() {
    let node = ("/etc/worknode/node.yml", "- node: {id: ours}");
    let receptor = ("/etc/receptor/receptor.conf", "- node: {id: theirs}");
    assert_eq!(run(&[], &FakeHost::with(&[node, receptor])).config.node.id.as_str(), "ours");
    assert_eq!(run(&[], &FakeHost::with(&[receptor])).config.node.id.as_str(), "theirs");
    let report = outcome(&["--check-config"], &FakeHost::with(&[]));
    assert_eq!(
        report,
        "Error: no configuration file: there is neither /etc/worknode/node.yml nor /etc/receptor/receptor.conf"
    );
    assert!(run(&["--local-only"], &FakeHost::with(&[node])).config.node.id.as_str() == "host1");
}

#[test]
fn the_help_names_every_action() {
    let Ok(Startup::Help(text)) = load(&["--help".to_owned()], &host("")) else { panic!() };
    for action in super::super::schema::ACTIONS {
        assert!(text.contains(&format!("\n  --{}: ", action.name)), "{}", action.name);
    }
    assert!(text.contains("      filename=<file>: path of a Unix socket\n"));
    assert!(text.contains("      worktype=<text>: name of the work type (required)\n"));
    assert!(text.contains(" (not in this version)"));
    // The example in it works.
    let words = [
        "--node",
        "id=a",
        "--local-only",
        "--control-service",
        "filename=/tmp/a.sock",
        "--work-command",
        "worktype=cat",
        "command=cat",
    ];
    let start = run(&words, &host(""));
    assert_eq!(start.config.control_services[0].filename.as_deref(), Some(Path::new("/tmp/a.sock")));
}

//! Configuration files that are refused: control-protocol 1.2 to 1.4, 2.1 and 5.1. Each is given to the daemon, and to the
//! Go daemon named by `RECEPTOR_BIN` where that is set, and must end it with exit code 1 and the text.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use worknode_tests::certificates::Certificates;
use worknode_tests::{Harness, Kind, Node, Program, skipped};

/// A file and what is said of it after `Error: `. In both, `@DIR@` is the node's directory; the file has `NODE` before it.
type Case = (&'static str, &'static str);

/// What a refused file needs not say itself.
const NODE: &str = "- node: {id: n1, datadir: '@DIR@/data'}\n- local-only:\n";

/// Time in which a daemon finds out that its file is wrong.
const LIMIT: Duration = Duration::from_secs(20);

const GRAMMAR: &[Case] = &[
    (
        "- bogus: {a: 1}",
        "error loading config file: could not get config type for command bogus: unknown config type bogus",
    ),
    (
        "- CONTROL-Service: {service: control}",
        "error loading config file: could not get config type for command CONTROL-Service: unknown config type CONTROL-Service",
    ),
    (
        "- control-service: {bogus: 1}",
        "error loading config file: field bogus not defined for command control-service: unknown field name bogus",
    ),
    (
        "- tcp-listener: {port: 1}\n  udp-listener: {port: 1}",
        "error loading config file: config format invalid: item has multiple names",
    ),
    ("- [a, b]", "error loading config file: unknown config file format"),
    ("- 1: {a: 1}", "error loading config file: section key is not a string"),
    ("- tcp-peer: [a]", "error loading config file: invalid config format for tcp-peer"),
    ("- tcp-listener: 21950", "error loading config file: invalid config format for tcp-listener"),
    ("- node: n2", "error loading config file: only one node directive is allowed"),
    ("- local-only", "error loading config file: only one local-only directive is allowed"),
    ("- log-level: info\n- log-level: info", "error loading config file: only one log-level directive is allowed"),
    (
        "- work-command: {worktype: a}",
        "error loading config file: error in work-command: required parameter missing: command",
    ),
    (
        "- control-service: {service: }",
        "error loading config file: error setting field service in command control-service: value cannot be nil",
    ),
];

const VALUES: &[Case] = &[
    (
        "- control-service: {filename: x, permissions: '-rw'}",
        "error loading config file: error setting field permissions in command control-service: strconv.ParseInt: parsing \"-rw\": invalid syntax",
    ),
    (
        "- tcp-listener: {port: 1, cost: x}",
        "error loading config file: error setting field cost in command tcp-listener: strconv.ParseFloat: parsing \"x\": invalid syntax",
    ),
    (
        "- work-command: {worktype: a, command: b, allowruntimeparams: 'on'}",
        "error loading config file: error setting field allowruntimeparams in command work-command: could not parse on as boolean",
    ),
    (
        "- work-command: {worktype: a, command: b, allowruntimeparams: 1}",
        "error loading config file: error setting field allowruntimeparams in command work-command: type error (expected bool)",
    ),
    (
        "- work-command: {worktype: a, command: [b]}",
        "error loading config file: error setting field command in command work-command: type error (expected string)",
    ),
];

const CHECKS: &[Case] = &[
    ("- log-level: bogus", "bogus is not a valid log level name"),
    ("- tcp-listener: {port: 1, cost: 0.0}", "connection cost must be positive"),
    ("- tcp-listener: {port: 1, nodecost: {a: 0.0}}", "connection cost must be positive for a"),
    ("- tcp-peer: {address: 127.0.0.1}", "address 127.0.0.1: missing port in address"),
    ("- ws-peer: {address: 'ws://127.0.0.1:1', extraheader: x}", "extra header must be in the form key:value"),
    ("- control-service: {filename: '@DIR@/socket', tls: nosuch}", "unknown TLS config nosuch"),
    (
        "- tls-server: {name: a, cert: /nope, key: /nope}",
        "error preparing tls server config: open /nope: no such file or directory",
    ),
    (
        "- work-command: {worktype: a, command: b}\n- work-command: {worktype: a, command: c}",
        "work type a already registered",
    ),
    ("- work-command: {worktype: remote, command: b}", "work type remote already registered"),
    (
        "- work-command: {worktype: a, command: b, verifysignature: true}",
        "VerifySignature for work command 'a' is true, but the work verification public key is not specified",
    ),
    ("- work-verification: /nope", "/nope does not exist"),
    ("- work-signing: {privatekey: /nope, tokenexpiration: 5m}", "/nope does not exist"),
    (
        "- work-signing: {privatekey: '@DIR@/node.yml', tokenexpiration: '5'}",
        "failed to parse TokenExpiration -- valid examples include '1.5h', '30m', '30m10s'",
    ),
    (
        "- control-service: {service: toolongname, filename: '@DIR@/socket'}",
        "error opening Unix socket: service name toolongname too long",
    ),
    (
        "- control-service: {service: ping, filename: '@DIR@/socket'}",
        "error opening Unix socket: service ping is already listening",
    ),
    ("- control-service: {service: ''}", "no listeners specified"),
    (
        "- control-service: {filename: '@DIR@/absent/socket'}",
        "error opening Unix socket: could not acquire lock on socket file: no such file or directory",
    ),
];

const NODES: &[Case] = &[
    ("- node: {id: localhost}\n- local-only:", "node ID \"localhost\" is reserved"),
    ("- node: {id: LocalHost}\n- local-only:", "node ID \"localhost\" is reserved"),
    (
        "- node: {id: n1, maxidleconnectiontimeout: 10s}\n- local-only:",
        "user defined maxIdleConnectionTimeout [10000000000] is less than the default default timeout [21000000000]",
    ),
    (
        "- node: {id: n1, maxidleconnectiontimeout: soon}\n- local-only:",
        "failed to parse MaxIdleConnectionTimeout from configuration file -- valid examples include '1.5h', '30m', '30m10s'",
    ),
    ("- node: {id: n1, firewallrules: [{action: zap}]}\n- local-only:", "error in rule 0: unknown action: zap"),
    (
        "- node: {id: n1, firewallrules: [{action: drop, bogus: x}]}\n- local-only:",
        "error in rule 0: invalid filewall rule. unknown key: bogus",
    ),
    (
        "- node: {id: n1, firewallrules: [{action: drop, fromnode: 1}]}\n- local-only:",
        "error in rule 0: invalid firewall rule. fromnode must be a string",
    ),
    ("- node: [a]", "error loading config file: invalid config format for node"),
];

const KUBERNETES: &[Case] = &[
    ("- work-kubernetes: {worktype: k, authmethod: bogus, image: i}", "invalid AuthMethod: bogus"),
    (
        "- work-kubernetes: {worktype: k, authmethod: incluster, image: i}",
        "must provide namespace when AuthMethod is not kubeconfig",
    ),
    (
        "- work-kubernetes: {worktype: k, authmethod: incluster, namespace: a, image: i, kubeconfig: /nope}",
        "can only provide KubeConfig when AuthMethod=kubeconfig",
    ),
    (
        "- work-kubernetes: {worktype: k, authmethod: kubeconfig, image: i, kubeconfig: /nope}",
        "error accessing kubeconfig file: stat /nope: no such file or directory",
    ),
    (
        "- work-kubernetes: {worktype: k, authmethod: kubeconfig, image: i, pod: /nope}",
        "can only provide Pod when Image, Command, and Params are empty",
    ),
    ("- work-kubernetes: {worktype: k, authmethod: kubeconfig}", "must specify a container image to run"),
    (
        "- work-kubernetes: {worktype: k, authmethod: kubeconfig, image: i, streammethod: bogus}",
        "stream mode must be logger or tcp",
    ),
];

/// Every list with what stands before its cases.
const ALL: &[(&str, &[Case])] = &[(NODE, GRAMMAR), (NODE, VALUES), (NODE, CHECKS), ("", NODES), (NODE, KUBERNETES)];

fn node(program: &Program, text: &str) -> Result<Node> {
    let harness = Harness::of(program.clone())?;
    let text = text.replace("@DIR@", &harness.directory().to_string_lossy());
    harness.config_text(&text).prepare()
}

/// Gives the file to the daemon, and compares what it prints and how it ends.
fn refused(program: &Program, before: &str, (file, expected): &Case) -> Result<()> {
    let mut node = node(program, &format!("{before}{file}\n"))?;
    node.spawn()?;
    let status = node.wait_for_end(LIMIT)?;
    let expected = format!("Error: {}", expected.replace("@DIR@", &node.root().to_string_lossy()));
    let log = node.log();
    ensure!(status.code() == Some(1), "{file}\n{status}, printed {log}");
    ensure!(log.lines().any(|line| line == expected), "{file}\nexpected {expected}\nprinted {log}");
    Ok(())
}

/// Goes on after a failure, so that one run shows them all.
fn all_refused(program: &Program) -> Result<()> {
    let outcomes = ALL.iter().flat_map(|(before, cases)| cases.iter().map(move |case| refused(program, before, case)));
    let failures: Vec<String> = outcomes.filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}

#[test]
fn worknoded_refuses() -> Result<()> {
    all_refused(&Program::worknoded()?)
}

#[test]
fn receptor_refuses() -> Result<()> {
    match Program::receptor() {
        Some(receptor) => all_refused(&receptor),
        None => {
            skipped("RECEPTOR_BIN names no Go daemon");
            Ok(())
        }
    }
}

/// Nothing is made before the whole file is known to be right.
#[test]
fn a_refused_file_leaves_nothing_behind() -> Result<()> {
    let file = format!(
        "{NODE}- control-service: {{filename: '@DIR@/socket'}}\n- work-command: {{worktype: remote, command: a}}\n"
    );
    let mut node = node(&Program::worknoded()?, &file)?;
    node.spawn()?;
    ensure!(node.wait_for_end(LIMIT)?.code() == Some(1));
    let mut left: Vec<_> =
        fs::read_dir(node.root())?.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>()?;
    left.sort();
    ensure!(left == ["log", "node.yml"], "{left:?}");
    ensure!(node.kind() == Kind::Worknoded);
    Ok(())
}

/// The check finds in the certificates what the start would find: nobody learns of it with the service down.
#[test]
fn the_check_looks_into_certificates_as_the_start_does() -> Result<()> {
    let program = Program::worknoded()?;
    let directory = tempfile::tempdir()?;
    Certificates::write(directory.path())?;
    for (key, reason) in
        [("server", "nodeID=n1 not found in certificate name(s)"), ("client", "keys may not be consistent")]
    {
        let file = format!(
            "{NODE}- tls-server: {{name: a, cert: '@DIR@/server.pem', key: '@DIR@/{key}.key'}}\n\
             - control-service: {{filename: '@DIR@/socket'}}\n"
        );
        let path = directory.path().join("node.yml");
        fs::write(&path, file.replace("@DIR@", &directory.path().to_string_lossy()))?;
        for words in [&["--check-config", "-c"][..], &["-c"]] {
            let output = Command::new(&program.path).args(words).arg(&path).output()?;
            let text = String::from_utf8(output.stdout)?;
            ensure!(output.status.code() == Some(1) && text.contains(reason), "{words:?}: {text}");
        }
    }
    Ok(())
}

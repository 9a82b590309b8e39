//! The second dialect: control-protocol 1.6, read strictly.

use super::super::model::RateLimiter;
use super::*;

fn v2(text: &str) -> String {
    outcome(&["--config", FILE, "--config-v2"], &host(text))
}

fn start_v2(text: &str) -> Start {
    let words = ["--config-v2", "-c", FILE].map(str::to_owned);
    match load(&words, &host(text)) {
        Ok(Startup::Run(start)) => *start,
        other => panic!("{text}: {other:?}"),
    }
}

const WHOLE: &str = "\
version: 2
Node:
  ID: foo
  datadir: /d
  receptorkubeclientsetqps: 7
  receptorkubeclientsetratelimiter: never
log-level: {level: debug}
trace: {}
local-only: {local: true}
control-services:
  - {service: '', filename: /s, permissions: 0}
  - {service: other, filename: /t, permissions: '0660'}
tls-servers: [{name: s, cert: /rx/pub.pem, key: /rx/key.pem}]
tls-clients: [{name: c, cert: '', key: ''}]
work-commands:
  - {worktype: a, command: b}
work-kubernetes: {worktype: k, allowruntimeauth: true, allowruntimepod: true}
tcp-peers:
daemon: {maxconnections: 5}
";

#[test]
fn sections_are_read() {
    let start = start_v2(WHOLE);
    let config = &start.config;
    assert_eq!(config.node.id.as_str(), "foo");
    assert_eq!(config.log_level, super::super::model::LogLevel::Debug);
    assert!(config.local_only);
    assert_eq!(config.limits.connections, 5);
    // An empty value counts as none.
    assert_eq!(config.control_services[0].service, "control");
    assert_eq!(config.control_services[0].permissions, 0o600);
    assert_eq!(config.control_services[1].permissions, 0o660);
    let Some(WorkType::Kubernetes(kubernetes)) = config.work_types.last() else { panic!() };
    // "`deletepodonrestart` is therefore false in v2 unless set".
    assert!(!kubernetes.delete_pod_on_restart);
    assert_eq!(kubernetes.auth_method, super::super::model::AuthMethod::InCluster);
    // "First output lines".
    assert_eq!(start.lines, ["Running v2 cli/config", "Using config file: /rx/a.yml"]);
}

/// "where v2 is active and the file says `version: 2`, the Kubernetes tuning values are taken from the `node` section".
#[test]
fn the_version_decides_where_the_tuning_comes_from() {
    let tuning = start_v2(WHOLE).config.kube_tuning;
    assert_eq!((tuning.qps, tuning.rate_limiter), (Some(7), RateLimiter::NeverAccept));
    let tuning = start_v2(&WHOLE.replace("version: 2\n", "")).config.kube_tuning;
    assert_eq!((tuning.qps, tuning.rate_limiter), (None, RateLimiter::TokenBucket));
}

/// What receptor ignores is refused here.
#[test]
fn what_is_refused() {
    let load = [
        ("- node: {id: a}", "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!seq into map[string]interface {}"),
        ("nodes: {id: a}", "unknown section nodes"),
        ("command-service: {}", "unknown section command-service"),
        ("work-python: {}", "unknown section work-python"),
        ("node: {bogus: a}", "field bogus not defined for command node: unknown field name bogus"),
        ("node: foo", "invalid config format for node"),
        ("log-level: debug", "invalid config format for log-level"),
        ("local-only:", "invalid config format for local-only"),
        ("work-commands: [{worktype: a}]", "error in work-commands: required parameter missing: command"),
        ("work-commands: [a]", "invalid config format for work-commands"),
        ("node: {id: a}\nNODE: {id: b}", "only one node directive is allowed"),
        ("node: {id: [a]}", "error setting field id in command node: type error (expected string)"),
        ("5: a", "section key is not a string"),
    ];
    for (text, expected) in load {
        assert_eq!(v2(text), format!("Error: error loading config file: {expected}"), "{text}");
    }
    let check = [
        ("node: {id: localhost}", "node ID \"localhost\" is reserved"),
        ("work-signing: {privatekey: /nope}", "/nope does not exist"),
        (
            "work-commands: [{worktype: a, command: b, memorymax: 1Gi}]",
            "key memorymax of work-command is not available in this version of worknode",
        ),
    ];
    for (text, expected) in check {
        assert_eq!(v2(text), format!("Error: {expected}"), "{text}");
    }
}

#[test]
fn local_only_must_hold_something() {
    assert!(start_v2("local-only: {local: true}").config.has_backend());
    assert!(!start_v2("local-only: {local: false}").config.has_backend());
    assert!(!start_v2("node: {id: a}").config.has_backend());
}

#[test]
fn its_command_line_is_its_own() {
    let mut host = host("local-only: {local: true}");
    assert_eq!(outcome(&["--config=/rx/a.yml", "--config-v2"], &host), "ok");
    assert_eq!(outcome(&["--config-v2", "--node", "id=a"], &host), "Error: unknown flag: --node");
    assert_eq!(outcome(&["--config-v2", "--config"], &host), "Error: --config needs the name of a file");
    assert_eq!(
        outcome(&["--config-v2", "-c", "/nope"], &host),
        "Error: error loading config file: open /nope: no such file or directory"
    );
    let lost = "Error: Could not locate config file (default is $HOME/receptor.yaml)";
    assert_eq!(outcome(&["--config-v2"], &host), lost);
    host.variables.insert("HOME".to_owned(), "/home/x".to_owned());
    assert_eq!(outcome(&["--config-v2"], &host), lost);
    host.files.insert("/home/x/receptor.yaml".to_owned(), "node: {id: a}".to_owned());
    assert_eq!(outcome(&["--config-v2"], &host), "ok");
}

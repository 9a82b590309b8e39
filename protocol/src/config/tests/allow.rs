//! Rules of control services, in all three ways to write them.

use super::super::model::allow::{AllowRule, Names, Origin, Rights, Units, Who};
use super::*;

const TLS: &str = "- tls-server: {name: t, cert: /rx/pub.pem, key: /rx/key.pem, requireclientcert: true}\n";

fn rules(config: NodeConfig) -> Option<Vec<AllowRule>> {
    config.control_services.into_iter().next().and_then(|service| service.allow)
}

/// The text after `error in control-service: ` for a service with these keys.
fn refused(keys: &str) -> String {
    let text = file(&format!("- control-service: {{service: control, {keys}}}"));
    text.strip_prefix("Error: error in control-service: ").unwrap_or(&text).to_owned()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn without_the_key_there_are_no_rules() {
    assert_eq!(rules(config("- control-service:")), None);
}

#[test]
fn everything_that_a_rule_can_say() {
    let text = format!(
        "{TLS}- control-service:
    filename: /rx/s
    tls: t
    allow:
    - {{uid: 0, all: true}}
    - {{from: unix, gid: [1000, '1001'], Status: true, submit: [cat, 7], results: own, cancel: own, release: any}}
    - {{node: hub, certificate: [hub, ci.example.org], submit: any, remote: edge7, connect: any, reload: yes}}
"
    );
    let expected = vec![
        AllowRule { who: Who { uids: vec![0], ..Who::default() }, rights: Rights::all() },
        AllowRule {
            who: Who { from: vec![Origin::Unix], gids: vec![1000, 1001], ..Who::default() },
            rights: Rights {
                status: true,
                submit: Names::Only(names(&["cat", "7"])),
                results: Units::Own,
                cancel: Units::Own,
                release: Units::Any,
                ..Rights::default()
            },
        },
        AllowRule {
            who: Who { nodes: names(&["hub"]), certificates: names(&["hub", "ci.example.org"]), ..Who::default() },
            rights: Rights {
                submit: Names::Any,
                remote: Names::Only(names(&["edge7"])),
                connect: Names::Any,
                reload: true,
                ..Rights::default()
            },
        },
    ];
    assert_eq!(rules(config(&text)), Some(expected));
}

#[test]
fn a_word_that_means_all_is_a_name_inside_a_list() {
    let read = rules(config("- control-service: {allow: [{submit: [any]}]}"));
    assert_eq!(
        read.and_then(|rules| rules.into_iter().next()).map(|rule| rule.rights.submit),
        Some(Names::Only(names(&["any"])))
    );
}

#[test]
fn on_the_command_line_rules_are_json() {
    let words = |rules: &str| {
        let words = ["--local-only", "--control-service", "service=control", &format!("allow={rules}")];
        outcome(&words, &host(""))
    };
    assert_eq!(words(r#"[{"node":"hub","status":true}]"#), "ok");
    assert_eq!(
        words(r#"[{"node":"hub","bogus":true}]"#),
        "Error: error in control-service: allow rule 1: unknown key: bogus"
    );
    assert!(words("[{").starts_with("Error: error in control-service: allow: "), "{}", words("[{"));
}

#[test]
fn in_the_second_dialect_they_are_the_same() {
    let text = "version: 2\nnode: {id: n1}\nlocal-only: {local: true}\ncontrol-services:\n- service: control\n  allow:\n  - {node: hub, status: true}\n";
    let words = |text: &str| outcome(&["--config", FILE, "--config-v2"], &host(text));
    assert_eq!(words(text), "ok");
    assert_eq!(
        words(&text.replace("status", "stats")),
        "Error: error in control-service: allow rule 1: unknown key: stats"
    );
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (keys, expected) in [
        ("allow: ", "allow: no rule is given, so nobody could do anything"),
        ("allow: []", "allow: no rule is given, so nobody could do anything"),
        ("allow: {uid: 0}", "allow: expected a list of rules"),
        ("allow: everybody", "allow: expected a list of rules"),
        ("allow: [everybody]", "allow rule 1: expected a map of keys and values"),
        ("allow: [{status: true}, {}]", "allow rule 2: gives no right"),
        ("allow: [{node: hub}]", "allow rule 1: gives no right"),
        ("allow: [{status: false}]", "allow rule 1: gives no right"),
        ("allow: [{user: root, status: true}]", "allow rule 1: unknown key: user"),
        ("filename: /rx/s, allow: [{uid: root, all: true}]", "allow rule 1: uid must be a number or a list of numbers"),
        ("filename: /rx/s, allow: [{uid: -1, all: true}]", "allow rule 1: uid must be a number or a list of numbers"),
        ("filename: /rx/s, allow: [{gid: [], all: true}]", "allow rule 1: gid must be a number or a list of numbers"),
        ("allow: [{node: [], all: true}]", "allow rule 1: node must be a name or a list of names"),
        ("allow: [{node: '', all: true}]", "allow rule 1: node must be a name or a list of names"),
        ("allow: [{from: udp, all: true}]", "allow rule 1: from must be unix, tcp or mesh, or a list of them"),
        ("allow: [{submit: true}]", "allow rule 1: submit must be any, a name or a list of names"),
        ("allow: [{submit: []}]", "allow rule 1: submit must be any, a name or a list of names"),
        ("allow: [{cancel: true}]", "allow rule 1: cancel must be own or any"),
        ("allow: [{results: all}]", "allow rule 1: results must be own or any"),
        ("allow: [{status: own}]", "allow rule 1: status must be true or false"),
        ("allow: [{all: any}]", "allow rule 1: all must be true or false"),
        (
            "filename: /rx/s, allow: [{uid: 0, node: hub, all: true}]",
            "allow rule 1: uid and gid are of the Unix socket, node is of the mesh, certificate of TCP and mesh: no client has all of this",
        ),
        (
            "allow: [{uid: 0, all: true}]",
            "allow rule 1: is for clients of listeners that this control service does not have",
        ),
        (
            "allow: [{from: tcp, all: true}]",
            "allow rule 1: is for clients of listeners that this control service does not have",
        ),
        (
            "tcplisten: '1', allow: [{certificate: ci, all: true}]",
            "allow rule 1: certificate needs a tls-server with requireclientcert at this control service",
        ),
    ] {
        assert_eq!(refused(keys), expected, "{keys}");
    }
}

/// Every rule that is wrong is told at its place.
#[test]
fn the_check_mode_names_the_line() {
    let text = "- local-only:\n- control-service:\n    service: control\n    allow:\n    - {node: hub, status: true}\n    - {node: hub}\n    - {stats: true}\n";
    let report = outcome(&["--check-config", "-c", FILE], &host(text));
    for line in [
        "/rx/a.yml:4:5: warning: control-service: allow rule 1 trusts the names that nodes give themselves; with a tls-server that has requireclientcert they must prove them",
        "/rx/a.yml:6:7: error: error in control-service: allow rule 2: gives no right",
        "/rx/a.yml:7:8: error: error in control-service: allow rule 3: unknown key: stats",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
    let proven = format!("{TLS}- local-only:\n- control-service: {{tls: t, allow: [{{node: hub, status: true}}]}}\n");
    let report = outcome(&["--check-config", "-c", FILE], &host(&proven));
    assert!(!report.contains("trusts the names"), "{report}");
}

//! What the check mode prints.

use super::*;

fn check(text: &str) -> (String, u8) {
    let words = ["--check-config", "-c", FILE].map(str::to_owned);
    match load(&words, &host(text)) {
        Ok(Startup::CheckConfig(report)) => (report.text.clone(), report.exit_code()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_mistake_is_told_with_its_place_and_what_would_be_right() {
    let text = "\
- node: {id: a, datadri: /d}
- Local-only:
- control-service:
    filname: /s
    permissions: rw
- work-command: {worktype: a}
- conrtol-service: {}
";
    let expected = "\
/rx/a.yml:1:17: error: field datadri not defined for command node: unknown field name datadri
    did you mean `datadir`?
/rx/a.yml:2:3: error: could not get config type for command Local-only: unknown config type Local-only
    write `local-only`: names of actions are lower case in a file
/rx/a.yml:4:5: error: field filname not defined for command control-service: unknown field name filname
    did you mean `filename`?
/rx/a.yml:5:5: error: error setting field permissions in command control-service: strconv.ParseInt: parsing \"rw\": invalid syntax
    write a whole number; with a leading 0 it is octal, as in '0660'
/rx/a.yml:6:3: error: error in work-command: required parameter missing: command
    add command
/rx/a.yml:7:3: error: could not get config type for command conrtol-service: unknown config type conrtol-service
    did you mean `control-service`?
6 errors
";
    assert_eq!(check(text), (expected.to_owned(), 1));
}

#[test]
fn checks_are_told_with_their_place() {
    let text = "\
- node: {id: localhost}
- log-level: verbose
- control-service: {filename: /s, tls: none}
- tcp-listener: {port: 1, cost: 0}
- work-kubernetes: {worktype: k, authmethod: magic, cpulimit: 5}
";
    let expected = "\
/rx/a.yml:1:10: error: node ID \"localhost\" is reserved
    name the node with `- node: {id: NAME}`
/rx/a.yml:2:14: error: verbose is not a valid log level name
    write error, warning, info or debug
/rx/a.yml:4:27: error: connection cost must be positive
/rx/a.yml:5:34: error: invalid AuthMethod: magic
    write kubeconfig, incluster or runtime
/rx/a.yml:5:3: error: must specify a container image to run
/rx/a.yml:3:35: error: unknown TLS config none
    add a tls-server or tls-client of that name
/rx/a.yml:5:53: error: key cpulimit of work-kubernetes is not available in this version of worknode
7 errors
";
    assert_eq!(check(text), (expected.to_owned(), 1));
}

#[test]
fn a_syntax_error_is_told_with_line_and_column() {
    let (text, code) = check("- node: {id: a\n- b\n");
    assert_eq!(
        text,
        "/rx/a.yml:1:9: error: yaml: line 1: did not find expected ',' or '}'\n    look at indentation, quotes and brackets up to this place\n1 error\n"
    );
    assert_eq!(code, 1);
}

#[test]
fn a_good_file_is_summed_up() {
    let text = "\
- node: {id: a, datadir: /d}
- local-only:
- log-level: info
- tls-server: {name: s, cert: /rx/pub.pem, key: /rx/key.pem}
- control-service: {filename: /s, permissions: '0660', tcplisten: '127.0.0.1:5', tcptls: s}
- work-command: {worktype: cat, command: cat, params: -u, allowruntimeparams: true}
- work-kubernetes: {worktype: k, authmethod: runtime, allowruntimeauth: true, allowruntimepod: true, verifysignature: true}
";
    let expected = "\
/rx/a.yml: OK
  node         a, data in /d/a
  log level    info
  control      Unix socket /s (mode 0660), TCP 127.0.0.1:5 with TLS s, service control of the mesh
  tls-server   s
  work type    cat: command cat -u; clients may give params
  work type    k: pod by a kubeconfig of the client; clients may give auth, pod; signed
  limits       command lines of 16777216 bytes, 10000 connections
";
    assert_eq!(check(text), (expected.to_owned(), 0));
}

#[test]
fn nothing_to_do_is_a_mistake() {
    let (text, code) = check("- node: {id: a}\n");
    assert_eq!(text, "/rx/a.yml: error: Nothing to do - no backends are running.\n    add `- local-only:`\n1 error\n");
    assert_eq!(code, 1);
}

#[test]
fn warnings_do_not_fail_the_check() {
    let (text, code) = check("- local-only\n- control-service: {filename: /s, permissions: 600}\n");
    assert!(text.starts_with("/rx/a.yml:2:35: warning: permissions 600 are the mode 01130;"), "{text}");
    assert_eq!(code, 0);
}

//! The grammar of the first dialect: control-protocol 1.2, and what control-protocol 1.1 says of a file of the second.

use super::*;

/// The table of control-protocol 1.2. All texts follow `Error: error loading config file: `.
#[test]
fn what_is_refused() {
    let cases = [
        ("- bogus: {a: 1}", "could not get config type for command bogus: unknown config type bogus"),
        (
            "- CONTROL-Service: {filename: x}",
            "could not get config type for command CONTROL-Service: unknown config type CONTROL-Service",
        ),
        (
            "- control-service: {bogus: 1}",
            "field bogus not defined for command control-service: unknown field name bogus",
        ),
        ("- node: {id: a}\n  local-only:", "config format invalid: item has multiple names"),
        ("- {}", "config format invalid: item has multiple names"),
        ("- [node]", "unknown config file format"),
        ("- 5", "unknown config file format"),
        ("- ~", "unknown config file format"),
        ("- 5: {}", "section key is not a string"),
        ("- on: {}", "section key is not a string"),
        ("- node: [a]", "invalid config format for node"),
        ("- tcp-listener: 21950", "invalid config format for tcp-listener"),
        ("- log-level: on", "invalid config format for log-level"),
        ("- node: {5: a}", "invalid config format for node"),
        ("- local-only: x", "could not get barevalue for command local-only: command does not allow bare values"),
        ("- node: {id: a}\n- node: {id: b}", "only one node directive is allowed"),
        ("- local-only\n- local-only:", "only one local-only directive is allowed"),
        ("- log-level: info\n- log-level: {level: debug}", "only one log-level directive is allowed"),
        ("- trace\n- trace", "only one trace directive is allowed"),
        ("- work-signing: a\n- work-signing: a", "only one work-signing directive is allowed"),
        ("- work-verification: a\n- work-verification: a", "only one work-verification directive is allowed"),
        ("- work-command: {worktype: a}", "error in work-command: required parameter missing: command"),
        ("- tls-server: {name: a}", "error in tls-server: required parameters missing: cert, key"),
        (
            "- control-service: {service: }",
            "error setting field service in command control-service: value cannot be nil",
        ),
        (
            "- control-service: {Permissions: -rw}",
            "error setting field Permissions in command control-service: strconv.ParseInt: parsing \"-rw\": invalid syntax",
        ),
        (
            "- tcp-listener: abc",
            "error setting field Port in command tcp-listener: strconv.ParseInt: parsing \"abc\": invalid syntax",
        ),
        (
            "- tcp-listener: {port: 1, cost: x}",
            "error setting field cost in command tcp-listener: strconv.ParseFloat: parsing \"x\": invalid syntax",
        ),
        (
            "- work-command: {worktype: a, command: b, allowruntimeparams: 'on'}",
            "error setting field allowruntimeparams in command work-command: could not parse on as boolean",
        ),
        (
            "- work-command: {worktype: a, command: b, allowruntimeparams: 1}",
            "error setting field allowruntimeparams in command work-command: type error (expected bool)",
        ),
        ("- node: {id: [a]}", "error setting field id in command node: type error (expected string)"),
        // Nothing of the second dialect's shape is taken for the first (control-protocol 1.1).
        ("node: {id: a}", "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!map into []interface {}"),
        ("version: 2\nnode: {id: a}", "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!map into []interface {}"),
        ("hello", "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!str `hello` into []interface {}"),
        (
            "hello world, all",
            "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!str `hello w...` into []interface {}",
        ),
        ("5", "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!int `5` into []interface {}"),
        ("- a: |\n    x\n   y: z", "yaml: line 3: did not find expected key"),
    ];
    for (text, expected) in cases {
        assert_eq!(file(text), format!("Error: error loading config file: {expected}"), "{text}");
    }
}

/// "file absent".
#[test]
fn an_absent_file_is_named() {
    assert_eq!(
        outcome(&["-c", "/nope"], &host("")),
        "Error: error loading config file: open /nope: no such file or directory"
    );
}

#[test]
fn a_file_that_is_not_text_is_refused() {
    struct Bytes;
    impl super::super::Host for Bytes {
        fn read(&self, _: &std::path::Path) -> std::io::Result<Vec<u8>> {
            Ok(vec![0xff, 0xfe])
        }
        fn open(&self, _: &std::path::Path) -> std::io::Result<()> {
            Ok(())
        }
        fn stat(&self, _: &std::path::Path) -> std::io::Result<()> {
            Ok(())
        }
        fn variable(&self, _: &str) -> Option<String> {
            None
        }
        fn host_name(&self) -> std::io::Result<String> {
            Ok("a".to_owned())
        }
    }
    let error = load(&["-c".to_owned(), "x".to_owned()], &Bytes).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "Error: error loading config file: yaml: invalid leading UTF-8 octet");
}

/// Items are "(a) a bare string; (b) a one-key map whose value is null, a map of parameters, or a string".
#[test]
fn all_forms_of_an_item_are_read() {
    let config =
        config("- local-only\n- node: foo\n- log-level: debug\n- control-service:\n    filename: /a\n- trace:\n");
    assert!(config.local_only);
    assert_eq!(config.node.id.as_str(), "foo");
    assert_eq!(config.log_level, super::super::model::LogLevel::Debug);
    assert_eq!(config.control_services.len(), 1);
}

/// "`- control-service: {FileName: x, Permissions: 0660}` accepted"; "AWX writes `permissions: '0660'` (a quoted
/// string): it must be read as octal".
#[test]
fn parameter_names_are_read_in_any_case() {
    for text in
        ["{FileName: x, Permissions: 0660}", "{filename: x, permissions: '0660'}", "{FILENAME: x, pErMiSsIoNs: 0x1b0}"]
    {
        let service = config(&format!("- control-service: {text}")).control_services.remove(0);
        assert_eq!(service.filename.as_deref(), Some(std::path::Path::new("x")));
        assert_eq!(service.permissions, 0o660);
    }
}

/// "same field twice in different case: accepted; which wins is random": here it is the last, and it is told.
#[test]
fn of_a_field_given_twice_the_last_counts() {
    for text in ["{ID: a, id: b}", "{id: a, id: b}"] {
        let start = start(&format!("- node: {text}"));
        assert_eq!(start.config.node.id.as_str(), "b");
        assert_eq!(start.notices.len(), 1, "{:?}", start.notices);
        assert!(start.notices[0].starts_with("/rx/a.yml:1:"), "{:?}", start.notices);
        assert!(start.notices[0].ends_with("node: id is given more than once; the last one counts"));
    }
}

/// "empty file: no error; an implicit `node` with the host name; then 'Nothing to do'".
#[test]
fn an_empty_file_is_a_node_with_nothing_to_do() {
    for text in ["", "# nothing\n", "[]", "---\n"] {
        let config = config(text);
        assert_eq!(config.node.id.as_str(), "host1");
        assert_eq!(config.node.data_dir, std::path::Path::new("/tmp/receptor"));
        assert!(!config.has_backend());
    }
}

/// The first error of the earliest phase is told, whatever the order of the file (control-protocol 1.3).
#[test]
fn errors_are_told_in_the_order_of_phases() {
    let python = "- work-python: {worktype: a, plugin: b, function: c}\n";
    let kubernetes = "- work-kubernetes: {worktype: a, authmethod: bogus}\n";
    let level = "- log-level: bogus\n";
    assert_eq!(file(&format!("{python}{kubernetes}{level}")), "Error: bogus is not a valid log level name");
    assert_eq!(file(&format!("{python}{kubernetes}")), "Error: invalid AuthMethod: bogus");
    assert!(file(python).starts_with("Error: [DEPRECATION WARNING]"));
    // Reading comes before everything.
    assert!(file(&format!("{level}- bogus:\n")).contains("unknown config type bogus"));
    // An implicit node comes last in its phase.
    let mut nameless = host(level);
    nameless.name = "localhost".to_owned();
    assert_eq!(outcome(&["-c", FILE], &nameless), "Error: bogus is not a valid log level name");
}

/// "A `control-service` naming a TLS config that appears later in the file is fine."
#[test]
fn names_may_be_used_before_they_are_given() {
    let text = "- control-service: {tcplisten: '1', tcptls: late}\n\
                - tls-server: {name: late, cert: /rx/pub.pem, key: /rx/key.pem}\n";
    assert_eq!(file(text), "ok");
}

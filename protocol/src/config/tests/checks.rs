//! Actions, defaults and checks: control-protocol 1.4 and 2.1.

use std::path::Path;
use std::time::Duration;

use super::super::model::command::CommandStderr;
use super::super::model::mesh::{FirewallAction, Pattern};
use super::super::model::{Fingerprint, LogLevel, RateLimiter, TokenBinding};
use super::*;

/// The table of checks in control-protocol 1.4, and the start-up errors of 2.1. All texts follow `Error: `.
#[test]
fn what_is_refused() {
    let cases = [
        ("- node: {id: localhost}", "node ID \"localhost\" is reserved"),
        ("- node: {id: LocalHost}", "node ID \"localhost\" is reserved"),
        (
            "- node: {maxidleconnectiontimeout: 10s}",
            "user defined maxIdleConnectionTimeout [10000000000] is less than the default default timeout [21000000000]",
        ),
        (
            "- node: {maxidleconnectiontimeout: 10}",
            "failed to parse MaxIdleConnectionTimeout from configuration file -- valid examples include '1.5h', '30m', '30m10s'",
        ),
        ("- node: {firewallrules: [{action: zap}]}", "error in rule 0: unknown action: zap"),
        ("- node: {firewallrules: [{action: accept}, {}]}", "error in rule 1: unknown action: "),
        (
            "- node: {firewallrules: [{action: accept, bogus: x}]}",
            "error in rule 0: invalid filewall rule. unknown key: bogus",
        ),
        (
            "- node: {firewallrules: [{action: accept, fromnode: 5}]}",
            "error in rule 0: invalid firewall rule. fromnode must be a string",
        ),
        // Dropped in silence by the original, which widens the rule.
        (
            "- node: {firewallrules: [{action: reject, fromnode: '/a(/'}]}",
            "error in rule 0: regex failed to compile: ^a($",
        ),
        ("- node: {firewallrules: [{action: reject, fromnode: /a}]}", "error in rule 0: regex not enclosed in //: /a"),
        ("- log-level: bogus", "bogus is not a valid log level name"),
        ("- log-level: {level: ''}", " is not a valid log level name"),
        ("- tcp-listener: {port: 1, cost: 0}", "connection cost must be positive"),
        ("- tcp-listener: {port: 1, cost: .nan}", "connection cost must be positive"),
        ("- udp-peer: {address: 'a:1', cost: -1}", "connection cost must be positive"),
        ("- ws-listener: {port: 1, nodecost: {a: 0, b: 1}}", "connection cost must be positive for a"),
        ("- tcp-peer: {address: 127.0.0.1}", "address 127.0.0.1: missing port in address"),
        ("- tcp-peer: {address: '::1:5'}", "address ::1:5: too many colons in address"),
        ("- udp-peer: {address: '[::1'}", "address [::1: missing ']' in address"),
        ("- udp-peer: {address: '[::1]'}", "address [::1]: missing port in address"),
        ("- tcp-listener: {port: 70000}", "listen tcp: address 70000: invalid port"),
        (
            "- ws-peer: {address: '127.0.0.1:1'}",
            "address 127.0.0.1:1 is not a valid URL: parse \"127.0.0.1:1\": first path segment in URL cannot contain colon",
        ),
        ("- ws-peer: {address: 'ws://a:1', extraheader: x}", "extra header must be in the form key:value"),
        ("- control-service: {tls: nosuch}", "unknown TLS config nosuch"),
        ("- control-service: {tcplisten: '1', tcptls: nosuch}", "unknown TLS config nosuch"),
        ("- tcp-peer: {address: 'a:1', tls: nosuch}", "unknown TLS config nosuch"),
        (
            "- tls-server: {name: a, cert: /nope, key: /rx/key.pem}",
            "error preparing tls server config: open /nope: no such file or directory",
        ),
        (
            "- tls-server: {name: a, cert: /rx/pub.pem, key: /rx/key.pem, clientcas: /nope}",
            "error preparing tls server config: error reading client CAs file: open /nope: no such file or directory",
        ),
        (
            "- tls-client: {name: a, cert: '', key: '', pinnedservercert: 'aa:bb'}",
            "error preparing tls client config: error decoding fingerprints: fingerprints must be 32 or 64 bytes for sha256 or sha512",
        ),
        (
            "- tls-client: {name: a, cert: '', key: '', pinnedservercert: [xx]}",
            "error preparing tls client config: error decoding fingerprints: error decoding fingerprint",
        ),
        (
            "- tls-client: {name: a, cert: '', key: k}",
            "error preparing tls client config: cert and key must both be supplied or neither",
        ),
        (
            "- tls-client: {name: a, cert: '', key: '', rootcas: /nope}",
            "error preparing tls client config: error reading root CAs file: open /nope: no such file or directory",
        ),
        ("- tls-client: {name: '', cert: '', key: ''}", "must provide a name"),
        (
            "- work-command: {worktype: a, command: b}\n- work-command: {worktype: a, command: c}",
            "work type a already registered",
        ),
        (
            "- work-command: {worktype: a, command: b}\n- work-kubernetes: {worktype: a, allowruntimeauth: true, allowruntimepod: true}",
            "work type a already registered",
        ),
        ("- work-command: {worktype: remote, command: b}", "work type remote already registered"),
        (
            "- work-command: {worktype: a, command: b, verifysignature: true}",
            "VerifySignature for work command 'a' is true, but the work verification public key is not specified",
        ),
        ("- work-signing: /nope", "/nope does not exist"),
        ("- work-verification: {publickey: /nope}", "/nope does not exist"),
        (
            "- work-signing: {privatekey: /rx/key.pem, tokenexpiration: 5}",
            "failed to parse TokenExpiration -- valid examples include '1.5h', '30m', '30m10s'",
        ),
        (
            "- work-python: {worktype: a, plugin: b, function: c, config: {x: [1]}}",
            "[DEPRECATION WARNING] 'work-python' option is not currently being used. This feature will be removed from receptor in a future release",
        ),
        ("- control-service: {service: ''}", "no listeners specified"),
        ("- control-service: {service: toolongname}", "error opening Unix socket: service name toolongname too long"),
        ("- control-service: {service: ping}", "error opening Unix socket: service ping is already listening"),
        (
            "- control-service: {filename: /a}\n- control-service: {filename: /b}",
            "error opening Unix socket: service control is already listening",
        ),
        ("- control-service: {permissions: -1}", "-1 is not a mode of a file"),
        ("- node: {id: a}\n- version:", "cannot specify any other options with version"),
        (
            "- cert-init: {commonname: a, bits: 1, outcert: b, outkey: c}\n- local-only",
            "cannot specify any other options with cert-init",
        ),
        ("- daemon: {maxconnections: 0}", "invalid maxconnections: must be at least 1"),
        ("- daemon: {controllinelimit: 100}", "invalid controllinelimit: must be at least 1024"),
    ];
    for (text, expected) in cases {
        assert_eq!(file(text), format!("Error: {expected}"), "{text}");
    }
}

/// "any other id, e.g. `a b:c/..`, `12`: accepted (and used unchecked as a directory name)". Here it is checked.
#[test]
fn a_node_id_is_safe_as_the_name_of_a_directory() {
    for id in ["a b:c..", "12", "é", "a.b", "...", "-", "Localhost2"] {
        assert_eq!(config(&format!("- node: {{id: '{id}'}}")).node.id.as_str(), id);
    }
    assert_eq!(config("- node: {id: true}").node.id.as_str(), "true");

    let long = "x".repeat(256);
    let unfit = "Error: a node ID must be usable as a directory name: no slash, no control character, not . or ..";
    for id in ["a/b", ".", "..", "a\\0b", "a\\nb"] {
        assert_eq!(file(&format!("- node: {{id: \"{id}\"}}")), unfit);
    }
    assert_eq!(file(&format!("- node: {long}")), "Error: a node ID has at most 255 bytes");
}

#[test]
fn without_an_id_the_host_name_is_taken() {
    let mut host = host("- node: {datadir: /d}");
    for (name, expected) in [
        ("Worker-1.example.org", "ok"),
        ("localhost", "Error: no node ID specified and local host name is localhost"),
        ("LocalHost.localdomain", "Error: no node ID specified and local host name is localhost"),
        ("a/b", "Error: a node ID must be usable as a directory name: no slash, no control character, not . or .."),
    ] {
        host.name = name.to_owned();
        assert_eq!(outcome(&["-c", FILE], &host), expected, "{name}");
    }
}

/// "Section absent → info; section present without level → error".
#[test]
fn the_log_level_has_two_defaults() {
    assert_eq!(config("- local-only").log_level, LogLevel::Info);
    assert_eq!(config("- log-level").log_level, LogLevel::Error);
    assert_eq!(config("- log-level: {}").log_level, LogLevel::Error);
    for (name, level) in [
        ("Error", LogLevel::Error),
        ("WARNING", LogLevel::Warning),
        ("info", LogLevel::Info),
        ("DeBuG", LogLevel::Debug),
    ] {
        assert_eq!(config(&format!("- log-level: {{level: {name}}}")).log_level, level);
    }
}

#[test]
fn defaults_are_those_of_the_table() {
    let config =
        config("- node: {id: a}\n- control-service: {filename: /s}\n- work-command: {worktype: w, command: c}\n");
    assert_eq!(config.node.data_dir, Path::new("/tmp/receptor"));
    assert_eq!(config.node.max_idle_connection_timeout, Duration::from_secs(21));
    let service = &config.control_services[0];
    assert_eq!((service.service.as_str(), service.permissions), ("control", 0o600));
    assert_eq!((&service.tls, &service.tcp_listen, &service.tcp_tls), (&None, &None, &None));
    let command = command(&config);
    assert_eq!(command.params, "");
    assert!(!command.allow_runtime_params && !command.verify_signature && !command.clean_env);
    assert!(command.kill_tree);
    assert_eq!(command.grace_period, Duration::from_secs(10));
    assert_eq!(command.timeout, None);
    assert_eq!(config.limits.command_line_bytes, 16 * 1024 * 1024);
    assert_eq!(config.limits.connections, 10_000);
}

#[test]
fn firewall_rules_are_read() {
    let text = "- node:\n    firewallrules:\n      - {Action: REJECT, ToNode: awx-1, toservice: control}\n      - {action: drop, fromnode: '/a.*b/', fromservice: ''}\n";
    let rules = config(text).node.firewall_rules;
    assert_eq!(rules[0].action, FirewallAction::Reject);
    assert_eq!(rules[0].to_node, Some(Pattern::Exact("awx-1".to_owned())));
    assert_eq!(rules[0].to_service, Some(Pattern::Exact("control".to_owned())));
    assert_eq!(rules[1].from_node, Some(Pattern::Regex("a.*b".to_owned())));
    assert_eq!(rules[1].from_service, None);
}

#[test]
fn tls_settings_are_read() {
    let digest = "ab:".repeat(31) + "ab";
    let text = format!(
        "- tls-server: {{name: s, cert: /rx/pub.pem, key: /rx/key.pem, requireclientcert: true, clientcas: /rx/pub.pem, mintls13: true}}\n\
         - tls-client: {{name: c, cert: '', key: '', pinnedservercert: ['{digest}', {}], insecureskipverify: yes}}\n\
         - control-service: {{tls: s, tcplisten: '127.0.0.1:1', tcptls: s}}\n",
        "cd".repeat(64)
    );
    let config = config(&text);
    let server = config.tls_server("s").unwrap();
    assert!(server.require_client_cert && server.min_tls13 && !server.skip_receptor_names_check);
    assert_eq!(server.client_cas.as_deref(), Some(Path::new("/rx/pub.pem")));
    let client = config.tls_client("c").unwrap();
    assert_eq!(client.identity, None);
    assert!(client.insecure_skip_verify);
    let pinned = vec![Fingerprint::Sha256([0xab; 32]), Fingerprint::Sha512(Box::new([0xcd; 64]))];
    assert_eq!(client.pinned_server_cert, pinned);
    assert_eq!(config.tls_server("c"), None);
}

/// "`permissions: 600` gives a strange mode" (control-protocol 7, 29): kept, but told.
#[test]
fn a_decimal_mode_is_told() {
    let start = start("- control-service: {filename: /s, permissions: 600}");
    assert_eq!(start.config.control_services[0].permissions, 0o1130);
    assert_eq!(
        start.notices,
        ["/rx/a.yml:1:35: permissions 600 are the mode 01130; octal modes begin with 0, as in '0660'"]
    );
}

#[test]
fn an_open_tcp_listener_is_told() {
    let start = start("- control-service: {tcplisten: 1234}");
    assert_eq!(start.config.control_services[0].tcp_listen.as_deref(), Some("1234"));
    assert_eq!(start.notices.len(), 1);
}

/// control-protocol 5.7, first dialect.
#[test]
fn the_kubernetes_client_is_tuned_by_the_environment() {
    let mut host = host("- node: {id: a, receptorkubeclientsetqps: '7'}");
    for (name, value) in [
        ("SUPPORT_RECONNECT", "disabled"),
        ("CLIENTSET_QPS", "50"),
        ("CLIENTSET_BURST", "many"),
        ("CLIENTSET_RATE_LIMITER", "always"),
    ] {
        host.variables.insert(format!("RECEPTOR_KUBE_{name}"), value.to_owned());
    }
    let Ok(Startup::Run(start)) = load(&["-c".to_owned(), FILE.to_owned()], &host) else { panic!() };
    let tuning = start.config.kube_tuning;
    assert_eq!(tuning.support_reconnect, Some(false));
    assert_eq!((tuning.qps, tuning.burst), (Some(50), None));
    assert_eq!(tuning.rate_limiter, RateLimiter::AlwaysAccept);
    assert_eq!(
        start.notices,
        ["environment: the burst of the Kubernetes client is not a number above 0; the default is used"]
    );
}

#[test]
fn limits_of_the_file_are_overlaid_by_the_environment() {
    let mut host = host("- daemon: {controllinelimit: 4096, maxconnections: 5}");
    let limits = |host: &FakeHost| match load(&["-c".to_owned(), FILE.to_owned()], host) {
        Ok(Startup::Run(start)) => Ok((start.config.limits.command_line_bytes, start.config.limits.connections)),
        Ok(_) => panic!("not started"),
        Err(error) => Err(error.to_string()),
    };
    assert_eq!(limits(&host), Ok((4096, 5)));
    host.variables.insert("WORKNODE_MAX_CONNECTIONS".to_owned(), "7".to_owned());
    assert_eq!(limits(&host), Ok((4096, 7)));
    host.variables.insert("WORKNODE_MAX_CONNECTIONS".to_owned(), "many".to_owned());
    let error = limits(&host).unwrap_err();
    assert!(error.starts_with("Error: invalid setting of the daemon: "), "{error}");
    assert!(error.contains("max_connections"), "{error}");
}

/// The table of work-types 3.
#[test]
fn keys_of_commands_are_read() {
    let text = "- work-command: {worktype: sh, command: sh, params: -x, allowruntimeparams: true, env: {LANG: C.UTF-8, 'N': 5}, \
                allowruntimeenv: true, cleanenv: true, workingdir: '{unitdir}', user: '1000:5', timeout: 1h, graceperiod: 0s, \
                killtree: false, stderr: Separate, maxconcurrent: 8, nice: -5, allowruntimeworkingdir: true, allowruntimeuser: true}";
    let config = config(text);
    let command = command(&config);
    assert_eq!(command.env, [("LANG".to_owned(), "C.UTF-8".to_owned()), ("N".to_owned(), "5".to_owned())].into());
    assert_eq!((command.working_dir.as_deref(), command.user.as_deref()), (Some("{unitdir}"), Some("1000:5")));
    assert_eq!((command.timeout, command.grace_period), (Some(Duration::from_secs(3600)), Duration::ZERO));
    assert_eq!((command.stderr, command.max_concurrent, command.nice), (CommandStderr::Separate, 8, Some(-5)));
    assert!(command.allow_runtime_params && command.allow_runtime_env && command.clean_env && !command.kill_tree);
    assert!(command.allow_runtime_working_dir && command.allow_runtime_user);
}

/// Texts that follow `Error: error in work-command: invalid `.
#[test]
fn values_of_commands_are_checked() {
    for (keys, expected) in [
        ("timeout: x", "timeout: time: invalid duration \"x\""),
        ("graceperiod: -1s", "graceperiod: -1s is negative"),
        ("stderr: both", "stderr: \"both\" is not one of merged, separate"),
        ("maxconcurrent: -1", "maxconcurrent: strconv.ParseInt: parsing \"-1\": value out of range"),
        ("nice: 20", "nice: strconv.ParseInt: parsing \"20\": value out of range"),
        (
            "memorymax: 5Q",
            "memorymax: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ] {
        let text = format!("- work-command: {{worktype: a, command: b, {keys}}}");
        assert_eq!(file(&text), format!("Error: error in work-command: invalid {expected}"), "{keys}");
    }
}

/// Everything of the table that this version cannot do says so by name.
#[test]
fn what_is_not_built_is_refused_by_name() {
    let cases = [
        ("- work-nomad: {worktype: a, image: b}", "action work-nomad"),
        ("- command-runner: {command: a, params: b, unitdir: c}", "action command-runner"),
        ("- work-command: {worktype: a, command: b, memorymax: 1Gi}", "key memorymax of work-command"),
        ("- work-command: {worktype: a, command: b, CPUmax: 0.5}", "key cpumax of work-command"),
    ];
    for (text, expected) in cases {
        assert_eq!(file(text), format!("Error: {expected} is not available in this version of worknode"), "{text}");
    }
}

/// A word of ours, at both ends.
#[test]
fn tokens_are_bound_where_that_is_asked_for() {
    let bindings = |keys: &str| {
        let text = format!(
            "- work-signing: {{privatekey: /rx/key.pem{keys}}}\n- work-verification: {{publickey: /rx/pub.pem{keys}}}"
        );
        let config = config(&text);
        (config.work_signing.unwrap().token_binding, config.work_verification.unwrap().token_binding)
    };
    assert_eq!(bindings(""), (TokenBinding::None, TokenBinding::None));
    assert_eq!(bindings(", tokenbinding: Request"), (TokenBinding::Request, TokenBinding::Request));
    assert_eq!(
        file("- work-verification: {publickey: /rx/pub.pem, tokenbinding: command}"),
        "Error: error in work-verification: invalid tokenbinding: \"command\" is not one of none, request"
    );
}

/// "documented default: 5 minutes. Do implement the default" (the original panics).
#[test]
fn a_signature_is_valid_for_five_minutes() {
    for (keys, seconds) in [("", 300), (", tokenexpiration: 1h30m", 5400)] {
        let config = config(&format!("- work-signing: {{privatekey: /rx/key.pem{keys}}}"));
        assert_eq!(config.work_signing.map(|signing| signing.token_expiration), Some(Duration::from_secs(seconds)));
    }
}

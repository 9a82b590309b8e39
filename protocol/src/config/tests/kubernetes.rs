//! `work-kubernetes`: control-protocol 5.1, work-types 2.

use std::path::Path;
use std::time::Duration;

use super::super::model::{AuthMethod, DeletePodPolicy, StreamMethod};
use super::*;

/// The table "Refused at start-up when" of control-protocol 5.1, then the texts of work-types 2.3 and 2.4.
#[test]
fn what_is_refused() {
    let cases = [
        ("authmethod: bogus", "invalid AuthMethod: bogus"),
        ("authmethod: ''", "invalid AuthMethod: "),
        ("image: x", "must provide namespace when AuthMethod is not kubeconfig"),
        ("authmethod: runtime, image: x", "must provide namespace when AuthMethod is not kubeconfig"),
        ("namespace: n, image: x, kubeconfig: /rx/config", "can only provide KubeConfig when AuthMethod=kubeconfig"),
        (
            "authmethod: kubeconfig, image: x, kubeconfig: /rx/x",
            "error accessing kubeconfig file: stat /rx/x: no such file or directory",
        ),
        ("namespace: n, pod: /p, image: x", "can only provide Pod when Image, Command, and Params are empty"),
        ("namespace: n, pod: /p, params: x", "can only provide Pod when Image, Command, and Params are empty"),
        ("namespace: n", "must specify a container image to run"),
        ("namespace: n, allowruntimeparams: true", "must specify a container image to run"),
        ("namespace: n, image: x, streammethod: bogus", "stream mode must be logger or tcp"),
        // Additions.
        (
            "authmethod: token, namespace: n, image: x, apiserver: a",
            "must provide APIServer and one of Token, TokenFile when AuthMethod=token",
        ),
        (
            "authmethod: certificate_file, namespace: n, image: x, apiserver: a",
            "must provide APIServer and ClientCertificate when AuthMethod=certificate",
        ),
        (
            "authmethod: basic_auth, namespace: n, image: x, apiserver: a, username: b",
            "must provide APIServer, Username and Password when AuthMethod=basic",
        ),
        (
            "authmethod: token, namespace: n, image: x, apiserver: a, token: t, tokenfile: /rx/config",
            "can only provide one of Token, TokenFile",
        ),
        (
            "namespace: n, image: x, insecureskiptlsverify: true, certificateauthoritydata: a",
            "specifying a root certificates file with the insecure flag is not allowed",
        ),
        (
            "namespace: n, image: x, tokenfile: /rx/x",
            "error accessing tokenfile file: stat /rx/x: no such file or directory",
        ),
        (
            "namespace: n, image: x, metricsprovider: prometheus",
            "must provide PrometheusURL when MetricsProvider=prometheus",
        ),
    ];
    for (keys, expected) in cases {
        assert_eq!(
            file(&format!("- work-kubernetes: {{worktype: a, {keys}}}")),
            format!("Error: {expected}"),
            "{keys}"
        );
    }
}

/// Values of additions: work-types 2.1. All texts follow `Error: error in work-kubernetes: invalid `.
#[test]
fn what_values_are_refused() {
    let cases = [
        ("apiretrytimeout: x", "apiretrytimeout: time: invalid duration \"x\""),
        ("apiretrytimeout: 5", "apiretrytimeout: time: missing unit in duration \"5\""),
        ("podpendingtimeout: -1s", "podpendingtimeout: -1s is negative"),
        ("graceperiod: 5d", "graceperiod: time: unknown unit \"d\" in duration \"5d\""),
        (
            "deletepodpolicy: sometimes",
            "deletepodpolicy: \"sometimes\" is not one of release, always, onsuccess, never",
        ),
        ("metricsinterval: 10ms", "metricsinterval: cannot be lower than 1s"),
        (
            "cpulimit: five",
            "cpulimit: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        ("memorylimit: 5KK", "memorylimit: unable to parse quantity's suffix"),
        ("extraresources: {gpu: 1ii}", "extraresources: unable to parse quantity's suffix"),
        ("requestpercent: 0", "requestpercent: strconv.ParseInt: parsing \"0\": value out of range"),
        ("requestpercent: 300", "requestpercent: strconv.ParseInt: parsing \"300\": value out of range"),
        ("backofflimit: -1", "backofflimit: strconv.ParseInt: parsing \"-1\": value out of range"),
        ("volumeclaims: [a]", "volumeclaims: expected CLAIM:/PATH[:ro], got \"a\""),
        ("volumeclaims: 'a:b'", "volumeclaims: expected CLAIM:/PATH[:ro], got \"a:b\""),
        (
            "createclaims: 'a:/b:1Gi:XXX'",
            "createclaims: expected NAME:/PATH[:SIZE[:MODE[:CLASS]]], got \"a:/b:1Gi:XXX\"",
        ),
        (
            "mounts: 'disk:a:/b'",
            "mounts: expected secret:NAME:/PATH, configmap:NAME:/PATH or empty:SIZE:/PATH, got \"disk:a:/b\"",
        ),
        ("envfrom: 'x:y'", "envfrom: expected secret:NAME or configmap:NAME, got \"x:y\""),
        (
            "podforbid: [hostpath, x]",
            "podforbid: \"x\" is not one of privileged, hostpath, hostnetwork, hostpid, hostipc, capabilities, namespace, serviceaccount",
        ),
        ("workingdir: a", "workingdir: path must be absolute: a"),
        ("runasuser: admin", "runasuser: user must be numeric or root: admin"),
        ("runasuser: -5", "runasuser: user must be numeric or root: -5"),
        ("affinity: 5", "affinity: expected a map or list"),
        ("tolerations: '[{'", "tolerations: did not find expected ',' or '}'"),
        ("livenessprobe: 'http:x'", "livenessprobe: expected exec:CMD, http:PORT/PATH or tcp:PORT, got \"http:x\""),
    ];
    for (keys, expected) in cases {
        let text = format!("- work-kubernetes: {{worktype: a, namespace: n, image: x, {keys}}}");
        assert_eq!(file(&text), format!("Error: error in work-kubernetes: invalid {expected}"), "{keys}");
    }
}

/// Additions whose values are right are refused by name, and only those.
#[test]
fn what_is_not_built_is_refused_by_name() {
    let keys = [
        ("kubecontext: a", "key kubecontext"),
        ("authmethod: auto", "authmethod auto"),
        ("cpulimit: 1024shares", "key cpulimit"),
        ("memorylimit: 512Mi", "key memorylimit"),
        ("memoryrequest: 1e3", "key memoryrequest"),
        ("extraresources: {nvidia.com/gpu: 1}", "key extraresources"),
        ("volumeclaims: 'a:/b:ro'", "key volumeclaims"),
        ("createclaims: ['scratch:/scratch:5Gi:RWX:-']", "key createclaims"),
        ("mounts: ['secret:a:/b', 'empty:1Gi:/c']", "key mounts"),
        ("runasuser: root", "key runasuser"),
        ("affinity: {nodeAffinity: {x: [1, 2.5, true, ~]}}", "key affinity"),
        ("tolerations: '[{\"key\": \"a\"}]'", "key tolerations"),
        ("livenessprobe: 'http:80/x'", "key livenessprobe"),
        ("readinessprobe: {tcpSocket: {port: 5}}", "key readinessprobe"),
        ("labels: {app: 5}", "key labels"),
        ("imagepullpolicy: ifnotpresent", "key imagepullpolicy"),
        ("kind: job", "key kind"),
        ("maxconcurrent: 0", "key maxconcurrent"),
        ("buildcache: false", "key buildcache"),
        ("allowruntimeresources: true", "key allowruntimeresources"),
    ];
    for (key, expected) in keys {
        let text = format!("- work-kubernetes: {{worktype: a, namespace: n, image: x, {key}}}");
        let expected = format!("Error: {expected} of work-kubernetes is not available in this version of worknode");
        assert_eq!(file(&text), expected, "{key}");
    }
}

#[test]
fn defaults_are_those_of_the_table() {
    let config = config("- work-kubernetes: {worktype: KubeIt, namespace: n, image: x}");
    let kubernetes = kubernetes(&config);
    assert_eq!(kubernetes.work_type, "KubeIt");
    assert_eq!(kubernetes.auth_method, AuthMethod::InCluster);
    assert_eq!(kubernetes.stream_method, StreamMethod::Logger);
    assert_eq!(
        (&kubernetes.command, &kubernetes.params, &kubernetes.pod, &kubernetes.kubeconfig),
        (&None, &None, &None, &None)
    );
    assert!(kubernetes.delete_pod_on_restart && kubernetes.label_units && kubernetes.fail_on_exit_code);
    assert!(!kubernetes.verify_signature && !kubernetes.allow_kubeconfig_exec);
    assert!(!kubernetes.allow_runtime_auth && !kubernetes.allow_runtime_command);
    assert!(!kubernetes.allow_runtime_params && !kubernetes.allow_runtime_pod);
    assert_eq!(kubernetes.api_retry_timeout, Duration::from_secs(1800));
    assert_eq!(kubernetes.pod_pending_timeout, None);
    assert_eq!(kubernetes.grace_period, None);
    assert_eq!(kubernetes.delete_pod_policy, DeletePodPolicy::Release);
}

#[test]
fn built_keys_are_read() {
    let text = "- work-kubernetes:\n    worktype: a\n    AuthMethod: KubeConfig\n    kubeconfig: /rx/config\n    pod: /not/there/yet\n\
                \x20   allowruntimeauth: true\n    allowruntimecommand: yes\n    allowruntimeparams: 'T'\n    allowruntimepod: on\n\
                \x20   verifysignature: true\n    deletepodonrestart: false\n    streammethod: LOGGER\n    labelunits: false\n\
                \x20   failonexitcode: false\n    apiretrytimeout: 0s\n    podpendingtimeout: 1h\n    graceperiod: 0s\n\
                \x20   deletepodpolicy: OnSuccess\n    allowkubeconfigexec: true\n";
    let config = config(text);
    let kubernetes = kubernetes(&config);
    assert_eq!(kubernetes.auth_method, AuthMethod::Kubeconfig);
    assert_eq!(kubernetes.kubeconfig.as_deref(), Some(Path::new("/rx/config")));
    assert_eq!(kubernetes.pod.as_deref(), Some(Path::new("/not/there/yet")));
    assert!(kubernetes.allow_runtime_auth && kubernetes.allow_runtime_command);
    assert!(kubernetes.allow_runtime_params && kubernetes.allow_runtime_pod);
    assert!(kubernetes.verify_signature && kubernetes.allow_kubeconfig_exec);
    assert!(!kubernetes.delete_pod_on_restart && !kubernetes.label_units && !kubernetes.fail_on_exit_code);
    assert_eq!(kubernetes.api_retry_timeout, Duration::ZERO);
    assert_eq!(kubernetes.pod_pending_timeout, Some(Duration::from_secs(3600)));
    assert_eq!(kubernetes.grace_period, Some(Duration::ZERO));
    assert_eq!(kubernetes.delete_pod_policy, DeletePodPolicy::OnSuccess);
}

/// "One that has no meaning for a type is an unknown field there" (work-types 7, 8).
#[test]
fn permissions_of_other_types_are_unknown() {
    for (text, field) in [
        ("- work-command: {worktype: a, command: b, allowruntimepod: true}", "allowruntimepod"),
        ("- work-kubernetes: {worktype: a, allowruntimeuser: true}", "allowruntimeuser"),
        ("- work-nomad: {worktype: a, allowruntimesecurity: true}", "allowruntimesecurity"),
    ] {
        assert!(file(text).ends_with(&format!("unknown field name {field}")), "{text}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let text = "- work-kubernetes: {worktype: a, namespace: n, image: x, authmethod: token, apiserver: s, token: s3cret, password: s3cret, clientkeydata: s3cret}\n\
                - work-nomad: {worktype: b, image: c, token: s3cret}\n";
    let words = ["--check-config".to_owned(), "-c".to_owned(), FILE.to_owned()];
    let outcome = format!("{:?}", load(&words, &host(text)));
    assert!(outcome.contains("key token of work-kubernetes is not available"), "{outcome}");
    assert!(!outcome.contains("s3cret"), "{outcome}");
}

#[test]
fn nomad_is_checked_before_it_is_refused() {
    for (keys, expected) in [
        ("driver: docker", "must specify a container image to run"),
        ("driver: raw_exec", "must specify a command to run"),
        ("image: a, token: a, tokenfile: /rx/config", "can only provide one of Token, TokenFile"),
        ("image: a, driver: vm", "error in work-nomad: invalid driver: \"vm\" is not one of docker, raw_exec, exec"),
        ("image: a, constraints: x", "error in work-nomad: invalid constraints: expected ATTR OP VALUE, got \"x\""),
        ("image: a, volumes: x", "error in work-nomad: invalid volumes: expected HOST:/PATH[:ro], got \"x\""),
        ("image: a", "action work-nomad is not available in this version of worknode"),
    ] {
        assert_eq!(file(&format!("- work-nomad: {{worktype: a, {keys}}}")), format!("Error: {expected}"), "{keys}");
    }
}

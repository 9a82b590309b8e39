use super::super::tests::harness::World;

fn refused(world: &World, keys: &str, params: &[(&str, &str)]) -> String {
    use crate::runner::WorkKind;
    let params = params.iter().copied().collect();
    world.file_kind(keys).plan(&params).err().map(|fault| fault.to_string()).unwrap_or_default()
}

const NAMES: [&str; 7] = [
    "kube_command",
    "kube_image",
    "kube_params",
    "kube_namespace",
    "secret_kube_config",
    "secret_kube_pod",
    "pod_pending_timeout",
];

#[test]
fn parameters_need_their_permission() {
    let world = World::none();
    let keys = "authmethod: incluster, namespace: ns, image: i";
    for name in NAMES {
        assert_eq!(refused(&world, keys, &[(name, "1s")]), format!("{name} provided but not allowed"));
        assert_eq!(refused(&world, keys, &[(name, "")]), "", "an empty value is none");
    }
    // The first in the original's order answers.
    let all = NAMES.map(|name| (name, "x"));
    assert_eq!(refused(&world, keys, &all), "kube_command provided but not allowed");
    let allowed = format!("{keys}, allowruntimecommand: true");
    assert_eq!(refused(&world, &allowed, &all), "kube_params provided but not allowed");
    assert_eq!(refused(&world, keys, &[("kube_working_dir", "/x"), ("bogus", "x")]), "", "others are passed over");
}

#[test]
fn combinations_are_refused_in_words() {
    let world = World::none();
    let keys = "authmethod: runtime, allowruntimeauth: true, allowruntimepod: true, allowruntimecommand: true, allowruntimeparams: true";
    assert_eq!(refused(&world, keys, &[]), "param secret_kube_config must be provided if AuthMethod=runtime");
    for name in ["kube_command", "kube_image", "kube_params"] {
        assert_eq!(
            refused(&world, keys, &[("secret_kube_config", "x"), ("secret_kube_pod", "x"), (name, "x")]),
            "params kube_command, kube_image, kube_params not compatible with secret_kube_pod"
        );
    }
    let timeout = |value| refused(&world, keys, &[("secret_kube_config", "x"), ("pod_pending_timeout", value)]);
    assert_eq!(timeout("x"), r#"time: invalid duration "x""#);
    assert_eq!(timeout("5"), r#"time: missing unit in duration "5""#);
    assert_eq!(timeout("1h20m"), "");
}

#[test]
fn files_are_read_for_each_unit() {
    let world = World::none();
    let pod = world.directory.path().join("pod.yml");
    let keys = format!("authmethod: incluster, namespace: ns, pod: {}", pod.display());
    assert_eq!(
        refused(&world, &keys, &[]),
        format!("could not read pod: open {}: no such file or directory", pod.display())
    );
    std::fs::write(&pod, "kind: Pod").unwrap();
    assert_eq!(refused(&world, &keys, &[]), "");
}

#[test]
fn secrets_are_apart_from_what_is_shown() {
    use crate::runner::WorkKind;
    let world = World::none();
    let keys = "authmethod: runtime, allowruntimeauth: true, allowruntimepod: true, params: p, image: i";
    let params = [("secret_kube_config", "geheim: 1"), ("secret_kube_pod", "geheim: 2"), ("kube_namespace", "ns1")];
    let plan = world.file_kind(keys).plan(&params.into_iter().collect()).unwrap();
    assert_eq!(
        plan.extra_data,
        serde_json::json!({"Image": "", "Command": "", "Params": "", "KubeNamespace": "ns1", "KubeConfig": "", "KubePod": "", "PodName": ""})
    );
    let secrets: serde_json::Value = serde_json::from_str(plan.secrets.unwrap().document()).unwrap();
    assert_eq!(secrets, serde_json::json!({"secret_kube_config": "geheim: 1", "secret_kube_pod": "geheim: 2"}));

    let plain = "authmethod: incluster, namespace: ns, image: i, command: c, params: 'a b', allowruntimeparams: true, allowruntimecommand: true";
    let plan = world.file_kind(plain).plan(&[("kube_params", "d"), ("kube_image", "j")].into_iter().collect()).unwrap();
    assert!(plan.secrets.is_none());
    assert_eq!((&plan.extra_data["Image"], &plan.extra_data["Params"]), (&"j".into(), &"a b d".into()));
}

#[test]
fn a_clients_kubeconfig_may_not_use_this_host() {
    let world = World::none();
    let keys = "authmethod: runtime, allowruntimeauth: true, image: i";
    let config = |cluster: &str, user: &str| {
        format!(
            "current-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}, {{name: d, context: {{cluster: c, user: v}}}}]\n\
             clusters: [{{name: c, cluster: {{server: 'https://h', {cluster}}}}}]\n\
             users: [{{name: u, user: {{{user}}}}}, {{name: v, user: {{exec: {{command: evil}}}}}}]\n"
        )
    };
    for (cluster, user, expected) in [
        ("", "token: t", ""),
        ("certificate-authority-data: YQ==", "client-key-data: YQ==, client-certificate-data: YQ==", ""),
        ("", "exec: {command: evil}", "secret_kube_config: exec credential plugins are not allowed"),
        (
            "",
            "auth-provider: {name: gcp, config: {cmd-path: evil}}",
            "secret_kube_config: exec credential plugins are not allowed",
        ),
        ("", "tokenFile: /etc/shadow", "secret_kube_config: tokenFile is not allowed"),
        ("", "client-certificate: /x", "secret_kube_config: client-certificate is not allowed"),
        ("", "client-key: /x", "secret_kube_config: client-key is not allowed"),
        ("certificate-authority: /x", "token: t", "secret_kube_config: certificate-authority is not allowed"),
    ] {
        let text = config(cluster, user);
        assert_eq!(refused(&world, keys, &[("secret_kube_config", &text)]), expected, "{text}");
        let allowed = format!("{keys}, allowkubeconfigexec: true");
        assert_eq!(refused(&world, &allowed, &[("secret_kube_config", &text)]), "");
    }
    // What cannot be read is told after the payload (control-protocol 5.3).
    assert_eq!(refused(&world, keys, &[("secret_kube_config", "{")]), "");
}

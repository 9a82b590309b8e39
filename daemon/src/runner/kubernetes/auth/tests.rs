use super::{super::tests::harness::World, *};

/// No environment, no service account.
fn nowhere() -> Environment {
    Environment::new(|_| None, PathBuf::from("/nonexistent"))
}

fn load(keys: &str, source: &Source, named: bool, world: &Environment) -> Result<Access, String> {
    let kind = World::none().config(keys);
    Access::load(source, &kind, named, world).map_err(|fault| fault.to_string())
}

fn text(text: &str) -> Source {
    Source::Text(text.to_owned().into())
}

const KUBECONFIG: &str = "current-context: one\n\
    contexts: [{name: one, context: {cluster: c, user: u, namespace: ctxns}}, {name: two, context: {cluster: c, user: u}}]\n\
    clusters: [{name: c, cluster: {server: 'https://h:1'}}]\nusers: [{name: u, user: {token: t}}]\n";

const RUNTIME: &str = "authmethod: runtime, allowruntimeauth: true, image: i";

#[test]
fn a_kubeconfig_gives_server_and_namespace() {
    let access = load(RUNTIME, &text(KUBECONFIG), false, &nowhere()).unwrap();
    assert_eq!((access.namespace.as_str(), access.config.cluster_url.to_string().as_str()), ("ctxns", "https://h:1/"));
    assert!(!access.config.default_retry, "a repeated POST makes a second pod");
    let other = KUBECONFIG.replace("current-context: one", "current-context: two");
    let access_of_other = load(RUNTIME, &text(&other), false, &nowhere()).unwrap();
    assert_eq!(access_of_other.namespace, "default");
    assert_ne!(access.identity, access_of_other.identity);
    assert_eq!(access.identity, load(RUNTIME, &text(KUBECONFIG), true, &nowhere()).unwrap().identity);
}

#[test]
fn what_is_wrong_is_told_in_the_words_of_control_protocol_5_3() {
    let fault = |source: &Source, named| load(RUNTIME, source, named, &nowhere()).err().unwrap_or_default();
    let nothing =
        "invalid configuration: no configuration has been provided, try setting KUBERNETES_MASTER environment variable";
    assert_eq!(fault(&text(""), false), nothing);
    assert_eq!(fault(&text("{}"), false), nothing);
    assert!(fault(&text("{"), false).starts_with("yaml: line 1: "));
    assert_eq!(fault(&text("current-context: x"), false), "context \"x\" does not exist");
    assert_eq!(fault(&Source::Standard, true), nothing);
    assert_eq!(fault(&Source::Standard, false), "could not determine namespace");
    assert_eq!(
        fault(&Source::InCluster, false),
        "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined"
    );
    assert_eq!(
        fault(&Source::File("/nonexistent/x".into()), false),
        "could not read kubeconfig: open /nonexistent/x: no such file or directory"
    );
}

#[test]
fn no_error_quotes_a_secret() {
    for broken in
        ["users: [{name: u, user: {token: [geheim]}}]", "clusters: geheim", "users: geheim\n  geheim: [", "geheim"]
    {
        let fault = load(RUNTIME, &text(broken), false, &nowhere()).err().unwrap_or_default();
        assert!(!fault.is_empty() && !fault.contains("geheim"), "{fault}");
    }
}

#[test]
fn in_a_cluster_the_mounted_files_count() {
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("token"), "t").unwrap();
    std::fs::write(files.path().join("namespace"), "mine\n").unwrap();
    let variable: fn(&str) -> Option<String> = |name| match name {
        "KUBERNETES_SERVICE_HOST" => Some("fd00::1".to_owned()),
        "KUBERNETES_SERVICE_PORT" => Some("443".to_owned()),
        _ => None,
    };
    let world = Environment::new(variable, files.path().to_owned());
    let access = load("authmethod: incluster, namespace: n, image: i", &Source::InCluster, true, &world).unwrap();
    assert_eq!(access.namespace, "mine");
    assert_eq!(access.config.cluster_url.host(), Some("[fd00::1]"));
    assert_eq!(access.config.auth_info.token_file, Some(files.path().join("token").to_string_lossy().into_owned()));
}

#[test]
fn the_standard_files_are_joined_and_missing_ones_passed_over() {
    let files = tempfile::tempdir().unwrap();
    std::fs::create_dir(files.path().join(".kube")).unwrap();
    let config = KUBECONFIG.replace("token: t", "tokenFile: here.token");
    std::fs::write(files.path().join(".kube/config"), config).unwrap();
    // A function has no captures: the directory goes by a static.
    static HOME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    HOME.set(files.path().to_string_lossy().into_owned()).unwrap();
    let world = Environment::new(|name| (name == "HOME").then(|| HOME.get().cloned()).flatten(), PathBuf::new());
    let access = load("authmethod: kubeconfig, image: i", &Source::Standard, false, &world).unwrap();
    assert_eq!(access.namespace, "ctxns");
    let token_file = files.path().join(".kube/here.token");
    assert_eq!(access.config.auth_info.token_file.as_deref(), token_file.to_str());
}

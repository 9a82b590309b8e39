//! How a unit gets at its cluster: server, credentials, namespace (control-protocol 5.3, work-types 2.3).
//!
//! Everything here blocks: files are read, and a credential plugin may be run.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use kube::config::{AuthInfo, Cluster, Kubeconfig, KubeconfigError};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use worknode_protocol::{
    config::model::{AuthMethod, KubernetesType},
    control::ParamError,
    yaml,
};

use super::proxy;

/// Longest kubeconfig that is read.
const LIMIT: u64 = 16 * 1024 * 1024;

/// What is read from the world around: the process environment and the files of a pod's service account.
#[derive(Clone)]
pub struct Environment {
    variable: fn(&str) -> Option<String>,
    service_account: PathBuf,
}

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Self {
        Self {
            variable: |name| std::env::var(name).ok(),
            service_account: PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount"),
        }
    }

    /// Another one, for tests.
    pub fn new(variable: fn(&str) -> Option<String>, service_account: PathBuf) -> Self {
        Self { variable, service_account }
    }

    /// A variable that is set and not empty.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("service_account", &self.service_account).finish_non_exhaustive()
    }
}

/// Where credentials come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// The text of a kubeconfig, given by a client or written into `ExtraData` by receptor.
    Text(SecretString),
    /// A kubeconfig file.
    File(PathBuf),
    /// `KUBECONFIG`, else `~/.kube/config`.
    Standard,
    /// The service account of the pod that this daemon runs in.
    InCluster,
}

impl Source {
    /// That of a unit of this type. A kubeconfig of its own replaces all configured ones.
    pub(crate) fn of(kind: &KubernetesType, own: Option<&str>) -> Self {
        if let Some(text) = own {
            return Self::Text(text.to_owned().into());
        }
        match (&kind.kubeconfig, kind.auth_method) {
            (Some(file), _) => Self::File(file.clone()),
            (None, AuthMethod::InCluster) => Self::InCluster,
            (None, _) => Self::Standard,
        }
    }
}

/// Server and credentials, ready for a client.
pub(crate) struct Access {
    /// For kube's client.
    pub(crate) config: kube::Config,
    /// The namespace that comes with the credentials.
    pub(crate) namespace: String,
    /// Digest of what the credentials were made from: equal for units that may share a connection.
    pub(crate) identity: [u8; 32],
}

/// Why there is no access. The text is the client's answer (control-protocol 5.3).
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum AuthError {
    #[error("could not read kubeconfig: {0}")]
    Read(String),
    #[error("{0}")]
    Yaml(yaml::YamlError),
    #[error(
        "invalid configuration: no configuration has been provided, try setting KUBERNETES_MASTER environment variable"
    )]
    NoConfiguration,
    #[error("could not determine namespace")]
    NoNamespace,
    #[error("context {0:?} does not exist")]
    NoContext(String),
    #[error(
        "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined"
    )]
    NotInCluster,
    #[error("invalid configuration: {0}")]
    Invalid(String),
}

impl AuthError {
    fn invalid(fault: impl fmt::Display) -> Self {
        Self::Invalid(fault.to_string())
    }
}

impl Access {
    /// Reads what `source` names. `named` is true if the unit's namespace is already known.
    pub(crate) fn load(
        source: &Source,
        kind: &KubernetesType,
        named: bool,
        world: &Environment,
    ) -> Result<Self, AuthError> {
        let context = kind.credentials.context.as_deref();
        match source {
            Source::Text(text) => {
                let identity = identity(&["text", context.unwrap_or_default(), text.expose_secret()]);
                Self::from_kubeconfig(parse(text.expose_secret())?, context, identity, world)
            }
            Source::File(path) => {
                let text = read(path).map_err(|fault| AuthError::Read(open_error(path, &fault)))?;
                let identity = identity(&["file", &path.to_string_lossy(), context.unwrap_or_default(), &text]);
                let mut kubeconfig = parse(&text)?;
                anchor(&mut kubeconfig, path.parent().unwrap_or(Path::new("/")));
                Self::from_kubeconfig(kubeconfig, context, identity, world)
            }
            Source::Standard => Self::from_standard_files(context, named, world),
            Source::InCluster => Self::in_cluster(world),
        }
    }

    fn from_kubeconfig(
        mut kubeconfig: Kubeconfig,
        context: Option<&str>,
        identity: [u8; 32],
        world: &Environment,
    ) -> Result<Self, AuthError> {
        if let Some(context) = context {
            kubeconfig.current_context = Some(context.to_owned());
        }
        if kubeconfig.current_context.as_deref().unwrap_or_default().is_empty() {
            return Err(AuthError::NoConfiguration);
        }
        let own_proxy = in_use(&kubeconfig, None).0.and_then(|cluster| cluster.proxy_url.clone());
        let mut config = kube::Config::try_from(kubeconfig).map_err(|fault| match fault {
            KubeconfigError::LoadContext(name) => AuthError::NoContext(name),
            KubeconfigError::ParseNoProxy(_) => {
                AuthError::Invalid("NO_PROXY has an entry that is no address, network or host".to_owned())
            }
            // Its own words would show the URL, and a password in it.
            KubeconfigError::ParseProxyUrl(_) => AuthError::Invalid("the proxy is no URL".to_owned()),
            other => AuthError::invalid(other),
        })?;
        // kube compares NO_PROXY with the proxy instead of the server.
        config.proxy_url = proxy::choose(own_proxy.as_deref(), &config.cluster_url, world)?;
        let namespace = match config.default_namespace.as_str() {
            "" => "default".to_owned(),
            namespace => namespace.to_owned(),
        };
        // Its retries repeat a POST, and a second pod with it.
        config.default_retry = false;
        Ok(Self { config, namespace, identity })
    }

    fn from_standard_files(context: Option<&str>, named: bool, world: &Environment) -> Result<Self, AuthError> {
        let mut merged: Option<Kubeconfig> = None;
        let mut parts = vec!["standard".to_owned(), context.unwrap_or_default().to_owned()];
        for path in standard_files(world) {
            let text = match read(&path) {
                Ok(text) => text,
                // As the original: of the files in the list those count that are there.
                Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => continue,
                Err(fault) => return Err(AuthError::Read(open_error(&path, &fault))),
            };
            let mut next = parse(&text)?;
            anchor(&mut next, path.parent().unwrap_or(Path::new("/")));
            parts.push(text);
            merged = Some(match merged {
                None => next,
                Some(before) => before.merge(next).map_err(AuthError::invalid)?,
            });
        }
        match merged {
            Some(kubeconfig) => Self::from_kubeconfig(kubeconfig, context, identity(&parts), world),
            None if named => Err(AuthError::NoConfiguration),
            None => Err(AuthError::NoNamespace),
        }
    }

    fn in_cluster(world: &Environment) -> Result<Self, AuthError> {
        let variable = |name| world.get(name).ok_or(AuthError::NotInCluster);
        let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let url = format!("https://{host}:{port}").parse().map_err(AuthError::invalid)?;
        let mut config = kube::Config::new(url);
        config.default_retry = false;
        config.proxy_url = proxy::choose(None, &config.cluster_url, world)?;
        let file = |name| world.service_account.join(name);
        config.root_cert_file = Some(file("ca.crt")).filter(|path| path.exists());
        let token = world.get("KUBERNETES_SERVICE_TOKEN");
        match &token {
            Some(token) => config.auth_info.token = Some(token.clone().into()),
            // Read again every minute.
            None => config.auth_info.token_file = Some(file("token").to_string_lossy().into_owned()),
        }
        let namespace = read(&file("namespace")).unwrap_or_default().trim().to_owned();
        let identity = identity(&["incluster", &host, &port, token.as_deref().unwrap_or_default()]);
        Ok(Self { config, namespace, identity })
    }
}

/// Refuses a kubeconfig of a client that would read files or run programs of this host. One that cannot be read is left to
/// the start of the unit, which tells what is wrong with it (control-protocol 5.3).
pub(crate) fn check_runtime(text: &str, context: Option<&str>) -> Result<(), ParamError> {
    let Ok(kubeconfig) = parse(text) else { return Ok(()) };
    let (cluster, user) = in_use(&kubeconfig, context);
    if user.is_some_and(|user| user.exec.is_some() || user.auth_provider.is_some()) {
        return Err(ParamError::ExecPlugin);
    }
    let files = [
        ("certificate-authority", cluster.and_then(|cluster| cluster.certificate_authority.as_deref())),
        ("client-certificate", user.and_then(|user| user.client_certificate.as_deref())),
        ("client-key", user.and_then(|user| user.client_key.as_deref())),
        ("tokenFile", user.and_then(|user| user.token_file.as_deref())),
    ];
    let named = files.iter().find(|(_, file)| file.is_some_and(|path| !path.is_empty()));
    named.map_or(Ok(()), |(key, _)| Err(ParamError::KubeConfigFile(key)))
}

/// The cluster and the user of the context that will be used. Others in the file do no harm.
fn in_use<'a>(kubeconfig: &'a Kubeconfig, context: Option<&'a str>) -> (Option<&'a Cluster>, Option<&'a AuthInfo>) {
    let name = context.or(kubeconfig.current_context.as_deref());
    let context = kubeconfig.contexts.iter().find(|named| Some(named.name.as_str()) == name);
    let context = context.and_then(|named| named.context.as_ref());
    let cluster = context.and_then(|context| kubeconfig.clusters.iter().find(|named| named.name == context.cluster));
    let user = context
        .and_then(|context| kubeconfig.auth_infos.iter().find(|named| Some(&named.name) == context.user.as_ref()));
    (cluster.and_then(|named| named.cluster.as_ref()), user.and_then(|named| named.auth_info.as_ref()))
}

fn parse(text: &str) -> Result<Kubeconfig, AuthError> {
    // An empty document is no map, and no mistake.
    let kubeconfig: Option<Kubeconfig> = yaml::from_str(text).map_err(AuthError::Yaml)?;
    kubeconfig.ok_or(AuthError::NoConfiguration)
}

fn standard_files(world: &Environment) -> Vec<PathBuf> {
    if let Some(list) = world.get("KUBECONFIG") {
        return std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect();
    }
    world.get("HOME").map(|home| Path::new(&home).join(".kube/config")).into_iter().collect()
}

/// Makes relative file names count from the kubeconfig's own directory.
fn anchor(kubeconfig: &mut Kubeconfig, directory: &Path) {
    let absolute = |path: &mut Option<String>| {
        if let Some(path) = path.as_mut().filter(|path| !path.is_empty()) {
            *path = directory.join(&*path).to_string_lossy().into_owned();
        }
    };
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        absolute(&mut cluster.certificate_authority);
    }
    for user in kubeconfig.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        absolute(&mut user.client_certificate);
        absolute(&mut user.client_key);
        absolute(&mut user.token_file);
        if let Some(exec) = &mut user.exec
            && exec.command.as_ref().is_some_and(|command| command.contains('/'))
        {
            absolute(&mut exec.command);
        }
    }
}

/// Reads a text file of bounded size.
pub(crate) fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

/// In the words of the original: `open /x: no such file or directory`.
pub(crate) fn open_error(path: &Path, fault: &std::io::Error) -> String {
    let text = fault.raw_os_error().map_or_else(|| fault.to_string(), worknode_protocol::unit::errno_text);
    format!("open {}: {text}", path.display())
}

fn identity(parts: &[impl AsRef<str>]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in parts {
        let part = part.as_ref();
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests;

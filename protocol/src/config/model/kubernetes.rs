//! Work types that run a pod: the action `work-kubernetes` (control-protocol 5.1, work-types 2).

mod build;
mod image;
mod quantity;
mod shape;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

pub use build::{BuildContext, BuildMethod, ImageBuild, ImageTarget};
pub use image::ImagePattern;
pub use quantity::{Quantity, amount};
pub use shape::{
    Claim, ClaimPolicy, EnvSource, Mount, ObjectKind, PodForbid, PodShape, Probe, ProbeCheck, PullPolicy, Resources,
    RestartPolicy, Security, Storage,
};

/// A kind of work that runs in a Kubernetes cluster. Empty texts of the file are `None` here.
#[derive(Debug, Clone)]
pub struct KubernetesType {
    /// Name of the type; in lower case the beginning of its pods' names.
    pub work_type: String,
    /// Namespace of the pods; else that of the kubeconfig's context.
    pub namespace: Option<String>,
    /// Image of the worker container.
    pub image: Option<String>,
    /// Its command, to be split like a shell does.
    pub command: Option<String>,
    /// Its arguments, to be split like a shell does.
    pub params: Option<String>,
    /// File of a pod definition, read anew for each unit; excludes image, command and params.
    pub pod: Option<PathBuf>,
    /// How the cluster and the right to use it are found.
    pub auth_method: AuthMethod,
    /// File of a kubeconfig, read anew for each unit.
    pub kubeconfig: Option<PathBuf>,
    /// Settings of the authentication methods beyond receptor's.
    pub credentials: Credentials,
    /// How stdin and stdout travel.
    pub stream_method: StreamMethod,
    /// Settings of the stream method `tcp`.
    pub tcp: TcpStreams,
    /// Whether clients may give `kube_namespace` and `secret_kube_config`.
    pub allow_runtime_auth: bool,
    /// Whether clients may give `kube_image` and `kube_command`.
    pub allow_runtime_command: bool,
    /// Whether clients may give `kube_params` and `pod_pending_timeout`.
    pub allow_runtime_params: bool,
    /// Whether clients may give `secret_kube_pod`.
    pub allow_runtime_pod: bool,
    /// Permissions for parameters beyond receptor's.
    pub permissions: Permissions,
    /// Whether submissions must be signed, except from the Unix socket.
    pub verify_signature: bool,
    /// Whether a unit found unfinished at start that cannot go on has its pod deleted (control-protocol 5.8).
    pub delete_pod_on_restart: bool,
    /// Whether objects get the labels of work-types 2.5.
    pub label_units: bool,
    /// Whether a container's exit code other than 0 fails the unit.
    pub fail_on_exit_code: bool,
    /// How long an unreachable API server is borne; zero is receptor's five tries.
    pub api_retry_timeout: Duration,
    /// Time from creation until the pod must be ready; `None` waits for ever.
    pub pod_pending_timeout: Option<Duration>,
    /// Whether a kubeconfig given by a client may use credential plugins, which run programs of this host.
    pub allow_kubeconfig_exec: bool,
    /// When the pod is deleted.
    pub delete_pod_policy: DeletePodPolicy,
    /// Grace given to the pod at deletion; the cluster's where unset.
    pub grace_period: Option<Duration>,
    /// What the worker container runs beyond image, command and params.
    pub worker: Worker,
    /// The pod's shape beyond its worker container.
    pub shape: PodShape,
    /// How units of this type are run and watched.
    pub operation: Operation,
    /// How an image is built before the pod starts.
    pub build: ImageBuild,
}

impl KubernetesType {
    /// How long an unreachable API server is borne where the file does not say.
    pub const DEFAULT_API_RETRY_TIMEOUT: Duration = Duration::from_secs(30 * 60);
}

/// How the cluster and the right to use it are found (work-types 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthMethod {
    /// The service account of the pod that this daemon runs in.
    #[default]
    InCluster,
    /// A kubeconfig file: the configured one, else `KUBECONFIG`, else `~/.kube/config`.
    Kubeconfig,
    /// Whatever the client gives with the submission.
    Runtime,
    /// A configured server and bearer token.
    Token,
    /// A configured server and client certificate.
    Certificate,
    /// A configured server, user name and password.
    Basic,
    /// `InCluster` where its environment is there, else `Kubeconfig`.
    Auto,
}

/// How stdin and stdout travel between this node and the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StreamMethod {
    /// stdin by attach, stdout from the container's log.
    #[default]
    Logger,
    /// Both through a connection that the pod opens to this node.
    Tcp,
    /// All streams through one attach, the log to take up again.
    Attach,
    /// A helper in the pod that keeps output until it is acknowledged.
    Shim,
}

/// Settings of the stream method `tcp`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TcpStreams {
    /// The address of this host that is listened on and told to pods; where unset, that of its default route.
    pub address: Option<IpAddr>,
    /// Whether a pod must first send its token, from whatever address. Without, only the pod's own address is accepted.
    pub token: bool,
}

/// When the pod or Job of a unit is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeletePodPolicy {
    /// At cancel and at release, as receptor does.
    #[default]
    Release,
    /// As soon as it has finished and its output is read.
    Always,
    /// The same, but only where the unit succeeded.
    OnSuccess,
    /// Never.
    Never,
}

/// Settings of the authentication methods beyond receptor's (work-types 2.3).
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// Context of the kubeconfig; its current one where unset.
    pub context: Option<String>,
    /// URL of the API server.
    pub api_server: Option<String>,
    /// Bearer token.
    pub token: Option<SecretString>,
    /// File of a bearer token, reread every minute.
    pub token_file: Option<PathBuf>,
    /// How often the own token is renewed; `None` never.
    pub token_refresh: Option<Duration>,
    /// PEM file of the client certificate, which may hold the key too.
    pub client_certificate: Option<PathBuf>,
    /// The same, base64.
    pub client_certificate_data: Option<String>,
    /// PEM file of the client's key.
    pub client_key: Option<PathBuf>,
    /// The same, base64.
    pub client_key_data: Option<SecretString>,
    /// User name for basic authentication.
    pub username: Option<String>,
    /// Password for basic authentication.
    pub password: Option<SecretString>,
    /// PEM file of the authorities of the server's certificate.
    pub certificate_authority: Option<PathBuf>,
    /// The same, base64.
    pub certificate_authority_data: Option<String>,
    /// Accept any server certificate.
    pub insecure_skip_tls_verify: bool,
    /// Name expected in the server's certificate.
    pub tls_server_name: Option<String>,
    /// Proxy to reach the server through; the environment's where unset.
    pub proxy_url: Option<String>,
}

/// Which groups of runtime parameters clients may give, beyond receptor's four (work-types 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions {
    /// `kube_kind`, `kube_backoff_limit`, `secret_kube_job` and their like.
    pub job: bool,
    /// `kube_env`, `secret_kube_env`, `kube_env_from`.
    pub env: bool,
    /// Limits and requests.
    pub resources: bool,
    /// Claims and mounts.
    pub volumes: bool,
    /// Users, privileges, service account.
    pub security: bool,
    /// Affinity, tolerations, node selector, priority.
    pub scheduling: bool,
    /// Labels and annotations.
    pub labels: bool,
    /// The object's name and what happens if it exists.
    pub name: bool,
    /// Building an image.
    pub build: bool,
    /// `ctl work exec` and `ctl work cp`.
    pub exec: bool,
}

/// What the worker container runs beyond image, command and params (work-types 2.2).
#[derive(Debug, Clone, Default)]
pub struct Worker {
    /// Words put before a script; `/bin/sh -c` where unset.
    pub shell: Option<String>,
    /// Script passed as one word after `shell`.
    pub script: Option<String>,
    /// Absolute directory to run in.
    pub working_dir: Option<String>,
    /// Variables.
    pub env: BTreeMap<String, String>,
    /// Secrets and config maps whose keys become variables.
    pub env_from: Vec<EnvSource>,
    /// Patterns, one of which every image must match; none allows all.
    pub image_allow: Vec<ImagePattern>,
    /// What a client's pod definition may not hold.
    pub pod_forbid: Vec<PodForbid>,
    /// Liveness, readiness and startup probe.
    pub probes: [Option<Probe>; 3],
}

/// How units of a type are run and watched (work-types 2.4, 2.5).
#[derive(Debug, Clone, Default)]
pub struct Operation {
    /// Where the worker's standard error goes.
    pub stderr: PodStderr,
    /// Whether a gap in the output fails the unit, or is only told.
    pub output_guard_fails: bool,
    /// New pods after a stdin that was cut before anything was read.
    pub stdin_retry: u32,
    /// Whether objects of this node that have no unit are deleted at start.
    pub prune_on_start: bool,
    /// Units running at once; 0 is no limit.
    pub max_concurrent: u32,
    /// What is done about an object of the wanted name.
    pub if_exists: Option<IfExists>,
    /// Where samples of use come from.
    pub metrics_provider: MetricsProvider,
    /// Time between samples; 15 s where unset.
    pub metrics_interval: Option<Duration>,
    /// Server asked by [`MetricsProvider::Prometheus`].
    pub prometheus_url: Option<String>,
}

/// Where the standard error of a worker container goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PodStderr {
    /// Into the unit's output.
    #[default]
    Merged,
    /// Into a file of its own; submission fails where the cluster cannot do it.
    Separate,
    /// Apart where the cluster can do it.
    Auto,
}

/// What is done about an object of the wanted name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfExists {
    /// Adopt it.
    Attach,
    /// Delete it first.
    Replace,
    /// Fail the unit.
    Fail,
}

/// Where samples of a unit's use come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetricsProvider {
    /// None are taken.
    #[default]
    None,
    /// The metrics API of the cluster.
    MetricsServer,
    /// A Prometheus server.
    Prometheus,
}

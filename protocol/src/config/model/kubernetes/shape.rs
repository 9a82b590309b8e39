//! The pod's shape: resources, storage, security, scheduling (work-types 2.4).

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Quantity;

/// Everything about the created object that a pod definition could say and a key of the work type fills in.
#[derive(Debug, Clone, Default)]
pub struct PodShape {
    /// Whether units run as pods or as Jobs.
    pub kind: ObjectKind,
    /// File of a Job definition.
    pub job: Option<PathBuf>,
    /// Attempts of a Job after the first.
    pub backoff_limit: u32,
    /// Seconds after which a finished Job is removed by the cluster.
    pub ttl_seconds_after_finished: Option<u32>,
    /// Restart policy of a Job's pods.
    pub restart_policy: RestartPolicy,
    /// Deadline in seconds.
    pub active_deadline_seconds: Option<u32>,
    /// Processor, memory and extended resources.
    pub resources: Resources,
    /// Claims and mounts.
    pub storage: Storage,
    /// Users and privileges.
    pub security: Security,
    /// Affinity as the API has it.
    pub affinity: Option<serde_json::Value>,
    /// Tolerations as the API has them.
    pub tolerations: Option<serde_json::Value>,
    /// Labels a cluster node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Priority class.
    pub priority_class: Option<String>,
    /// Labels of the object.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the object.
    pub annotations: BTreeMap<String, String>,
    /// When the image is pulled; the cluster decides where unset.
    pub image_pull_policy: Option<PullPolicy>,
    /// Secrets with registry credentials.
    pub image_pull_secrets: Vec<String>,
}

/// Kind of the created object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ObjectKind {
    /// A bare pod.
    #[default]
    Pod,
    /// A Job.
    Job,
}

/// When the image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// At every start.
    Always,
    /// If the cluster node does not have it.
    IfNotPresent,
    /// Never.
    Never,
}

/// Restart policy of a Job's pods; bare pods are never restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestartPolicy {
    /// A failed container ends its pod.
    #[default]
    Never,
    /// A failed container is started again in its pod.
    OnFailure,
}

/// Processor, memory and extended resources of the worker container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// Limit in cores.
    pub cpu_limit: Option<Quantity>,
    /// Limit in bytes.
    pub memory_limit: Option<Quantity>,
    /// Request in cores.
    pub cpu_request: Option<Quantity>,
    /// Request in bytes.
    pub memory_request: Option<Quantity>,
    /// Share of the limit that is requested where only a limit is set, in percent; 50 where unset.
    pub request_percent: Option<u8>,
    /// Extended resources by name.
    pub extra: BTreeMap<String, Quantity>,
    /// Greatest limit a client may ask for, in cores.
    pub max_cpu_limit: Option<Quantity>,
    /// Greatest limit a client may ask for, in bytes.
    pub max_memory_limit: Option<Quantity>,
}

/// Claims and mounts of the worker container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Storage {
    /// Existing claims to mount.
    pub claims: Vec<Claim>,
    /// Claims to create: `NAME:/PATH[:SIZE[:MODE[:CLASS]]]`, checked.
    pub create_claims: Vec<String>,
    /// What becomes of created claims at release.
    pub claim_policy: ClaimPolicy,
    /// Secrets, config maps and empty directories to mount.
    pub mounts: Vec<Mount>,
}

/// An existing claim to mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Name of the claim.
    pub name: String,
    /// Absolute path in the container.
    pub path: String,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

/// What becomes of created claims at release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClaimPolicy {
    /// Deleted.
    #[default]
    Release,
    /// Kept, and shared by units.
    Keep,
}

/// Something mounted into the worker container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// A secret: name and absolute path.
    Secret(String, String),
    /// A config map: name and absolute path.
    ConfigMap(String, String),
    /// An empty directory: its size and absolute path.
    Empty(Quantity, String),
}

/// Users and privileges of the pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// Privileged worker container.
    pub privileged: bool,
    /// User ID of the processes.
    pub run_as_user: Option<i64>,
    /// Group ID of the processes.
    pub run_as_group: Option<i64>,
    /// Group that owns mounted volumes.
    pub fs_group: Option<i64>,
    /// Service account.
    pub service_account: Option<String>,
    /// Whether its token is mounted; the cluster decides where unset.
    pub automount_token: Option<bool>,
}

/// Where variables come from in bulk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvSource {
    /// The keys of a secret.
    Secret(String),
    /// The keys of a config map.
    ConfigMap(String),
}

/// Something that a client's pod definition may not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodForbid {
    /// Privileged containers.
    Privileged,
    /// Volumes of the cluster node's file system.
    HostPath,
    /// The cluster node's network.
    HostNetwork,
    /// The cluster node's processes.
    HostPid,
    /// The cluster node's shared memory.
    HostIpc,
    /// Added capabilities.
    Capabilities,
    /// Another namespace.
    Namespace,
    /// A service account.
    ServiceAccount,
}

/// A probe of the worker container: its checks, or the whole as the API has it.
#[derive(Debug, Clone, PartialEq)]
pub enum Probe {
    /// `exec:CMD`, `http:PORT/PATH` or `tcp:PORT`, with the cluster's timing.
    Check(ProbeCheck),
    /// A definition as the API has it.
    Definition(serde_json::Value),
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeCheck {
    /// A command line, to be split like a shell does.
    Exec(String),
    /// An HTTP GET: port and path.
    Http(u16, String),
    /// A TCP connection: port.
    Tcp(u16),
}

//! What every configuration dialect ends in: one whole, checked [`NodeConfig`].
//!
//! Defaults are filled in and cross references are checked (control-protocol 1.4); nothing here has been opened, bound
//! or run. A value that could not be used is never stored: the loader answers with an error instead.

pub mod allow;
pub mod certs;
pub mod command;
pub mod kubernetes;
pub mod mesh;
pub mod nomad;
pub mod signing;
pub mod tls;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::id::NodeId;
use allow::AllowRule;
pub use certs::CertCommand;
pub use command::CommandType;
pub use kubernetes::{AuthMethod, DeletePodPolicy, KubernetesType, PodStderr, StreamMethod, TcpStreams};
pub use signing::{TokenBinding, WorkSigning, WorkVerification};
pub use tls::{Fingerprint, TlsClient, TlsServer};

/// The configuration of one node, from whichever dialect.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Who this node is and where it keeps its data.
    pub node: NodeSection,
    /// What is logged; `info` where the file does not say (control-protocol 1.4).
    pub log_level: LogLevel,
    /// Whether the node may run without a listener or peer.
    pub local_only: bool,
    /// Control services, in the order of the file.
    pub control_services: Vec<ControlService>,
    /// Named TLS settings for listeners; names are unique, a later entry of a name replaces an earlier one.
    pub tls_servers: Vec<TlsServer>,
    /// Named TLS settings for connections this node opens; names as in `tls_servers`.
    pub tls_clients: Vec<TlsClient>,
    /// Work types, in the order of the file; names are unique.
    pub work_types: Vec<WorkType>,
    /// Work types that run in a Nomad cluster. The loader refuses them by name until their part is built, so the
    /// daemon finds none here.
    pub nomad_types: Vec<nomad::NomadType>,
    /// Key with which this node signs work it submits to others.
    pub work_signing: Option<WorkSigning>,
    /// Key that signatures of submitted work are verified with.
    pub work_verification: Option<WorkVerification>,
    /// Backends and bridges of the mesh.
    pub mesh: mesh::MeshConfig,
    /// Tuning of the Kubernetes client, for all work types.
    pub kube_tuning: KubeTuning,
    /// Bounds on what clients of the control service may use.
    pub limits: ControlLimits,
}

impl NodeConfig {
    /// The TLS settings for listeners called `name`.
    #[must_use]
    pub fn tls_server(&self, name: &str) -> Option<&TlsServer> {
        self.tls_servers.iter().find(|server| server.name == name)
    }

    /// The TLS settings for outgoing connections called `name`.
    #[must_use]
    pub fn tls_client(&self, name: &str) -> Option<&TlsClient> {
        self.tls_clients.iter().find(|client| client.name == name)
    }

    /// Whether anything connects this node to others, or the file says that nothing shall. Without either there is
    /// nothing to do, and the daemon says so and ends (control-protocol 1.5).
    #[must_use]
    pub fn has_backend(&self) -> bool {
        self.local_only || !self.mesh.backends.is_empty()
    }
}

/// Identity and data directory of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSection {
    /// Node ID.
    pub id: NodeId,
    /// Directory for the data of all nodes of this host; units live in `data_dir/id`.
    pub data_dir: PathBuf,
    /// Rules for datagrams, first match decides.
    pub firewall_rules: Vec<mesh::FirewallRule>,
    /// Silence after which a mesh connection counts as lost; at least 21 s.
    pub max_idle_connection_timeout: Duration,
}

/// How much is logged; each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// Failures only.
    Error,
    /// Also what is odd but handled.
    Warning,
    /// Also what the node does.
    Info,
    /// Also how it does it.
    Debug,
}

impl LogLevel {
    /// The level called `name` in a configuration file, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let levels = [Self::Error, Self::Warning, Self::Info, Self::Debug];
        levels.into_iter().find(|level| level.name().eq_ignore_ascii_case(name))
    }

    /// The lower-case name, as a configuration file has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One control service with up to three listeners that all speak the same (control-protocol 2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlService {
    /// Name of the service on the mesh; empty where there is no mesh listener.
    pub service: String,
    /// Path of the Unix socket, if there is one.
    pub filename: Option<PathBuf>,
    /// Mode of the Unix socket, such as `0o600`; at most `0o7777`.
    pub permissions: u32,
    /// Name in [`NodeConfig::tls_servers`] for the mesh listener.
    pub tls: Option<String>,
    /// `host:port`, or a port alone for all interfaces.
    pub tcp_listen: Option<String>,
    /// Name in [`NodeConfig::tls_servers`] for the TCP listener.
    pub tcp_tls: Option<String>,
    /// Who may do what; none: everybody may do everything.
    pub allow: Option<Vec<AllowRule>>,
}

/// A kind of work this node accepts.
#[derive(Debug, Clone)]
pub enum WorkType {
    /// A local command.
    Command(Box<CommandType>),
    /// A pod or Job in a Kubernetes cluster.
    Kubernetes(Box<KubernetesType>),
}

impl WorkType {
    /// The name under which clients submit this work; may be empty, and is then not advertised (control-protocol 1.4).
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Command(command) => &command.work_type,
            Self::Kubernetes(kubernetes) => &kubernetes.work_type,
        }
    }

    /// Whether submissions of this type must carry a signature, except from the Unix socket.
    #[must_use]
    pub fn verify_signature(&self) -> bool {
        match self {
            Self::Command(command) => command.verify_signature,
            Self::Kubernetes(kubernetes) => kubernetes.verify_signature,
        }
    }
}

/// Tuning of the Kubernetes client (control-protocol 5.7): from `RECEPTOR_KUBE_*`, or in a v2 file that says
/// `version: 2` from its node section.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KubeTuning {
    /// Whether a log stream that broke off is taken up again; `None` asks the cluster's version.
    pub support_reconnect: Option<bool>,
    /// Requests per second, 100 unless set.
    pub qps: Option<u32>,
    /// Requests at once, ten times `qps` unless set.
    pub burst: Option<u32>,
    /// Which rule holds requests back.
    pub rate_limiter: RateLimiter,
}

/// Rule by which Kubernetes requests are held back (control-protocol 5.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RateLimiter {
    /// `qps` per second, `burst` at once.
    #[default]
    TokenBucket,
    /// No request waits.
    AlwaysAccept,
    /// Every request fails; of use in tests only.
    NeverAccept,
}

/// Bounds on what strangers may use of this node through its control service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlLimits {
    /// Longest command line in bytes, without its line feed.
    pub command_line_bytes: usize,
    /// Connections open at once, over all listeners of the node.
    pub connections: usize,
}

impl ControlLimits {
    /// Enough for a pod definition with its secrets inside a JSON command.
    pub const DEFAULT_COMMAND_LINE_BYTES: usize = 16 * 1024 * 1024;
    /// Far above what a busy controller opens, below the usual limits on open files.
    pub const DEFAULT_CONNECTIONS: usize = 10_000;
}

impl Default for ControlLimits {
    fn default() -> Self {
        Self { command_line_bytes: Self::DEFAULT_COMMAND_LINE_BYTES, connections: Self::DEFAULT_CONNECTIONS }
    }
}

//! Work types that run in a Nomad cluster: the action `work-nomad` (work-types 4).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::command::CommandStderr;

/// A kind of work that runs as an allocation of a Nomad cluster.
#[derive(Debug, Clone)]
pub struct NomadType {
    /// Name of the type.
    pub work_type: String,
    /// URL of the agent; `NOMAD_ADDR`, then `http://127.0.0.1:4646`, where unset.
    pub address: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Namespace.
    pub namespace: Option<String>,
    /// Access token.
    pub token: Option<SecretString>,
    /// File of an access token.
    pub token_file: Option<PathBuf>,
    /// PEM file of the authorities of the agent's certificate.
    pub certificate_authority: Option<PathBuf>,
    /// PEM file of the client certificate.
    pub client_certificate: Option<PathBuf>,
    /// PEM file of the client's key.
    pub client_key: Option<PathBuf>,
    /// Accept any certificate of the agent.
    pub insecure_skip_tls_verify: bool,
    /// Data centres; the agent's own where empty.
    pub datacenters: Vec<String>,
    /// Task driver.
    pub driver: NomadDriver,
    /// Image of the task.
    pub image: Option<String>,
    /// Command of the task.
    pub command: Option<String>,
    /// Arguments, to be split like a shell does.
    pub params: Option<String>,
    /// Variables.
    pub env: BTreeMap<String, String>,
    /// Processor share in MHz.
    pub cpu: u32,
    /// Memory in MB.
    pub memory: u32,
    /// Disk in MB.
    pub disk: u32,
    /// Constraints as `ATTRIBUTE OPERATOR VALUE`.
    pub constraints: Vec<String>,
    /// Network mode of the docker driver.
    pub network_mode: Option<String>,
    /// Volumes as `HOST:/PATH[:ro]`.
    pub volumes: Vec<String>,
    /// Metadata of the job.
    pub meta: BTreeMap<String, String>,
    /// File of a job definition.
    pub job: Option<PathBuf>,
    /// Beginning of the job's ID; the work type where unset.
    pub prefix: Option<String>,
    /// How stdin reaches the task.
    pub stdin_method: NomadStdin,
    /// Time until an allocation must run.
    pub alloc_pending_timeout: Option<Duration>,
    /// Longest run time.
    pub timeout: Option<Duration>,
    /// Where standard error goes.
    pub stderr: CommandStderr,
    /// Restarts and reschedules.
    pub attempts: u32,
    /// Whether release also purges the job.
    pub purge_on_release: bool,
    /// Whether an exit code other than 0 fails the unit.
    pub fail_on_exit_code: bool,
    /// How long an unreachable agent is borne.
    pub api_retry_timeout: Duration,
    /// Units running at once; 0 is no limit.
    pub max_concurrent: u32,
    /// Whether submissions must be signed.
    pub verify_signature: bool,
    /// Which groups of runtime parameters clients may give.
    pub permissions: NomadPermissions,
}

/// Which groups of runtime parameters clients may give (work-types 4, 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NomadPermissions {
    /// Region, namespace and token.
    pub auth: bool,
    /// Image and command.
    pub command: bool,
    /// Arguments and time limits.
    pub params: bool,
    /// Variables.
    pub env: bool,
    /// Processor, memory and disk.
    pub resources: bool,
    /// Data centres and constraints.
    pub scheduling: bool,
    /// Volumes.
    pub volumes: bool,
    /// Metadata.
    pub labels: bool,
    /// A job definition.
    pub job: bool,
    /// The job's name and what happens if it exists.
    pub name: bool,
    /// Commands run inside an allocation.
    pub exec: bool,
}

/// Task driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NomadDriver {
    /// Containers.
    #[default]
    Docker,
    /// Plain processes.
    RawExec,
    /// Isolated processes.
    Exec,
}

/// How stdin reaches a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NomadStdin {
    /// `None` if it is empty, `Payload` if it fits, else `Exec`.
    #[default]
    Auto,
    /// Through a command run in the allocation.
    Exec,
    /// As the payload of a dispatch.
    Payload,
    /// Not at all.
    None,
}

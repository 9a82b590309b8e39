//! Work types that run a local command: the action `work-command` (work-types 3).

use std::collections::BTreeMap;
use std::time::Duration;

use super::kubernetes::Quantity;

/// A kind of work that runs a command on this host.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandType {
    /// Name of the type.
    pub work_type: String,
    /// Program to run, looked up in `PATH` where it holds no `/`.
    pub command: String,
    /// Words of the command line after the program, to be split like a shell does.
    pub params: String,
    /// Whether clients may append to `params`.
    pub allow_runtime_params: bool,
    /// Whether submissions must be signed, except from the Unix socket.
    pub verify_signature: bool,
    /// Time between the interrupt of a cancel and the kill.
    pub grace_period: Duration,
    /// Whether a cancel also kills what the job left behind in its process group.
    pub kill_tree: bool,
    /// Longest run time; the job is then stopped and the unit fails.
    pub timeout: Option<Duration>,
    /// Variables added to the daemon's environment.
    pub env: BTreeMap<String, String>,
    /// Start from `PATH`, `HOME`, `USER` and `LANG` alone instead of the daemon's environment.
    pub clean_env: bool,
    /// Directory to run in; may contain `{unitdir}`.
    pub working_dir: Option<String>,
    /// `NAME` or `UID[:GID]` to run as.
    pub user: Option<String>,
    /// Where the job's standard error goes.
    pub stderr: CommandStderr,
    /// Units running at once; 0 is no limit.
    pub max_concurrent: u32,
    /// Scheduling priority, -20 to 19.
    pub nice: Option<i32>,
    /// Most memory of the job, in bytes.
    pub memory_max: Option<Quantity>,
    /// Most processor time of the job, in cores.
    pub cpu_max: Option<Quantity>,
    /// Whether clients may add variables.
    pub allow_runtime_env: bool,
    /// Whether clients may name the directory to run in.
    pub allow_runtime_working_dir: bool,
    /// Whether clients may name the user to run as.
    pub allow_runtime_user: bool,
}

impl CommandType {
    /// Time between interrupt and kill where the file does not say.
    pub const DEFAULT_GRACE_PERIOD: Duration = Duration::from_secs(10);
}

/// Where the standard error of a command goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CommandStderr {
    /// Into the unit's output, as it comes.
    #[default]
    Merged,
    /// Into a file of its own.
    Separate,
}

use std::time::Duration;

use clap::{Args, Subcommand};
use worknode_protocol::duration::GoDuration;

/// What `ctl work submit --help` says after the options.
const SUBMIT_EXAMPLES: &str = "\
Examples:
  ctl work submit kubeit --param secret_kube_pod=@pod.yml -p input.txt
  ctl work submit cat --node edge7 -l hello -f --rm
  ctl work submit ansible-runner --node edge7 --tls-client mesh --signwork --ttl 1h -p job.zip";

/// The verbs about work units.
#[derive(Debug, Subcommand)]
pub(crate) enum WorkVerb {
    /// List the units of a node
    #[command(after_help = "Examples:\n  ctl work list --table\n  ctl work list --node edge7 --state Running -q")]
    List(ListArgs),

    /// Submit a new unit
    #[command(after_help = SUBMIT_EXAMPLES)]
    Submit(SubmitArgs),

    /// Print all output of a unit, from its first byte until it ends
    ///
    /// Ends with 1 if the unit has failed.
    Results(UnitArgs),

    /// Show the state of a unit
    Status(UnitArgs),

    /// Show all that the node knows of a unit: how far it came, its pod, exit code, times, lost output
    Describe(UnitArgs),

    /// Print the output of a unit so far
    Logs(LogsArgs),

    /// Wait until units have ended
    ///
    /// Ends with 0 if all have succeeded, 10 if one has failed, 11 if one was cancelled, 124 if time is up.
    Wait(WaitArgs),

    /// Cancel (kill) units
    Cancel(UnitsArgs),

    /// Release (delete) units with all that they have written
    Release(ReleaseArgs),

    /// Release all units that have ended, or delete what no unit owns in the cluster
    ///
    /// Ends with 1 if something could not be pruned.
    Prune(PruneArgs),
}

/// Another node to do the work verb on.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Via {
    /// Node to ask, through the one connected to; that one by default
    #[arg(long)]
    pub(crate) node: Option<String>,

    /// Name of the node's tls-client configuration for the connection to --node
    #[arg(long, value_name = "NAME", id = "via_tls_client")]
    pub(crate) tls_client: Option<String>,
}

/// `work list`
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only list unit IDs
    #[arg(short, long, conflicts_with = "table")]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) via: Via,

    /// Only list this unit
    #[arg(long = "unit_id", visible_alias = "unit-id", value_name = "ID")]
    pub(crate) unit_id: Option<String>,

    /// Only list units in this state
    #[arg(long, ignore_case = true, value_parser = ["Pending", "Running", "Succeeded", "Failed", "Canceled"])]
    pub(crate) state: Option<String>,

    /// Only list units of this work type
    #[arg(long, value_name = "TYPE")]
    pub(crate) worktype: Option<String>,

    /// Print a table: ID, type, state, size of the output, detail
    #[arg(long, conflicts_with = "json")]
    pub(crate) table: bool,
}

/// `work submit`
#[derive(Debug, Args)]
pub(crate) struct SubmitArgs {
    /// Work type
    pub(crate) worktype: String,

    /// Node to run the work on; the one connected to by default
    #[arg(long)]
    pub(crate) node: Option<String>,

    /// File with the payload, the unit's stdin; - for our own stdin
    ///
    /// Without any payload option our own stdin is sent, unless it is a terminal.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) payload: Option<String>,

    /// Text to send as the payload, with a line feed added
    #[arg(short = 'l', long, value_name = "TEXT")]
    pub(crate) payload_literal: Option<String>,

    /// Send an empty payload
    #[arg(short, long)]
    pub(crate) no_payload: bool,

    /// Name of the node's tls-client configuration for the connection to --node
    #[arg(long, value_name = "NAME", id = "submit_tls_client")]
    pub(crate) tls_client: Option<String>,

    /// Time within which remote work must have started: 1h20m30s, 30m10s
    #[arg(long, value_name = "DURATION")]
    pub(crate) ttl: Option<String>,

    /// Have the node sign its requests to --node
    #[arg(long)]
    pub(crate) signwork: bool,

    /// Stay, and print the results of the unit until it ends
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// Release the unit at the end
    #[arg(long)]
    pub(crate) rm: bool,

    /// Parameter of the work type, KEY=VALUE; @FILE as value for the contents of a file
    ///
    /// A value that begins with @@ is sent as it is, with both signs.
    #[arg(short = 'a', long = "param", value_name = "KEY=VALUE")]
    pub(crate) params: Vec<String>,

    /// Words to append to the parameter `params`
    #[arg(value_name = "CMDPARAMS")]
    pub(crate) cmdparams: Vec<String>,
}

/// A verb about one unit.
#[derive(Debug, Args)]
pub(crate) struct UnitArgs {
    /// Unit ID
    pub(crate) unit_id: String,

    #[command(flatten)]
    pub(crate) via: Via,
}

/// `work logs`
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Unit ID
    pub(crate) unit_id: String,

    #[command(flatten)]
    pub(crate) via: Via,

    /// Stay, and print what is written until the unit ends
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// Begin with the last N lines
    #[arg(long, value_name = "N")]
    pub(crate) tail: Option<u64>,
}

/// `work wait`
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// Unit IDs
    #[arg(required = true)]
    pub(crate) unit_ids: Vec<String>,

    #[command(flatten)]
    pub(crate) via: Via,

    /// Give up after this time, and end with 124: 90s, 1h30m
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub(crate) timeout: Option<Duration>,

    /// End as soon as one of the units has ended
    #[arg(long)]
    pub(crate) any: bool,

    /// End with the exit code of the unit's own command (one unit only)
    #[arg(long)]
    pub(crate) exit_code: bool,
}

/// `work cancel`
#[derive(Debug, Args)]
pub(crate) struct UnitsArgs {
    /// Unit IDs
    pub(crate) unit_ids: Vec<String>,

    /// All units that have not ended
    #[arg(long, conflicts_with = "unit_ids")]
    pub(crate) all: bool,

    #[command(flatten)]
    pub(crate) via: Via,
}

/// `work release`
#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// Unit IDs
    pub(crate) unit_ids: Vec<String>,

    /// Delete locally even if the remote node cannot be reached
    #[arg(long)]
    pub(crate) force: bool,

    /// All units
    #[arg(long)]
    pub(crate) all: bool,

    #[command(flatten)]
    pub(crate) via: Via,
}

/// `work prune`
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Delete the node's objects in clusters that belong to no unit; no unit is touched
    #[arg(long, conflicts_with_all = ["older", "state"])]
    pub(crate) cluster: bool,

    /// Only units that ended so long ago: 90s, 1h30m
    #[arg(long, value_name = "DURATION")]
    pub(crate) older: Option<GoDuration>,

    /// Only units in this state
    #[arg(long, ignore_case = true, value_parser = ["Succeeded", "Failed", "Canceled"])]
    pub(crate) state: Option<String>,

    /// Only show what would go
    #[arg(long)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) via: Via,
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration: GoDuration = text.parse().map_err(|error| format!("{error}"))?;
    duration.to_std().ok_or_else(|| "a time to wait cannot be negative".to_owned())
}

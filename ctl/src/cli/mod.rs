//! What was typed: the words of the command line with their types, and nothing looked up yet.
//!
//! Names, options and defaults of the original client's verbs are those of control-protocol 6.3; further verbs and
//! options are ours (work-types 5). Help, manual pages and completions are generated from these definitions.

mod generate;
mod work;

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, ColorChoice, Parser, Subcommand};

pub(crate) use self::generate::generated;
pub(crate) use self::work::{
    ListArgs, LogsArgs, PruneArgs, ReleaseArgs, SubmitArgs, UnitArgs, UnitsArgs, Via, WaitArgs, WorkVerb,
};
use crate::exit::EXIT_CODES;

/// Where the control socket is looked for.
const SOCKET_ORDER: &str = "\
The control socket is the first of these that is given:
  --socket
  the environment: WORKNODE_CTL_SOCKET, RECEPTORCTL_SOCKET
  the key `socket` of ~/.config/worknode/ctl.toml, of /etc/worknode/ctl.toml
  /run/worknode/worknode.sock, /run/receptor/receptor.sock, if it exists";

/// What `ctl status --help` says after the options.
const STATUS_EXAMPLES: &str = "\
Examples:
  ctl status --graph
  ctl status --graph=dot | dot -Tsvg -o mesh.svg
  ctl status --node hub --graph=mermaid";

/// What `ctl --help` says after the options.
fn after_help() -> String {
    format!("{SOCKET_ORDER}\n\n{EXIT_CODES}")
}

/// Submit work to a node, follow it, and look after the node.
#[derive(Debug, Parser)]
#[command(name = "ctl", version, propagate_version = false, subcommand_required = true)]
#[command(arg_required_else_help = true, after_help = after_help())]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) endpoint: EndpointArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Where the node is and how to prove who we are.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct EndpointArgs {
    /// Control socket: a path, tcp://HOST:PORT or tls://HOST:PORT
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) socket: Option<String>,

    /// Configuration file of a node, in which --tls-client is looked up
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<String>,

    /// Name of the tls-client section of --config to connect with
    #[arg(long, value_name = "NAME")]
    pub(crate) tls_client: Option<String>,

    /// File of the certificate authorities to trust instead of the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) rootcas: Option<String>,

    /// File of the client's private key
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<String>,

    /// File of the client's certificate
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<String>,

    /// Accept a server certificate for another host name; its issuer is still checked
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(hide_possible_values = true, value_parser = clap::builder::BoolishValueParser::new())]
    pub(crate) insecureskipverify: Option<bool>,
}

/// How to show the outcome.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Print JSON for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Colour errors and warnings: always, never, or auto for a terminal without NO_COLOR
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    pub(crate) color: ColorChoice,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show the status of the node and what it knows of the mesh
    #[command(after_help = STATUS_EXAMPLES)]
    Status {
        /// Draw the links of the mesh instead: as text, or for `dot` or Mermaid
        #[arg(long, value_name = "FORM", num_args = 0..=1, require_equals = true, default_missing_value = "text")]
        #[arg(conflicts_with = "json")]
        graph: Option<GraphForm>,

        #[command(flatten)]
        via: Via,
    },

    /// The nodes of the mesh
    #[command(subcommand)]
    Node(NodeVerb),

    /// Ping a node
    ///
    /// Ends with 2 if a ping had no reply.
    Ping {
        /// Node to reach
        node: String,
        /// Number of pings to send
        #[arg(long, default_value_t = 4)]
        count: u32,
        /// Seconds between pings
        #[arg(long, default_value = "1.0", value_parser = seconds)]
        delay: Duration,
    },

    /// Show the nodes on the way to a node
    Traceroute {
        /// Node to reach
        node: String,
    },

    /// Have the node read its configuration again
    ///
    /// Ends with 3 if a changed action cannot be reloaded, with 4 if the new configuration cannot be read or applied.
    Reload {
        #[command(flatten)]
        via: Via,
    },

    /// Show the versions of ctl and of the node
    Version,

    /// Connect stdin and stdout to a service of a node
    Connect {
        /// Node to connect to
        node: String,
        /// Service of that node
        service: String,
        /// Put the terminal into raw mode: every key goes to the service
        #[arg(short, long)]
        raw: bool,
        /// Name of the node's tls-client configuration for the connection
        #[arg(long, value_name = "NAME", id = "connect_tls_client")]
        tls_client: Option<String>,
    },

    /// Work units: submit, watch, read, end
    #[command(subcommand)]
    Work(WorkVerb),

    /// Print a script that completes ctl's words in a shell
    Completions {
        /// Shell to complete for
        #[arg(value_enum)]
        shell: CompletionShell,
    },

    /// Print a manual page in roff: ctl man work submit | man -l -
    Man {
        /// Verb to describe; none for the page of ctl itself
        verb: Vec<String>,
    },
}

/// The verbs about nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeVerb {
    /// List the nodes of the mesh: how they are reached, their services and work types
    ///
    /// COST is that of the whole way. Work types with a star want signed requests.
    #[command(after_help = "Examples:\n  ctl node list\n  ctl node list --node hub --json")]
    List {
        #[command(flatten)]
        via: Via,
    },
}

/// Ways to draw a mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum GraphForm {
    /// A tree of the cheapest ways, and the links beside it
    Text,
    /// The language of Graphviz
    Dot,
    /// The language of Mermaid
    Mermaid,
}

/// Shells with completions.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum CompletionShell {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
}

impl Cli {
    pub(crate) fn output_options(&self) -> OutputArgs {
        self.output
    }
}

/// Seconds as the original takes them: a decimal number, not negative.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text} is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// Joins `--insecureskipverify` with a truth value that follows as a word of its own.
///
/// The original demands the value, we let it be left out; clap can have both only if the value is joined with `=`.
pub(crate) fn join_bool_values(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    const TRUTHS: [&str; 12] = ["true", "false", "1", "0", "yes", "no", "on", "off", "t", "f", "y", "n"];
    let mut joined: Vec<OsString> = Vec::new();
    for word in words {
        let is_truth = word.to_str().is_some_and(|word| TRUTHS.contains(&word.to_ascii_lowercase().as_str()));
        match joined.last_mut() {
            Some(option) if is_truth && option == "--insecureskipverify" => {
                option.push("=");
                option.push(word);
            }
            _ => joined.push(word),
        }
    }
    joined
}

#[cfg(test)]
mod tests;

//! What a command line means: files opened, names resolved, nothing sent yet.

mod submit;
mod target;

use std::time::Duration;

use worknode_protocol::control::Prune;
use worknode_protocol::unit::State;

pub(crate) use self::submit::{Payload, SubmitJob};
use crate::cli::{
    Cli, GraphForm, ListArgs, LogsArgs, NodeVerb, PruneArgs, ReleaseArgs, UnitArgs, UnitsArgs, Verb, Via, WaitArgs,
    WorkVerb,
};
use crate::connect::{Hop, Target};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::output::Printer;
use crate::settings::Settings;

/// A whole job: the node to speak to, and what to do there.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) target: Target,
    /// Node to go on to, for verbs that have `--node`.
    pub(crate) hop: Option<Hop>,
    pub(crate) action: Action,
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Action {
    Status {
        graph: Option<GraphForm>,
    },
    /// The nodes of the mesh.
    Nodes,
    Ping {
        node: String,
        count: u32,
        delay: Duration,
    },
    Traceroute {
        node: String,
    },
    Reload,
    Version,
    Connect {
        node: String,
        service: String,
        raw: bool,
        tls_client: Option<String>,
    },
    List(ListJob),
    Submit(SubmitJob),
    Results {
        unit: String,
    },
    UnitStatus {
        unit: String,
    },
    Describe {
        unit: String,
    },
    Logs {
        unit: String,
        follow: bool,
        tail: Option<u64>,
    },
    Wait(WaitJob),
    Cancel(Units),
    Release {
        units: Units,
        force: bool,
    },
    Prune(Prune),
    /// Nothing but a warning that no unit was named.
    NoUnits,
}

/// Units to list, and how.
#[derive(Debug)]
pub(crate) struct ListJob {
    pub(crate) unit: Option<String>,
    pub(crate) state: Option<State>,
    pub(crate) work_type: Option<String>,
    pub(crate) form: ListForm,
}

/// How a list is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListForm {
    Json,
    Ids,
    Table,
}

/// Units to wait for.
#[derive(Debug)]
pub(crate) struct WaitJob {
    pub(crate) units: Vec<String>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) any: bool,
    pub(crate) exit_code: bool,
}

/// Units to do something to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Units {
    Named(Vec<String>),
    All,
}

impl Job {
    /// Looks at settings, environment and files.
    ///
    /// # Errors
    /// If no node is named, or anything that is named cannot be read.
    pub(crate) fn resolve(cli: Cli, environment: &Environment, printer: &mut Printer) -> Result<Self, Failure> {
        let (hop, action) = resolve_verb(cli.verb, environment, printer)?;
        let target = target::resolve(cli.endpoint, &Settings::load(environment)?, environment)?;
        Ok(Self { target, hop, action })
    }
}

fn resolve_verb(
    verb: Verb,
    environment: &Environment,
    printer: &mut Printer,
) -> Result<(Option<Hop>, Action), Failure> {
    let action = match verb {
        Verb::Status { graph, via } => return Ok((hop(&via), Action::Status { graph })),
        Verb::Node(NodeVerb::List { via }) => return Ok((hop(&via), Action::Nodes)),
        Verb::Ping { node, count, delay } => Action::Ping { node, count, delay },
        Verb::Traceroute { node } => Action::Traceroute { node },
        Verb::Reload { via } => return Ok((hop(&via), Action::Reload)),
        Verb::Version => Action::Version,
        Verb::Connect { node, service, raw, tls_client } => {
            Action::Connect { node, service, raw, tls_client: given(tls_client) }
        }
        Verb::Work(WorkVerb::Submit(args)) => {
            Action::Submit(SubmitJob::resolve(args, environment.stdin_is_terminal, printer)?)
        }
        Verb::Work(verb) => return resolve_work(verb),
        Verb::Completions { .. } | Verb::Man { .. } => {
            return Err(Failure::Usage("this verb needs no node".to_owned()));
        }
    };
    Ok((None, action))
}

fn resolve_work(verb: WorkVerb) -> Result<(Option<Hop>, Action), Failure> {
    Ok(match verb {
        WorkVerb::List(args) => (hop(&args.via), Action::List(resolve_list(args))),
        WorkVerb::Results(UnitArgs { unit_id, via }) => (hop(&via), Action::Results { unit: unit_id }),
        WorkVerb::Status(UnitArgs { unit_id, via }) => (hop(&via), Action::UnitStatus { unit: unit_id }),
        WorkVerb::Describe(UnitArgs { unit_id, via }) => (hop(&via), Action::Describe { unit: unit_id }),
        WorkVerb::Logs(LogsArgs { unit_id, via, follow, tail }) => {
            (hop(&via), Action::Logs { unit: unit_id, follow, tail })
        }
        WorkVerb::Wait(WaitArgs { unit_ids, via, timeout, any, exit_code }) => {
            if exit_code && unit_ids.len() != 1 {
                return Err(Failure::Usage("--exit-code is for one unit".to_owned()));
            }
            (hop(&via), Action::Wait(WaitJob { units: unit_ids, timeout, any, exit_code }))
        }
        WorkVerb::Cancel(UnitsArgs { unit_ids, all, via }) => {
            (hop(&via), units(unit_ids, all).map_or(Action::NoUnits, Action::Cancel))
        }
        WorkVerb::Release(ReleaseArgs { unit_ids, force, all, via }) => {
            let release = |units| Action::Release { units, force };
            (hop(&via), units(unit_ids, all).map_or(Action::NoUnits, release))
        }
        WorkVerb::Prune(PruneArgs { cluster, older, state, dry_run, via }) => {
            (hop(&via), Action::Prune(Prune { cluster, dry_run, older, state: state_named(state), signature: None }))
        }
        WorkVerb::Submit(_) => return Err(Failure::Usage("a submit has no node to go on to".to_owned())),
    })
}

fn resolve_list(args: ListArgs) -> ListJob {
    let form = match (args.quiet, args.table) {
        (true, _) => ListForm::Ids,
        (_, true) => ListForm::Table,
        _ => ListForm::Json,
    };
    ListJob { unit: given(args.unit_id), state: state_named(args.state), work_type: args.worktype, form }
}

fn state_named(name: Option<String>) -> Option<State> {
    let states = [State::Pending, State::Running, State::Succeeded, State::Failed, State::Canceled];
    name.and_then(|name| states.into_iter().find(|state| state.name().eq_ignore_ascii_case(&name)))
}

/// With `--all` the named ones count for nothing, as with the original.
fn units(named: Vec<String>, all: bool) -> Option<Units> {
    match (all, named.is_empty()) {
        (true, _) => Some(Units::All),
        (false, true) => None,
        (false, false) => Some(Units::Named(named)),
    }
}

fn hop(via: &Via) -> Option<Hop> {
    let node = given(via.node.clone())?;
    Some(Hop { node, tls_client: given(via.tls_client.clone()) })
}

/// An option that is not empty: the original takes an empty one as not given.
fn given(option: Option<String>) -> Option<String> {
    option.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;

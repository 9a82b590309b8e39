//! Carrying out a job: one file per verb or family of verbs.

mod bridge;
mod describe;
mod follow;
mod graph;
mod list;
mod node;
mod nodes;
mod prune;
mod results;
mod status;
mod submit;
mod units;
mod wait;

use std::time::Duration;

use worknode_protocol::control::WorkRequest;
use worknode_protocol::unit::Status;

use crate::connect::{Hop, Session, Target};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::job::{Action, Job};
use crate::output::Printer;

/// The node that a job is about, as often as a connection to it is needed.
#[derive(Debug)]
pub(crate) struct Node {
    target: Target,
    hop: Option<Hop>,
}

impl Node {
    fn session(&self) -> Result<Session, Failure> {
        Session::open(&self.target, self.hop.as_ref())
    }

    /// The status of a unit, asked on a connection of its own.
    fn unit_status(&self, unit: &str) -> Result<Status, Failure> {
        Ok(self.session()?.ask_about(WorkRequest::Status, unit)?.status()?)
    }
}

/// Does what the job says.
pub(crate) fn run(job: Job, printer: &mut Printer) -> Result<Exit, Failure> {
    let node = &Node { target: job.target, hop: job.hop };
    match job.action {
        Action::Status { graph } => status::run(node, graph, printer),
        Action::Nodes => nodes::run(node, printer),
        Action::Ping { node: to, count, delay } => node::ping(node, &to, count, delay, printer),
        Action::Traceroute { node: to } => node::traceroute(node, &to, printer),
        Action::Reload => node::reload(node, printer),
        Action::Version => node::version(node, printer),
        Action::Connect { node: to, service, raw, tls_client } => {
            bridge::run(node, &bridge::Service { node: to, service, tls_client }, raw, printer)
        }
        Action::List(list) => list::run(node, &list, printer),
        Action::Submit(submit) => submit::run(node, submit, printer),
        Action::Results { unit } => results::results(node, &unit, printer),
        Action::Logs { unit, follow, tail } => results::logs(node, &unit, follow, tail, printer),
        Action::UnitStatus { unit } => units::status(node, &unit, printer),
        Action::Describe { unit } => describe::run(node, &unit, printer),
        Action::Wait(wait) => wait::run(node, &wait, printer),
        Action::Cancel(which) => units::cancel(node, which, printer),
        Action::Release { units, force } => units::release(node, units, force, printer),
        Action::Prune(wanted) => prune::run(node, wanted, printer),
        Action::NoUnits => {
            printer.warning("No unit IDs supplied: Not doing anything");
            Ok(Exit::Done)
        }
    }
}

/// Lets time pass where nothing tells when to go on: between pings, and before trying again a node that is away.
#[allow(clippy::disallowed_methods, reason = "the passing of time is what is asked for")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

//! Verbs that are one question per unit: status, cancel, release.

use serde_json::Value;
use worknode_protocol::control::{Request, UnitCommand, WorkRequest};
use worknode_protocol::unit::Status;

use super::Node;
use crate::connect::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::job::Units;
use crate::output::Printer;

pub(super) fn status(node: &Node, unit: &str, printer: &mut Printer) -> Result<Exit, Failure> {
    let answer = node.session()?.ask_about(WorkRequest::Status, unit)?;
    if printer.json() {
        printer.compact(&answer.into_value())?;
        return Ok(Exit::Done);
    }
    let Status { state, detail, stdout_size, work_type, .. } = answer.status()?;
    printer.line(format_args!("State: {state}\nDetail: {detail}\nStdoutSize: {stdout_size}\nWorkType: {work_type}"))?;
    Ok(Exit::Done)
}

pub(super) fn cancel(node: &Node, which: Units, printer: &mut Printer) -> Result<Exit, Failure> {
    heading("Cancelled:", printer)?;
    let mut session = node.session()?;
    // A unit that has ended stays as it is, so only the others are worth a word.
    let units = which.known_to(&mut session, |status| !status.state.is_final())?;
    each(&mut session, WorkRequest::Cancel, &units, printer)
}

pub(super) fn release(node: &Node, which: Units, force: bool, printer: &mut Printer) -> Result<Exit, Failure> {
    heading("Released:", printer)?;
    let mut session = node.session()?;
    let units = which.known_to(&mut session, |_| true)?;
    each(&mut session, release_request(force), &units, printer)
}

/// Releases one unit, without the heading: the end of a submit with `--rm`.
pub(super) fn release_one(node: &Node, unit: &str, printer: &mut Printer) -> Result<Exit, Failure> {
    each(&mut node.session()?, release_request(false), &[unit.to_owned()], printer)
}

fn release_request(force: bool) -> fn(UnitCommand) -> WorkRequest {
    if force { WorkRequest::ForceRelease } else { WorkRequest::Release }
}

fn heading(text: &str, printer: &mut Printer) -> Result<(), Failure> {
    if printer.json() { Ok(()) } else { printer.line(text) }
}

/// Stops at the first unit that is refused, as the original does.
fn each(
    session: &mut Session,
    request: fn(UnitCommand) -> WorkRequest,
    units: &[String],
    printer: &mut Printer,
) -> Result<Exit, Failure> {
    for unit in units {
        let answer = session.ask_about(request, unit).map_err(|failure| failure.of_unit(unit))?;
        if printer.json() {
            printer.compact(&answer.into_value())?;
            continue;
        }
        let (outcome, named) = answer.outcome().map_err(|error| Failure::from(error).of_unit(unit))?;
        printer.line(format_args!("({named}, {outcome})"))?;
    }
    Ok(Exit::Done)
}

impl Units {
    /// The named units, or those of the node's list of which `wanted` holds. One whose status cannot be read is wanted.
    fn known_to(self, session: &mut Session, wanted: fn(&Status) -> bool) -> Result<Vec<String>, Failure> {
        let units = match self {
            Self::Named(units) => return Ok(units),
            Self::All => session.ask(&Request::Work(WorkRequest::List { unit: None }))?.into_value(),
        };
        let Value::Object(units) = units else { return Ok(Vec::new()) };
        let is_wanted = |status: &Value| Status::from_value(status).map_or(true, |status| wanted(&status));
        Ok(units.into_iter().filter(|(_, status)| is_wanted(status)).map(|(unit, _)| unit).collect())
    }
}

use serde_json::json;
use worknode_protocol::control::WorkRequest;

use super::{Node, results, units};
use crate::connect::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::job::{Payload, SubmitJob};
use crate::output::Printer;

pub(super) fn run(node: &Node, job: SubmitJob, printer: &mut Printer) -> Result<Exit, Failure> {
    let mut session = node.session()?;
    let unit = session.create(&job.submit).map_err(Failure::in_submit)?;
    let (result, unit) = send(node, session, &unit, job.payload, printer).map_err(Failure::in_submit)?;
    let told = if job.follow {
        results::results(node, &unit, printer).map_err(|failure| match failure {
            Failure::UnitFailed(_) | Failure::Output(_) => failure,
            failure => failure.in_submit(),
        })
    } else if printer.json() {
        printer.compact(&json!({ "result": result, "unitid": unit })).map(|()| Exit::Done)
    } else {
        printer.line(format_args!("Result: {result}\nUnit ID: {unit}")).map(|()| Exit::Done)
    };
    if job.rm {
        // Released whatever came before, as that is what --rm says; what came before is told all the same.
        let released = units::release_one(node, &unit, printer);
        return told.and_then(|exit| released.map(|_| exit));
    }
    told
}

/// Sends the payload; answers the result and the unit as the node tells them.
fn send(
    node: &Node,
    mut session: Session,
    unit: &str,
    payload: Payload,
    printer: &mut Printer,
) -> Result<(String, String), Failure> {
    let progress = printer.sending(payload.size());
    let sent = session.send_payload(&mut *payload.into_reader(), &|bytes| progress.inc(bytes));
    progress.finish_and_clear();
    let answer = match sent {
        Ok(()) => session.submitted()?,
        Err(failure @ Failure::Connection(_)) => return Err(refusal_or(failure, session)),
        Err(failure) => {
            abandon(node, session, unit);
            return Err(failure);
        }
    };
    let (result, unit) = answer.submitted()?;
    Ok((result.to_owned(), unit.to_owned()))
}

/// A node that gives up a unit half-way says why and closes: our write fails before we have read what it said.
fn refusal_or(failure: Failure, session: Session) -> Failure {
    match session.submitted() {
        Err(refusal @ Failure::Remote(_)) => refusal,
        _ => failure,
    }
}

/// Sees to it that a unit whose payload could not be read does not run with a part of it.
///
/// A cancel keeps a node of ours from starting it. The original takes the end of the connection for the end of the
/// payload and starts the unit (control-protocol 4.5), so it is cancelled once more after that. If that fails there is
/// nothing left to do, and the failure to read is what must be told.
fn abandon(node: &Node, session: Session, unit: &str) {
    if let Ok(mut other) = node.session() {
        let _ = other.ask_about(WorkRequest::Cancel, unit);
        drop(session);
        let _ = other.ask_about(WorkRequest::Cancel, unit);
    }
}

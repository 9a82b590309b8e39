use std::time::Duration;

use serde_json::json;
use worknode_protocol::control::Request;
use worknode_protocol::control::client::AnswerError;

use super::{Node, pause};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Printer;

pub(super) fn ping(node: &Node, to: &str, count: u32, delay: Duration, printer: &mut Printer) -> Result<Exit, Failure> {
    let mut session = node.session()?;
    let mut exit = Exit::Done;
    for number in 1..=count {
        let answer = session.ask(&Request::Ping { target: to.to_owned() })?;
        let text = |name| answer.text(name).unwrap_or_default();
        let replied = answer.is_true("Success");
        if !replied {
            exit = Exit::UsageOrNoReply;
        }
        if printer.json() {
            printer.compact(&answer.into_value())?;
        } else if replied {
            printer.line(format_args!("Reply from {} in {}", text("From"), text("TimeStr")))?;
        } else if answer.text("From").is_some() && answer.text("TimeStr").is_some() {
            printer.error(format_args!("{} from {} in {}", text("Error"), text("From"), text("TimeStr")));
        } else {
            printer.error(text("Error"));
        }
        if number < count {
            pause(delay);
        }
    }
    Ok(exit)
}

pub(super) fn traceroute(node: &Node, to: &str, printer: &mut Printer) -> Result<Exit, Failure> {
    let answer = node.session()?.ask(&Request::Traceroute { target: to.to_owned() })?;
    if printer.json() {
        printer.compact(&answer.into_value())?;
        return Ok(Exit::Done);
    }
    let mut hops: Vec<_> =
        answer.fields().iter().filter_map(|(number, hop)| Some((number.parse::<u32>().ok()?, hop))).collect();
    hops.sort_by_key(|(number, _)| *number);
    for (number, hop) in hops {
        let text = |name| hop.get(name).and_then(serde_json::Value::as_str);
        let (from, time) = (text("From").unwrap_or_default(), text("TimeStr").unwrap_or_default());
        match text("Error") {
            Some(error) => printer.error(format_args!("{number}: Error {error} from {from} in {time}")),
            None => printer.line(format_args!("{number}: {from} in {time}"))?,
        }
    }
    Ok(Exit::Done)
}

pub(super) fn reload(node: &Node, printer: &mut Printer) -> Result<Exit, Failure> {
    let answer = node.session()?.ask(&Request::Reload)?;
    let error = answer.text("Error").unwrap_or_default();
    let exit = match answer.is_true("Success") {
        true => Exit::Done,
        false if error.contains("ERRORCODE 3") => Exit::NotReloadable,
        false if error.contains("ERRORCODE 4") => Exit::ReloadFailed,
        false => Exit::ReloadUnknown,
    };
    if printer.json() {
        printer.compact(&answer.into_value())?;
    } else if exit == Exit::Done {
        printer.line("Reload successful")?;
    } else {
        printer.error(error);
    }
    Ok(exit)
}

/// Our own version is told even if the node cannot be reached, as it is then the only thing to be known.
pub(super) fn version(node: &Node, printer: &mut Printer) -> Result<Exit, Failure> {
    let ours = env!("CARGO_PKG_VERSION");
    if !printer.json() {
        printer.line(format_args!("{:<13}{ours}", "ctl"))?;
    }
    let answer = node.session()?.ask(&Request::Status { fields: Some(vec!["Version".to_owned()]) })?;
    let theirs = answer.text("Version").ok_or(AnswerError::Missing("Version"))?;
    if printer.json() {
        printer.compact(&json!({ "ctl": ours, "receptor": theirs }))?;
    } else {
        printer.line(format_args!("{:<13}{theirs}", "receptor"))?;
    }
    Ok(Exit::Done)
}

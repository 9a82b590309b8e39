//! `ctl status` as text (control-protocol 6.4).

use std::fmt::Write as _;

use serde_json::{Map, Value};
use worknode_protocol::control::Request;
use worknode_protocol::control::client::AnswerError;

use super::{Node, graph};
use crate::cli::GraphForm;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::mesh::Mesh;
use crate::output::{Printer, number, repr};

/// Least width of the first column.
const LEAST_WIDTH: usize = 12;

pub(super) fn run(node: &Node, form: Option<GraphForm>, printer: &mut Printer) -> Result<Exit, Failure> {
    let answer = node.session()?.ask(&Request::Status { fields: None })?;
    if let Some(form) = form {
        printer.data(graph::draw(&Mesh::of(answer.fields()), form).as_bytes())?;
        return Ok(Exit::Done);
    }
    if printer.json() {
        printer.indented(&answer.into_value())?;
        return Ok(Exit::Done);
    }
    let Value::Object(mut status) = answer.into_value() else { return Ok(Exit::Done) };
    printer.data(text(&mut status)?.as_bytes())?;
    if !status.is_empty() {
        printer.line("Additional data returned from Receptor:")?;
        printer.indented(&Value::Object(status))?;
    }
    Ok(Exit::Done)
}

/// Takes what it knows out of `status` and says it.
fn text(status: &mut Map<String, Value>) -> Result<String, AnswerError> {
    let mut head = |name| status.shift_remove(name).map(|value| shown(&value)).ok_or(AnswerError::Missing(name));
    let mut out = String::new();
    for (title, name) in [
        ("Node ID", "NodeID"),
        ("Version", "Version"),
        ("System CPU Count", "SystemCPUCount"),
        ("System Memory MiB", "SystemMemoryMiB"),
    ] {
        line(&mut out, format_args!("{title}: {}", head(name)?));
    }
    let connections = list(status.shift_remove("Connections"));
    let costs = map(status.shift_remove("KnownConnectionCosts"));
    let routes = map(status.shift_remove("RoutingTable"));
    let advertisements = list(status.shift_remove("Advertisements"));
    let names = connections.iter().map(|connection| field(connection, "NodeID")).chain(costs.keys().cloned());
    let width = names.map(|name| name.chars().count()).chain([LEAST_WIDTH]).max().unwrap_or(LEAST_WIDTH);

    if !connections.is_empty() {
        line(&mut out, format_args!("\n{:<width$} Cost", "Connection"));
    }
    for connection in &connections {
        line(&mut out, format_args!("{:<width$} {}", field(connection, "NodeID"), field(connection, "Cost")));
    }
    if !costs.is_empty() {
        line(&mut out, format_args!("\n{:<width$} Known Connections", "Known Node"));
    }
    for (node, peers) in &costs {
        let peers = peers.as_object().into_iter().flatten();
        let peers: String = peers.map(|(peer, cost)| format!("{peer}: {} ", shown(cost))).collect();
        line(&mut out, format_args!("{node:<width$} {peers}"));
    }
    if !routes.is_empty() {
        line(&mut out, format_args!("\n{:<width$} Via", "Route"));
    }
    for (node, via) in &routes {
        line(&mut out, format_args!("{node:<width$} {}", shown(via)));
    }
    services(&mut out, &advertisements, width);
    work_types(&mut out, &advertisements, width, "Work Types", false);
    work_types(&mut out, &advertisements, width, "Secure Work Types", true);
    Ok(out)
}

fn services(out: &mut String, advertisements: &[Value], width: usize) {
    if !advertisements.is_empty() {
        line(out, format_args!("\n{:<width$} Service   Type       Last Seen             Tags", "Node"));
    }
    for advertisement in advertisements {
        let kind = match advertisement.get("ConnType").and_then(Value::as_i64) {
            Some(0) => "Datagram".to_owned(),
            Some(1) => "Stream".to_owned(),
            Some(2) => "StreamTLS".to_owned(),
            _ => field(advertisement, "ConnType"),
        };
        let tags = match advertisement.get("Tags") {
            None | Some(Value::Null) => "-".to_owned(),
            Some(tags) => repr(tags),
        };
        let (node, service) = (field(advertisement, "NodeID"), field(advertisement, "Service"));
        let seen = last_seen(&field(advertisement, "Time"));
        line(out, format_args!("{node:<width$} {service:<9} {kind:<10} {seen:<21} {tags:<16}"));
    }
}

/// The work types of each node, from its first advertisement that has some of this kind.
fn work_types(out: &mut String, advertisements: &[Value], width: usize, title: &str, secure: bool) {
    let mut seen: Vec<String> = Vec::new();
    for advertisement in advertisements {
        let commands = advertisement.get("WorkCommands").and_then(Value::as_array).into_iter().flatten();
        let types: Vec<String> = commands
            .filter(|command| command.get("Secure").and_then(Value::as_bool).unwrap_or(false) == secure)
            .map(|command| field(command, "WorkType"))
            .collect();
        let node = field(advertisement, "NodeID");
        if types.is_empty() || seen.contains(&node) {
            continue;
        }
        if seen.is_empty() {
            line(out, format_args!("\n{:<width$} {title}", "Node"));
        }
        line(out, format_args!("{node:<width$} {}", types.join(", ")));
        seen.push(node);
    }
}

/// The date and time of an RFC 3339 text, in its own zone: `2026-11-21 01:38:00`.
pub(super) fn last_seen(time: &str) -> String {
    match time.get(..19) {
        Some(start) => start.replacen('T', " ", 1),
        None => time.to_owned(),
    }
}

/// A field of an object as text, empty if it is not there.
fn field(object: &Value, name: &str) -> String {
    object.get(name).map(shown).unwrap_or_default()
}

/// A value as the original client prints it inside a text.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(value) => number(value),
        other => repr(other),
    }
}

fn list(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

fn map(value: Option<Value>) -> Map<String, Value> {
    match value {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}

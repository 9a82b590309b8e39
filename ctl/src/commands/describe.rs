//! `work describe`: all that the node knows of a unit (work-types 5).

use serde_json::{Map, Value};
use worknode_protocol::control::WorkRequest;

use super::Node;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Printed, Printer};

/// Width of the column of names.
const WIDTH: usize = 17;

pub(super) fn run(node: &Node, unit: &str, printer: &mut Printer) -> Result<Exit, Failure> {
    let answer = node.session()?.ask_about(WorkRequest::Describe, unit)?;
    if printer.json() {
        printer.indented(&answer.into_value())?;
        return Ok(Exit::Done);
    }
    let fields = answer.fields();
    let status = fields.get("status").and_then(Value::as_object);
    let of_status = |name: &str| status.and_then(|status| status.get(name)).cloned().unwrap_or_default();
    printer.line("Unit")?;
    let unit = [
        ("ID", fields.get("unit").cloned().unwrap_or_default()),
        ("Work type", of_status("WorkType")),
        ("State", of_status("StateName")),
        ("Detail", of_status("Detail")),
        ("Payload", bytes(fields.get("stdin").unwrap_or(&Value::Null))),
        ("Output", bytes(&of_status("StdoutSize"))),
        ("Secrets given", fields.get("secrets").cloned().unwrap_or_default()),
    ];
    for (name, value) in unit {
        row(name, &value, printer)?;
    }
    if let Some(object) = fields.get("object").and_then(Value::as_object) {
        section(object, printer)?;
    }
    Ok(Exit::Done)
}

/// What the unit did in a cluster. The node's names for it are told as words; what is not known is left out.
fn section(object: &Map<String, Value>, printer: &mut Printer) -> Printed {
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or("object");
    printer.line(format_args!("{}", capitalised(kind)))?;
    for (name, value) in object.iter().filter(|(name, _)| *name != "kind") {
        let value = match (name.as_str(), value.as_i64()) {
            ("askedAt", Some(milliseconds)) => time(milliseconds),
            _ => value.clone(),
        };
        row(&words(name), &value, printer)?;
    }
    Ok(())
}

fn row(name: &str, value: &Value, printer: &mut Printer) -> Printed {
    let text = match value {
        Value::Null | Value::Bool(false) => return Ok(()),
        Value::Bool(true) => "yes".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    if text.is_empty() {
        return Ok(());
    }
    printer.line(format_args!("  {name:<WIDTH$} {text}"))
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn bytes(count: &Value) -> Value {
    count.as_u64().map_or(Value::Null, |count| format!("{count} bytes").into())
}

/// Milliseconds since 1970 as a time.
fn time(milliseconds: i64) -> Value {
    jiff::Timestamp::from_millisecond(milliseconds).map_or(Value::Null, |time| time.to_string().into())
}

/// `startedAt` is `Started at`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    capitalised(&words)
}

fn capitalised(word: &str) -> String {
    let mut rest = word.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

use serde_json::Value;
use worknode_protocol::control::client::Answer;
use worknode_protocol::control::{Prune, Request, WorkRequest};

use super::Node;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Printer;

/// Ends with 1 if something could not be pruned; the rest was.
pub(super) fn run(node: &Node, prune: Prune, printer: &mut Printer) -> Result<Exit, Failure> {
    let would = prune.dry_run;
    let answer = node.session()?.ask(&Request::Work(WorkRequest::Prune(prune)))?;
    let failed = texts(&answer, "failed");
    let exit = if failed.is_empty() { Exit::Done } else { Exit::Error };
    if printer.json() {
        printer.compact(&answer.into_value())?;
        return Ok(exit);
    }
    let done = if would { "would prune" } else { "pruned" };
    for pruned in texts(&answer, "units").into_iter().chain(texts(&answer, "objects")) {
        printer.line(format_args!("{done} {pruned}"))?;
    }
    failed.iter().for_each(|words| printer.error(words));
    Ok(exit)
}

fn texts(answer: &Answer, field: &str) -> Vec<String> {
    let list = answer.fields().get(field).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

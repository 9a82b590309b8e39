//! The helper, and how it gets into the pod: through the attach that it speaks over later. The worker's command is a few
//! words of shell that read it from stdin and become it. It needs no registry, no second container and no more rights than
//! an attach, but `sh`, `head` and `chmod` in the image.

use serde_json::{Value, json};
use worknode_protocol::unit::PodProblem;
use worknode_shim::wire::word;

use crate::runner::kubernetes::pod::WORKER;

/// The helper. Empty where the daemon was built without one.
pub(super) static PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/worknode-shim"));
/// Its checksum: what came of a broken attach is not to be run.
const CHECKSUM: &str = env!("WORKNODE_SHIM_CRC");

/// The volume, and where it is.
const VOLUME: &str = "worknode-shim";
const DIRECTORY: &str = "/.worknode";

/// Bytes of output that are kept in the pod. A job that writes more while nobody takes it waits.
const SPOOL: u64 = 64 * 1024 * 1024;
/// Seconds that output is kept of a job that has ended, while nobody asks for it: as long as a node may be down for.
const LINGER: u64 = 24 * 3600;

/// More than any `head` reads ahead, so that one which waits for the rest of a program that will not come has enough.
const READ_AHEAD: usize = 64 * 1024;
/// Bytes of filler in a line.
const FILLER_LINE: usize = 4096;

/// What the worker runs. It is expanded neither by the kubelet, which would need `$(`, nor by us.
fn script() -> String {
    let length = PROGRAM.len();
    let program = format!("{DIRECTORY}/shim");
    let (hello, ready, send, torn) = (word::HELLO, word::READY, word::SEND, word::TORN);
    format!(
        "while read -r line; do case $line in\n\
         *{hello}) echo {ready} ;;\n\
         *{send}) head -c {length} >{program} && chmod 755 {program} && {program} check {length} {CHECKSUM} &&\n\
         exec {program} run {SPOOL} {LINGER} -- \"$@\"\n\
         echo {torn} ;;\n\
         esac; done; exit 125"
    )
}

/// Fits the helper into a pod: its worker runs the command that it would have run, under the helper.
///
/// # Errors
/// The pod does not say what its worker runs.
pub(crate) fn fit(spec: &mut Value) -> Result<(), PodProblem> {
    let no = |words: &str| PodProblem::Message(format!("streammethod shim: {words}"));
    if PROGRAM.is_empty() {
        return Err(no("this daemon was built without the helper"));
    }
    let containers = spec.get_mut("containers").and_then(Value::as_array_mut);
    let mut workers = containers.into_iter().flatten().filter_map(Value::as_object_mut);
    let worker = workers.find(|container| container.get("name").is_some_and(|name| name == WORKER));
    let worker = worker.ok_or(PodProblem::NoWorker)?;
    let mut words = |key: &str| match worker.remove(key) {
        Some(Value::Array(words)) => words,
        _ => Vec::new(),
    };
    let (command, arguments) = (words("command"), words("args"));
    if command.is_empty() {
        return Err(no("the container worker needs a command; that of its image is not known here"));
    }
    worker.insert("command".to_owned(), json!(["sh", "-c", script(), "worknode-shim"]));
    worker.insert("args".to_owned(), command.into_iter().chain(arguments).collect());
    worker.insert("stdin".to_owned(), true.into());
    // What would end the job's stdin with the first session.
    worker.insert("stdinOnce".to_owned(), false.into());
    worker.remove("tty");
    // It may ask for the log's last lines, which are the helper's.
    worker.remove("terminationMessagePolicy");
    let mount = json!({ "name": VOLUME, "mountPath": DIRECTORY });
    push(worker.entry("volumeMounts").or_insert(Value::Null), mount);
    if let Some(spec) = spec.as_object_mut() {
        push(spec.entry("volumes").or_insert(Value::Null), json!({ "name": VOLUME, "emptyDir": {} }));
    }
    Ok(())
}

/// Appends to a list, or to what is none yet.
fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(list) => list.push(item),
        Value::Null => *list = json!([item]),
        // The API server refuses it, in words that name the field.
        _ => {}
    }
}

/// Who is there? With `filler` for a shell that still waits for the rest of a program: nothing else would wake it.
pub(super) fn question(filler: bool, message: &mut Vec<u8>) {
    if filler {
        for _ in 0..(PROGRAM.len() + READ_AHEAD).div_ceil(FILLER_LINE) {
            message.push(b'\n');
            message.resize(message.len() + FILLER_LINE, word::FILLER);
        }
    }
    message.extend_from_slice(format!("\n{}\n", word::HELLO).as_bytes());
}

/// The program, for a shell that is ready.
pub(super) fn program(message: &mut Vec<u8>) {
    message.extend_from_slice(format!("\n{}\n", word::SEND).as_bytes());
    message.extend_from_slice(PROGRAM);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_keeps_what_it_had() {
        let mut spec = json!({
            "containers": [
                {"name": "side", "command": ["x"]},
                {"name": "worker", "image": "i", "command": ["sh", "-c", "$(A) b"], "args": ["c"], "tty": true,
                    "volumeMounts": [{"name": "own", "mountPath": "/own"}]},
            ],
            "volumes": [{"name": "own", "emptyDir": {}}],
        });
        fit(&mut spec).unwrap();
        let worker = &spec["containers"][1];
        assert_eq!(worker["args"], json!(["sh", "-c", "$(A) b", "c"]));
        assert_eq!(
            (&worker["stdin"], &worker["stdinOnce"], &worker["tty"]),
            (&json!(true), &json!(false), &Value::Null)
        );
        assert_eq!(worker["volumeMounts"][1], json!({"name": "worknode-shim", "mountPath": "/.worknode"}));
        assert_eq!(spec["volumes"].as_array().map(Vec::len), Some(2));
        assert_eq!(spec["containers"][0], json!({"name": "side", "command": ["x"]}));
        assert!(!script().contains("$("), "the kubelet would expand it");
    }

    #[test]
    fn a_worker_without_command_is_refused() {
        let mut spec = json!({"containers": [{"name": "worker", "image": "i", "args": ["a"]}]});
        assert_eq!(
            fit(&mut spec).unwrap_err().to_string(),
            "streammethod shim: the container worker needs a command; that of its image is not known here"
        );
    }
}

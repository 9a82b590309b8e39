//! Stands in for the runner process that a Go daemon starts for each command unit and that outlives it
//! (control-protocol 4.4), for tests on machines that have no Go daemon: the same arguments, the same files, the same way
//! of writing the status.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::process::Pid;
use serde_json::{Value, json};
use worknode_tests::{process, wait};

/// The original's interval of status writes.
const INTERVAL: Duration = Duration::from_millis(250);

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let found = arguments.iter().find_map(|argument| argument.strip_prefix(name)?.strip_prefix('='));
        found.with_context(|| format!("no {name} in {arguments:?}"))
    };
    let directory = Path::new(value("unitdir")?);
    begun(directory)?;
    let params = worknode_protocol::shell::split(value("params")?)?;
    let mut job = Command::new(value("command")?)
        .args(params)
        .stdin(File::open(directory.join("stdin"))?)
        .stdout(output(directory)?)
        .stderr(output(directory)?)
        .spawn()?;
    let pid = i32::try_from(job.id()).ok().and_then(Pid::from_raw).context("a process id out of range")?;
    let ended = process::handle(pid)?;
    while !wait::readable(&ended, INTERVAL)? {
        write(directory, 1, &format!("Running: PID {}", job.id()))?;
    }
    let status = job.wait()?;
    match (status.code(), status.signal()) {
        (Some(0), _) => write(directory, 2, "exit status 0")?,
        (Some(code), _) => write(directory, 3, &format!("exit status {code}"))?,
        (None, signal) => write(directory, 3, &format!("signal: {signal:?}"))?,
    }
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(255))?))
}

/// Waits until whoever started this process has noted its number in the status.
fn begun(directory: &Path) -> Result<()> {
    let noted = format!("\"Pid\":{}", std::process::id());
    let watch = wait::Watch::new(directory)?;
    watch.until(wait::Deadline::default(), "the status", || {
        Ok(std::fs::read_to_string(directory.join("status"))?.contains(&noted).then_some(()))
    })
}

/// The output file is opened anew for each stream, at its end.
fn output(directory: &Path) -> Result<Stdio> {
    let file = OpenOptions::new().create(true).append(true).open(directory.join("stdout"))?;
    Ok(Stdio::from(file))
}

/// Reads, changes and writes the status in place, under the lock.
fn write(directory: &Path, state: u8, detail: &str) -> Result<()> {
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(directory.join("status.lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let mut file = OpenOptions::new().read(true).write(true).open(directory.join("status"))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let before: Value = serde_json::from_str(&text)?;
    let size = std::fs::metadata(directory.join("stdout"))?.len();
    file.seek(SeekFrom::Start(0))?;
    file.set_len(0)?;
    // The order of the members is that of the original, which readers may rely on.
    let member = |name: &str| before.get(name).unwrap_or(&Value::Null);
    let (work_type, extra) = (member("WorkType"), member("ExtraData"));
    writeln!(
        file,
        "{{\"State\":{state},\"Detail\":{},\"StdoutSize\":{size},\"WorkType\":{work_type},\"ExtraData\":{extra}}}",
        json!(detail)
    )?;
    Ok(())
}

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Map, Value, json};
use worknode_protocol::unit::{State, Status, signal_name};

use super::Node;
use super::follow::{Follow, Step};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::job::WaitJob;
use crate::output::Printer;

/// Byte of a unit's output at which waiting begins: beyond the end of any, so that none of it is sent, and below what
/// file systems refuse. The server holds such a stream open until the unit has ended (control-protocol 3.10).
const BEYOND_ANY_OUTPUT: u64 = 1 << 40;

pub(super) fn run(node: &Node, job: &WaitJob, printer: &mut Printer) -> Result<Exit, Failure> {
    let deadline = job.timeout.map(|timeout| Instant::now() + timeout);
    let mut ended = Ended::default();
    let timed_out = if job.any {
        wait_for_any(node, job, deadline, &mut ended, printer)?
    } else {
        wait_for_all(node, job, deadline, &mut ended, printer)?
    };
    if printer.json() {
        printer.compact(&ended.to_json())?;
    }
    match timed_out {
        Some(units) => Err(Failure::TimedOut(units)),
        None => Ok(ended.exit(job.exit_code)),
    }
}

/// One after the other: it takes as long as the slowest. Answers the units not yet ended if time is up.
fn wait_for_all(
    node: &Node,
    job: &WaitJob,
    deadline: Option<Instant>,
    ended: &mut Ended,
    printer: &mut Printer,
) -> Result<Option<String>, Failure> {
    let mut nothing = [0; 4096];
    for (number, unit) in job.units.iter().enumerate() {
        let status = match begin(node, unit)? {
            Beginning::Ended(status) => status,
            Beginning::Running(mut follow) => loop {
                match follow.next(&mut nothing, deadline)? {
                    Step::Ended(status) => break status,
                    Step::Bytes(_) => {}
                    Step::Waiting => return Ok(Some(job.units.get(number..).unwrap_or_default().join(", "))),
                }
            },
        };
        ended.add(unit, status, printer)?;
    }
    Ok(None)
}

/// All at once, until one ends.
fn wait_for_any(
    node: &Node,
    job: &WaitJob,
    deadline: Option<Instant>,
    ended: &mut Ended,
    printer: &mut Printer,
) -> Result<Option<String>, Failure> {
    let mut follows = Vec::new();
    for unit in &job.units {
        match begin(node, unit)? {
            Beginning::Ended(status) => {
                ended.add(unit, status, printer)?;
                return Ok(None);
            }
            Beginning::Running(follow) => follows.push(*follow),
        }
    }
    let mut nothing = [0; 4096];
    loop {
        for follow in &mut follows {
            if let Step::Ended(status) = follow.step(&mut nothing, Some(Duration::ZERO))? {
                ended.add(follow.unit(), status, printer)?;
                return Ok(None);
            }
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(Some(job.units.join(", ")));
        }
        // After the steps, as TLS may have read an end already that the socket will not tell of again.
        await_event(&follows, deadline).map_err(Failure::Connection)?;
    }
}

/// Waits until a stream can be read, a unit wants to be looked after, or time is up.
fn await_event(follows: &[Follow<'_>], deadline: Option<Instant>) -> std::io::Result<()> {
    let streams = follows.iter().filter_map(Follow::stream);
    let mut fds: Vec<_> = streams.map(|stream| PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN)).collect();
    let wake_at = follows.iter().map(Follow::wake_at).chain(deadline).min();
    let left = wake_at.map(|at| at.saturating_duration_since(Instant::now()));
    let timeout = left.and_then(|left| Timespec::try_from(left).ok());
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// How waiting for a unit begins.
enum Beginning<'n> {
    Ended(Status),
    Running(Box<Follow<'n>>),
}

fn begin<'n>(node: &'n Node, unit: &'n str) -> Result<Beginning<'n>, Failure> {
    let status = node.unit_status(unit)?;
    if status.state.is_final() {
        return Ok(Beginning::Ended(status));
    }
    Ok(Beginning::Running(Box::new(Follow::open(node, unit, BEYOND_ANY_OUTPUT)?)))
}

/// The units that have ended, in the order in which it was noticed.
#[derive(Default)]
struct Ended(Vec<(String, Status)>);

impl Ended {
    fn add(&mut self, unit: &str, status: Status, printer: &mut Printer) -> Result<(), Failure> {
        if !printer.json() {
            printer.line(format_args!("{unit} {} {}", status.state, status.detail))?;
        }
        self.0.push((unit.to_owned(), status));
        Ok(())
    }

    fn to_json(&self) -> Value {
        let units = self.0.iter().map(|(unit, status)| {
            let shown = json!({
                "StateName": status.state.name(),
                "Detail": status.detail,
                "ExitCode": exit_code(status),
            });
            (unit.clone(), shown)
        });
        Value::Object(units.collect::<Map<_, _>>())
    }

    /// A failed unit counts more than a cancelled one.
    fn exit(&self, of_unit: bool) -> Exit {
        let code = self.0.first().and_then(|(_, status)| exit_code(status));
        if let (true, Some(code)) = (of_unit, code) {
            return Exit::OfUnit(code);
        }
        let any = |state| self.0.iter().any(|(_, status)| status.state == state);
        match (any(State::Failed), any(State::Canceled)) {
            (true, _) => Exit::UnitFailed,
            (_, true) => Exit::UnitCanceled,
            _ => Exit::Done,
        }
    }
}

/// The exit code of the unit's own command, as a shell would tell it; `None` where the Detail does not.
fn exit_code(status: &Status) -> Option<u8> {
    if status.state == State::Succeeded {
        return Some(0);
    }
    if let Some(rest) = status.detail.strip_prefix("exit status ") {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        return digits.parse().ok();
    }
    let signal = status.detail.strip_prefix("signal: ")?;
    let name = signal.strip_suffix(" (core dumped)").unwrap_or(signal);
    (1..=64_u8).find(|number| signal_name(i32::from(*number)) == name).map(|number| 128 + number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(state: i64, detail: &str) -> Status {
        let mut status = Status::created("sh");
        status.state = State::from_number(state);
        detail.clone_into(&mut status.detail);
        status
    }

    #[test]
    fn exit_codes_are_read_from_details() {
        for (state, detail, code) in [
            (2, "exit status 0", Some(0)),
            (2, "Finished", Some(0)),
            (3, "exit status 3", Some(3)),
            (3, "exit status 3: boom", Some(3)),
            (3, "exit status 137 (OOMKilled)", Some(137)),
            (3, "signal: killed", Some(137)),
            (3, "signal: aborted (core dumped)", Some(134)),
            (3, "signal: signal 34", Some(162)),
            (3, "Runner is gone", None),
            (3, "exit status x", None),
            (4, "Canceled", None),
        ] {
            assert_eq!(exit_code(&ended(state, detail)), code, "{detail}");
        }
    }

    #[test]
    fn failure_counts_more_than_cancel() {
        let exit = |states: &[i64]| {
            Ended(states.iter().map(|state| ("a".to_owned(), ended(*state, "exit status 7"))).collect()).exit(false)
        };
        assert_eq!(exit(&[2, 2]), Exit::Done);
        assert_eq!(exit(&[2, 4]), Exit::UnitCanceled);
        assert_eq!(exit(&[4, 3, 2]), Exit::UnitFailed);
        assert_eq!(Ended(vec![("a".to_owned(), ended(3, "exit status 7"))]).exit(true), Exit::OfUnit(7));
        assert_eq!(Ended(vec![("a".to_owned(), ended(4, "Canceled"))]).exit(true), Exit::UnitCanceled);
    }
}

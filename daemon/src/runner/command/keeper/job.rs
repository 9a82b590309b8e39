//! The keeper of one job: claims the unit, starts the program, waits, and writes down how it ended.

use std::{
    ffi::CString,
    fs::File,
    io,
    os::unix::process::ExitStatusExt,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitStatus,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::{SendFlags, send},
    process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, setsid, wait},
    thread::set_name,
};
use serde_json::Value;
use worknode_protocol::unit::{CommandExtra, Detail, State, errno_text};

use super::{
    super::{
        launch::{Event, Launch, Outcome, packet},
        process::Process,
        record::Pen,
    },
    parent::Inheritance,
    program, signals, tree,
};
use crate::work::store::{StatusFault, UnitDir};

/// A job that ends sooner is never told of as running. The original's figure is 250 ms (control-protocol 4.3); this is
/// what a short job would otherwise cost: a line in its record, an event and a change of its status.
const SOON: Duration = Duration::from_millis(5);

/// Time after which a daemon that had no room for an event is tried again.
const TELL_AGAIN: Duration = Duration::from_millis(50);

/// Time that killed processes have to go. It takes them microseconds, unless they hang in the kernel.
const GO: Duration = Duration::from_secs(5);

/// Time between tries to write the final status, and their number: a full disk may be given room.
const WRITE_AGAIN: Duration = Duration::from_secs(1);
const WRITE_TRIES: u32 = 60;

/// Exit code of a keeper that could not do its work.
const FAULT: i32 = 70;

/// Is the keeper of a job, from the fork to the end of the process.
pub(super) fn keep(number: u64, request: Vec<u8>, inherited: &Inheritance) -> ! {
    let kept = catch_unwind(AssertUnwindSafe(|| {
        let launch: Launch = serde_json::from_slice(&request).map_err(io::Error::from)?;
        drop(request);
        settle(&launch, inherited)?;
        Telephone { events: inherited, number }.keep(&launch)
    }));
    signals::exit(if matches!(kept, Ok(Ok(()))) { 0 } else { FAULT })
}

/// Leaves the parent's session and gets ready to adopt.
fn settle(launch: &Launch, inherited: &Inheritance) -> io::Result<()> {
    setsid()?;
    set_child_subreaper(Some(getpid()))?;
    // Whoever reads the daemon's stderr to its end does not wait for jobs.
    rustix::stdio::dup2_stderr(&inherited.null)?;
    let unit = launch.dir.file_name().unwrap_or_default().to_string_lossy();
    set_name(&CString::new(format!("keeper:{unit}"))?)?;
    Ok(())
}

/// The line to the daemon.
struct Telephone<'a> {
    events: &'a Inheritance,
    number: u64,
}

impl Telephone<'_> {
    fn keep(&self, launch: &Launch) -> io::Result<()> {
        let dir = UnitDir::at(&*launch.dir);
        let pen = match claim(&dir, launch, &self.events.boot) {
            Ok(Some(pen)) => pen,
            Ok(None) => return self.tell(&Event::Refused).or(Ok(())),
            Err(fault) => return self.tell(&Event::Unusable(text_of(&fault))).or(Ok(())),
        };
        let mut keeper = Keeper { telephone: self, launch, dir, pen, recorded: false };
        let (outcome, size) = keeper.run();
        keeper.finish(&outcome, size);
        // A daemon that is gone reads it in the files.
        self.tell(&Event::Ended(outcome)).or(Ok(()))
    }

    /// Tells the daemon, waiting for it if need be.
    fn tell(&self, event: &Event) -> rustix::io::Result<()> {
        self.send(event, SendFlags::NOSIGNAL)
    }

    fn send(&self, event: &Event, flags: SendFlags) -> rustix::io::Result<()> {
        send(&self.events.events, &packet(self.number, event), flags).map(drop)
    }
}

/// Makes the unit this keeper's. `None`: it is not to be started, or not by us.
fn claim(dir: &UnitDir, launch: &Launch, boot: &str) -> Result<Option<Pen>, StatusFault> {
    let keeper = Process::of(getpid())?;
    let mut claimed = Ok(None);
    dir.update_status(|status| {
        if status.state == State::Pending {
            claimed = Pen::claim(dir, boot.to_owned(), keeper, launch.stop);
        }
        None::<()>
    })?;
    Ok(claimed?)
}

fn text_of(fault: &StatusFault) -> String {
    match fault {
        StatusFault::Io(fault) => fault.raw_os_error().map_or_else(|| fault.to_string(), errno_text),
        other => other.to_string(),
    }
}

/// Why a job is being stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    Cancelled,
    TimedOut,
}

/// A job being stopped.
struct Stop {
    reason: Reason,
    /// When SIGKILL follows.
    kill_at: Instant,
    killed: bool,
}

struct Keeper<'a> {
    telephone: &'a Telephone<'a>,
    launch: &'a Launch,
    dir: UnitDir,
    pen: Pen,
    /// The record says that the job runs.
    recorded: bool,
}

impl Keeper<'_> {
    /// Starts the job and sees it to its end. Also answers the bytes of output, where that is known.
    fn run(&mut self) -> (Outcome, Option<u64>) {
        let started = match program::start(self.launch, &self.dir) {
            Ok(started) => started,
            Err(detail) => return (Outcome::new(State::Failed, &detail), None),
        };
        let outcome = self.follow(started.job);
        (outcome, size(&started.stdout))
    }

    fn follow(&mut self, job: Pid) -> Outcome {
        let heard = signals::SignalSet::of(&[Signal::CHILD, Signal::TERM, Signal::INT]);
        let began = Instant::now();
        let mut announce_at = Some(began + SOON);
        let mut time_limit = self.launch.timeout.as_ref().map(|timeout| began + timeout.after);
        let mut stop: Option<Stop> = None;
        loop {
            if let Some(status) = reap(job) {
                return self.ended(status, stop);
            }
            let now = Instant::now();
            if announce_at.is_some_and(|at| at <= now) {
                announce_at = self.announce(job).then(|| now + TELL_AGAIN);
            }
            if time_limit.is_some_and(|at| at <= now) {
                time_limit = None;
                self.stop(&mut stop, Reason::TimedOut, job);
            }
            if let Some(stop) = &mut stop
                && !stop.killed
                && stop.kill_at <= now
            {
                stop.killed = true;
                self.kill(job);
            }
            let kill_at = stop.as_ref().filter(|stop| !stop.killed).map(|stop| stop.kill_at);
            let next = [announce_at, time_limit, kill_at].into_iter().flatten().min();
            let signal = heard.wait(next.map(|at| at.saturating_duration_since(Instant::now())));
            if matches!(signal, Some(libc::SIGTERM | libc::SIGINT)) {
                self.stop(&mut stop, Reason::Cancelled, job);
            }
        }
    }

    /// Begins to stop the job: SIGINT to it alone. Only the first reason counts.
    fn stop(&self, stop: &mut Option<Stop>, reason: Reason, job: Pid) {
        if stop.is_some() {
            return;
        }
        let _ = kill_process(job, Signal::INT);
        // A job that was stopped would not get it.
        let _ = kill_process(job, Signal::CONT);
        *stop = Some(Stop { reason, kill_at: Instant::now() + self.launch.stop.kill_after(), killed: false });
    }

    fn kill(&self, job: Pid) {
        let _ = kill_process(job, Signal::KILL);
        if self.launch.stop.kill_tree {
            tree::kill_group(job);
        }
    }

    fn ended(&self, status: ExitStatus, stop: Option<Stop>) -> Outcome {
        let Some(stop) = stop else { return judge(status) };
        let mut outcome = match (stop.reason, &self.launch.timeout) {
            (Reason::TimedOut, Some(timeout)) => {
                Outcome::new(State::Failed, &Detail::TimedOutAfter(timeout.text.clone()))
            }
            _ => Outcome::new(State::Canceled, &Detail::Canceled),
        };
        if self.launch.stop.kill_tree {
            outcome.leftover = !tree::kill_all(Instant::now() + GO);
        }
        outcome
    }

    /// Makes it known that the job runs. True if the daemon is there but had no room for it.
    fn announce(&mut self, job: Pid) -> bool {
        if !self.recorded
            && let Ok(process) = Process::of(job)
        {
            // Of use only if this keeper is killed; the job goes on without.
            self.recorded = self.pen.started(process).is_ok();
        }
        let (keeper, job) = (getpid().as_raw_pid(), job.as_raw_pid());
        let event = Event::Running { keeper, job };
        match self.telephone.send(&event, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(()) => false,
            Err(Errno::AGAIN | Errno::NOBUFS) => true,
            Err(_) => {
                self.write_running(keeper, job);
                false
            }
        }
    }

    /// Without a daemon the keeper says in `status` itself that the job runs.
    fn write_running(&self, keeper: i32, job: i32) {
        let _ = self.dir.update_status(|status| {
            let params = CommandExtra::from_value(&status.extra_data).unwrap_or_default().params;
            status.state = State::Running;
            status.detail = Detail::RunningPid(job.unsigned_abs()).to_string();
            status.extra_data = CommandExtra { pid: keeper.into(), params }.into();
            Some(())
        });
    }

    /// Writes the end down: first where only keepers write, then in `status`, for whoever reads it.
    fn finish(&mut self, outcome: &Outcome, size: Option<u64>) {
        let _ = self.pen.ended(outcome);
        for _ in 0..WRITE_TRIES {
            let written = self.dir.update_status(|status| {
                if status.state.is_final() {
                    return None;
                }
                status.state = outcome.state();
                status.detail = outcome.detail_text().to_owned();
                status.stdout_size = size.unwrap_or_else(|| self.dir.stdout_bytes());
                status.extra_data = Value::Null;
                Some(())
            });
            match written {
                Err(StatusFault::Io(fault)) if fault.kind() == io::ErrorKind::StorageFull => {
                    // The daemon may know already. Nobody needs to wait for a signal here, only for time.
                    let _ = self.telephone.tell(&Event::Ended(outcome.clone()));
                    signals::SignalSet::of(&[]).wait(Some(WRITE_AGAIN));
                }
                // A unit whose files are gone was released.
                _ => return,
            }
        }
    }
}

/// Waits for everything that has ended below this process. The job's own status, if it was among it.
fn reap(job: Pid) -> Option<ExitStatus> {
    let mut ended = None;
    while let Ok(Some((child, status))) = wait(WaitOptions::NOHANG) {
        if child == job {
            ended = Some(ExitStatus::from_raw(status.as_raw()));
        }
    }
    ended
}

/// What the end of a job means (control-protocol 4.3).
fn judge(status: ExitStatus) -> Outcome {
    match (status.code(), status.signal()) {
        (Some(0), _) => Outcome::new(State::Succeeded, &Detail::ExitStatus(0)),
        (Some(code), _) => Outcome::new(State::Failed, &Detail::ExitStatus(code)),
        (None, signal) => {
            let number = signal.unwrap_or_default();
            Outcome::new(State::Failed, &Detail::Signal { number, core_dumped: status.core_dumped() })
        }
    }
}

fn size(stdout: &File) -> Option<u64> {
    stdout.metadata().ok().map(|file| file.len())
}

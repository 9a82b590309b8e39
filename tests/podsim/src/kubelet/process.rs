//! One process on this machine in the place of a container: its own process group, pipes for its streams, and an end
//! that is waited for by pidfd, so that no signal can hit a process that took over its number.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;

/// In the environment of every process that is started; finds those that left their process group.
pub(crate) const MARK: &str = "PODSIM_INSTANCE";

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// Never empty.
    pub(crate) argv: Vec<OsString>,
    /// The whole environment.
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) directory: PathBuf,
    /// A pipe for stdin; without it the process reads from `/dev/null`.
    pub(crate) stdin: bool,
}

/// A started process.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    /// `None` once it has been reaped: from then on its number is nobody's.
    child: Mutex<Option<Child>>,
    pidfd: AsyncFd<OwnedFd>,
}

/// This side's ends of the pipes.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) stdin: Option<pipe::Sender>,
    pub(crate) stdout: pipe::Receiver,
    pub(crate) stderr: pipe::Receiver,
}

impl Program {
    /// Blocks while the process is made, about a millisecond. The error is that of the start, such as "not found".
    pub(crate) fn spawn(&self) -> io::Result<Child> {
        let (program, arguments) = self.argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.directory)
            .process_group(0)
            .stdin(if self.stdin { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }
}

impl Process {
    /// Takes over a process that was just spawned. Must run inside the runtime.
    pub(crate) fn adopt(mut child: Child) -> io::Result<(Self, Pipes)> {
        let taken = child.stdin.take();
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let pipes = Pipes {
            stdin: taken.map(|stdin| pipe::Sender::from_owned_fd(OwnedFd::from(stdin))).transpose()?,
            stdout: pipe::Receiver::from_owned_fd(OwnedFd::from(stdout))?,
            stderr: pipe::Receiver::from_owned_fd(OwnedFd::from(stderr))?,
        };
        let pid = Pid::from_child(&child);
        let pidfd = watch_pidfd(pidfd_open(pid, PidfdFlags::NONBLOCK)?)?;
        Ok((Self { pid, child: Mutex::new(Some(child)), pidfd }, pipes))
    }

    /// Waits for the end, ends what is left of its process group, and reaps it.
    pub(crate) async fn wait(&self) -> io::Result<ExitStatus> {
        loop {
            let mut ready = self.pidfd.readable().await?;
            // Still a zombie, so its number, and with it that of its group, is not given to another.
            let _ = kill_process_group(self.pid, Signal::KILL);
            let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(running) = child.as_mut() else {
                return Err(io::Error::other("the process was reaped before"));
            };
            if let Some(status) = running.try_wait()? {
                *child = None;
                return Ok(status);
            }
            ready.clear_ready();
        }
    }

    /// Asks it to end as a runtime asks the first process of a container: the signal is for that process alone, and
    /// is without effect where it has no handler for it.
    pub(crate) fn terminate(&self) {
        self.with_running(|pid| {
            if catches_sigterm(pid) {
                let _ = kill_process(pid, Signal::TERM);
            }
        });
    }

    /// Kills it and its process group.
    pub(crate) fn kill(&self) {
        self.with_running(|pid| {
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = kill_process(pid, Signal::KILL);
        });
    }

    fn with_running(&self, act: impl FnOnce(Pid)) {
        if self.child.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            act(self.pid);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if let Some(mut child) = self.child.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It was just killed: this returns as soon as the kernel has taken it down.
            let _ = child.wait();
        }
    }
}

/// Readable when the process has ended.
#[allow(unsafe_code)]
fn watch_pidfd(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: asked for is a descriptor that stays the same and open until the `AsyncFd` is dropped; an `OwnedFd`
    // that it owns is that.
    let watched = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) };
    watched.map_err(|error| io::Error::other(error.to_string()))
}

/// Whether the process has a handler for SIGTERM. The kernel drops a signal without handler for the first process
/// of a container; here that has to be looked up.
fn catches_sigterm(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (Signal::TERM.as_raw() - 1)) != 0
}

/// The exit code a container runtime reports: 128+n for a signal.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255)
}

/// Kills every process that carries the mark of this simulator and was missed so far, because it left its process
/// group. Safe against reuse of numbers: environment and signal go through the same pidfd's process.
pub(crate) fn sweep(mark: &str) {
    let wanted = format!("{MARK}={mark}");
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|&byte| byte == 0).any(|variable| variable == wanted.as_bytes()) {
            let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
        }
    }
}

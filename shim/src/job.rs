//! The job: its process and this side of its pipes.

use std::{
    ffi::OsString,
    io::{self, PipeReader, PipeWriter, Write},
    os::fd::AsFd,
    process::Command,
};

use crate::sys;

/// A job that was started, or could not be.
pub(crate) struct Job {
    pid: Option<i32>,
    /// Open until the payload is over or the job wants no more of it.
    pub(crate) stdin: Option<PipeWriter>,
    /// Open until all of the output was read.
    pub(crate) stdout: Option<PipeReader>,
    code: Option<i32>,
    told: bool,
}

impl Job {
    /// Runs the command. stdout and stderr are one pipe, so that their order is the job's. Why it cannot be run is then
    /// its output.
    pub(crate) fn start(command: &[OsString]) -> io::Result<Self> {
        let (for_job, stdin) = io::pipe()?;
        let (stdout, from_job) = io::pipe()?;
        sys::set_nonblocking(stdin.as_fd())?;
        sys::set_nonblocking(stdout.as_fd())?;
        let mut job = Self { pid: None, stdin: Some(stdin), stdout: Some(stdout), code: None, told: false };
        let (program, arguments) = command.split_first().ok_or_else(|| io::Error::other("no command"))?;
        let mut words = from_job.try_clone()?;
        let child =
            Command::new(program).args(arguments).stdin(for_job).stdout(from_job.try_clone()?).stderr(from_job).spawn();
        match child {
            Ok(child) => job.pid = i32::try_from(child.id()).ok(),
            Err(fault) => {
                let program = program.to_string_lossy();
                let _ = writeln!(words, "worknode shim: {program}: {fault}");
                job.code = Some(if fault.kind() == io::ErrorKind::NotFound { 127 } else { 126 });
            }
        }
        Ok(job)
    }

    /// Passes a signal on.
    pub(crate) fn signal(&self, signal: i32) {
        if let (Some(pid), None) = (self.pid, self.code) {
            sys::kill(pid, signal);
        }
    }

    /// Takes the children that ended: as the first process also those that nobody else waits for. True if one was the job.
    pub(crate) fn reap(&mut self) -> bool {
        let mut was_job = false;
        while let Some((pid, code)) = sys::reap() {
            if Some(pid) == self.pid && self.code.is_none() {
                self.code = Some(code);
                was_job = true;
                // Without this program between, they would have ended with the container's first process.
                if std::process::id() == 1 {
                    sys::kill(-1, sys::SIGKILL);
                }
            }
        }
        was_job
    }

    /// There is nothing more to read for now: of a job that has ended, nothing at all.
    pub(crate) fn rest_was_read(&mut self) {
        if self.code.is_some() {
            self.stdout = None;
        }
    }

    /// Its exit code, once it has ended.
    pub(crate) fn code(&self) -> Option<i32> {
        self.code
    }

    /// It has ended, and all of its output was read.
    pub(crate) fn is_over(&self) -> bool {
        self.code.is_some() && self.stdout.is_none()
    }

    /// Its exit code, once, when it is over.
    pub(crate) fn just_over(&mut self) -> Option<i32> {
        self.code.filter(|_| self.is_over() && !std::mem::replace(&mut self.told, true))
    }
}

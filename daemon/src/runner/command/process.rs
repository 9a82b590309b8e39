//! Processes told apart for certain: a number is reused, a number with the time it began is not.

use std::{fs, io, os::fd::OwnedFd};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};
use serde::{Deserialize, Serialize};

/// One process of this boot of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Process {
    /// Its number.
    pub(super) pid: i32,
    /// When it began, in clock ticks since boot: field 22 of `/proc/PID/stat`.
    pub(super) start: u64,
}

impl Process {
    /// The process that has this number now.
    ///
    /// # Errors
    /// There is none, or `/proc` is not readable.
    pub(super) fn of(pid: Pid) -> io::Result<Self> {
        Ok(Stat::of(pid.as_raw_pid())?.process)
    }

    /// A handle on the process; `None` if it has ended. The number is checked after the handle was opened, so the handle
    /// is never one of a stranger that took the number over.
    ///
    /// # Errors
    /// The system has no room for another handle. That says nothing about the process.
    pub(super) fn open(self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(handle) => Ok(self.is_alive()?.then_some(handle)),
            // Of a thread's number, too, which can only be a stranger's.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(fault) => Err(fault.into()),
        }
    }

    /// True if it is alive: not ended, and not a zombie either.
    ///
    /// # Errors
    /// It cannot be found out: too many open files.
    pub(super) fn is_alive(self) -> io::Result<bool> {
        match Stat::of(self.pid) {
            Ok(now) => Ok(now.process == self && now.is_alive()),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(false),
            // It ended while its line was being read.
            Err(fault) if fault.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(false),
            Err(fault) => Err(fault),
        }
    }
}

/// What the kernel says of a process in `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) process: Process,
    /// `R`, `S`, `D`, `T`, `Z` ...
    pub(super) state: u8,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) session: i32,
}

impl Stat {
    /// Reads it.
    ///
    /// # Errors
    /// No such process, or `/proc` is not readable.
    pub(super) fn of(pid: i32) -> io::Result<Self> {
        let line = fs::read(format!("/proc/{pid}/stat"))?;
        Self::parse(&line)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unexpected form of /proc/PID/stat"))
    }

    /// Every process there is, as far as it can be seen.
    pub(super) fn all() -> Vec<Self> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(|pid| Self::of(pid).ok())
            .collect()
    }

    fn parse(line: &[u8]) -> Option<Self> {
        // The name stands in parentheses and may hold anything, parentheses and blanks too.
        let opened = line.iter().position(|byte| *byte == b'(')?;
        let closed = line.iter().rposition(|byte| *byte == b')')?;
        let pid = std::str::from_utf8(line.get(..opened)?).ok()?.trim().parse().ok()?;
        let fields: Vec<&str> = std::str::from_utf8(line.get(closed + 1..)?).ok()?.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse().ok();
        Some(Self {
            process: Process { pid, start: fields.get(19)?.parse().ok()? },
            state: *fields.first()?.as_bytes().first()?,
            parent: number(1)?,
            group: number(2)?,
            session: number(3)?,
        })
    }

    /// False for a process of which only the exit status is left.
    pub(super) fn is_alive(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// Names this boot of the machine: numbers and times of processes mean nothing in another one.
///
/// # Errors
/// `/proc` is not readable.
pub(super) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_name_cannot_disturb_the_reading() {
        let line = b"42 (a) S 1 (b) R 7 42 41 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2\n";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(stat.process, Process { pid: 42, start: 987_654 });
        assert_eq!((stat.state, stat.parent, stat.group, stat.session), (b'R', 7, 42, 41));
        assert_eq!(Stat::parse(b"42 (x"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn a_stranger_with_the_same_number_is_not_opened() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::of(Pid::from_child(&child)).unwrap();
        assert!(process.open().unwrap().is_some());
        assert!(Process { start: process.start + 1, ..process }.open().unwrap().is_none());
        child.kill().unwrap();
        while process.is_alive().unwrap() {
            std::thread::yield_now();
        }
        assert!(process.open().unwrap().is_none(), "a zombie");
        child.wait().unwrap();
        assert!(process.open().unwrap().is_none());
    }

    #[test]
    fn all_processes_include_this_one() {
        let own = Process::of(rustix::process::getpid()).unwrap();
        assert!(Stat::all().iter().any(|stat| stat.process == own));
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}

//! Looking at processes through `/proc`: who is there, what they use, where they listen.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The fields of `/proc/PID/stat` that the tests and the benchmark use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// State letter, `Z` for a process that has ended and was not waited for.
    pub state: char,
    /// Parent's process id.
    pub parent: i32,
    /// Process group.
    pub group: i32,
    /// Session.
    pub session: i32,
    /// CPU time of the process itself, user and system.
    pub cpu: Duration,
    /// CPU time of its children that have ended and were waited for.
    pub children_cpu: Duration,
    /// Start, in clock ticks since boot. With the process id it names a process for ever.
    pub start: u64,
}

/// Memory of a process in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident set: private and shared pages.
    pub resident: u64,
    /// Proportional set: a shared page counts for its share.
    pub proportional: u64,
}

/// Reads `/proc/PID/stat`.
///
/// # Errors
/// Fails if the process is gone.
pub fn stat(pid: Pid) -> Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
    parse_stat(&text).with_context(|| format!("unreadable stat of process {pid:?}"))
}

/// The program's name stands in parentheses and may itself hold blanks and parentheses, so fields count from the last one.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let number = |at: usize| fields.get(at)?.parse::<i32>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: number(1)?,
        group: number(2)?,
        session: number(3)?,
        cpu: cpu_time(ticks(11)? + ticks(12)?),
        children_cpu: cpu_time(ticks(13)? + ticks(14)?),
        start: ticks(19)?,
    })
}

fn cpu_time(ticks: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / per_second))
}

/// Reads the memory of a process.
///
/// # Errors
/// Fails if the process is gone.
pub fn memory(pid: Pid) -> Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", pid.as_raw_nonzero()))?;
    let bytes = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    };
    Ok(Memory { resident: bytes("Rss:"), proportional: bytes("Pss:") })
}

/// The largest resident set that a process has had so far, in bytes.
///
/// # Errors
/// Fails if the process is gone.
pub fn peak_memory(pid: Pid) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: u64 = line.split_ascii_whitespace().next().context("no figure")?.parse()?;
    Ok(kib * 1024)
}

/// The words of a process's command line.
///
/// # Errors
/// Fails if the process is gone.
pub fn command_line(pid: Pid) -> Result<Vec<String>> {
    let bytes = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()))?;
    Ok(bytes.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

/// All living processes (not yet ended ones) whose environment holds `entry` (`NAME=value`): a daemon's children and
/// their children inherit it, whoever their parent is by now.
///
/// # Errors
/// Fails only if `/proc` cannot be listed.
pub fn with_environment(entry: &str) -> Result<Vec<Pid>> {
    let mut found = Vec::new();
    for listed in fs::read_dir("/proc")? {
        let name = listed?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        // A process may end between any two looks, and a stranger's environment cannot be read: neither is one of ours.
        if has_environment(pid, entry) && stat(pid).is_ok_and(|stat| stat.state != 'Z') {
            found.push(pid);
        }
    }
    Ok(found)
}

fn has_environment(pid: Pid, entry: &str) -> bool {
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
    environment.split(|&byte| byte == 0).any(|found| found == entry.as_bytes())
}

/// A handle that becomes readable when the process ends, and can never mean another process.
///
/// # Errors
/// Fails if the process is gone.
pub fn handle(pid: Pid) -> Result<OwnedFd> {
    pidfd_open(pid, PidfdFlags::empty()).with_context(|| format!("opening process {pid:?}"))
}

/// Kills every process whose environment holds `entry`, again and again until none is left to be found.
///
/// # Errors
/// Fails only if `/proc` cannot be listed.
pub fn kill_with_environment(entry: &str) -> Result<usize> {
    let mut killed = 0;
    loop {
        let found = with_environment(entry)?;
        if found.is_empty() {
            return Ok(killed);
        }
        for pid in found {
            // Looked at again through the handle's time: the number may have passed to a stranger since the listing.
            let Ok(process) = handle(pid) else { continue };
            if has_environment(pid, entry) && pidfd_send_signal(&process, Signal::KILL).is_ok() {
                killed += 1;
                crate::wait::readable(&process, Duration::from_secs(5))?;
            }
        }
    }
}

/// The TCP addresses on which a process listens.
///
/// # Errors
/// Fails if the process is gone.
pub fn listening(pid: Pid) -> Result<Vec<SocketAddr>> {
    let raw = pid.as_raw_nonzero();
    let mut sockets = Vec::new();
    for open in fs::read_dir(format!("/proc/{raw}/fd"))? {
        let Ok(target) = fs::read_link(open?.path()) else {
            continue;
        };
        let target = target.to_string_lossy().into_owned();
        if let Some(inode) = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
            sockets.push(inode.to_owned());
        }
    }
    let table = fs::read_to_string(format!("/proc/{raw}/net/tcp"))?;
    Ok(table.lines().filter_map(|line| listening_ipv4(line, &sockets)).collect())
}

/// One line of `/proc/net/tcp`, if it is a listening socket with one of these inodes.
fn listening_ipv4(line: &str, inodes: &[String]) -> Option<SocketAddr> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if *fields.get(3)? != LISTEN || !inodes.iter().any(|inode| Some(&inode.as_str()) == fields.get(9)) {
        return None;
    }
    let (address, port) = fields.get(1)?.split_once(':')?;
    let address = u32::from_str_radix(address, 16).ok()?.to_ne_bytes();
    Some(SocketAddr::from((address, u16::from_str_radix(port, 16).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_of_a_program_with_an_odd_name() {
        let text = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 20 30 20 0 1 0 998877 1 2\n";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.state, stat.parent, stat.group, stat.session), ('S', 1, 7, 7));
        assert_eq!(stat.start, 998_877);
        assert_eq!(stat.cpu, cpu_time(200));
        assert_eq!(stat.children_cpu, cpu_time(50));
    }

    #[test]
    fn own_process_is_seen() {
        let me = rustix::process::getpid();
        assert!(stat(me).unwrap().start > 0);
        let memory = memory(me).unwrap();
        assert!(memory.resident >= memory.proportional && memory.proportional > 0);
    }

    #[test]
    fn a_listener_is_found_by_its_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = listening(rustix::process::getpid()).unwrap();
        assert!(found.contains(&listener.local_addr().unwrap()), "{found:?}");
    }
}

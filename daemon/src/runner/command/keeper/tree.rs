//! Everything below a keeper: it adopts what its descendants leave behind, so nothing of a job gets out of its reach.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, wait};

use super::{super::process::Stat, signals::SignalSet};

/// After this time children that appeared without a signal are looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Kills every child of this process until none is left, those included that come to it while it kills. False: some
/// would not go in time, for they belong to another user or wait in the kernel.
pub(super) fn kill_all(until: Instant) -> bool {
    let ended = SignalSet::of(&[Signal::CHILD]);
    loop {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                // No child at all: an ended process hands its children over before it can be waited for.
                Err(_) => return true,
            }
        }
        for child in children() {
            // A child keeps its number until it is waited for, and only this process waits for it.
            let _ = kill_process(child, Signal::KILL);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        ended.wait(Some(left.min(LOOK_AGAIN)));
    }
}

/// Kills the process group of a job that has not been waited for yet.
pub(super) fn kill_group(job: Pid) {
    let _ = kill_process_group(job, Signal::KILL);
}

fn children() -> Vec<Pid> {
    let own = getpid().as_raw_pid();
    let listed = fs::read_to_string(format!("/proc/self/task/{own}/children"));
    let numbers: Vec<i32> = match listed {
        Ok(line) => line.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect(),
        // A kernel without this file.
        Err(_) => Stat::all().iter().filter(|stat| stat.parent == own).map(|stat| stat.process.pid).collect(),
    };
    numbers.into_iter().filter_map(Pid::from_raw).collect()
}

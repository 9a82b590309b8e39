//! CPU time of everything that a stage starts, orphans included.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions, getpid, set_child_subreaper, waitid, waitpid};
use worknode_tests::process;

/// Pause of the reaper while there is nothing for it to do.
const PAUSE: Duration = Duration::from_millis(2);

/// Runs `stage` and gives the CPU time of the processes that it started and that ended meanwhile.
///
/// Keepers and runners of jobs leave the daemon's session, and outlive it in a crash. This process adopts them, as the
/// system's first process otherwise would, so that their time is told to it when they end.
pub(crate) fn of_descendants<T>(stage: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    set_child_subreaper(Some(getpid())).context("becoming the parent of orphans")?;
    let before = ended_children()?;
    let over = AtomicBool::new(false);
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                reap_orphans();
            }
        });
        let outcome = stage();
        over.store(true, Ordering::Relaxed);
        outcome
    })?;
    // The stage has ended its daemon: whatever is left is an orphan.
    while let Ok(Some(_)) = waitpid(None, WaitOptions::NOHANG) {}
    Ok((outcome, ended_children()?.saturating_sub(before)))
}

fn ended_children() -> Result<Duration> {
    Ok(process::stat(getpid())?.children_cpu)
}

/// Takes the ended children that are orphans. The daemon is left to whoever started it.
fn reap_orphans() {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    let mut reaped = false;
    if matches!(waitid(WaitId::All, look), Ok(Some(_))) {
        for orphan in ended_orphans() {
            reaped |= waitpid(Some(orphan), WaitOptions::NOHANG).is_ok();
        }
    }
    if !reaped {
        pause();
    }
}

/// Ended children that had left this session: only detached processes do.
fn ended_orphans() -> Vec<Pid> {
    let Ok(me) = process::stat(getpid()) else {
        return Vec::new();
    };
    let Ok(listing) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = listing.flatten().filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    let orphan = |pid: &Pid| {
        process::stat(*pid).is_ok_and(|stat| {
            stat.state == 'Z' && stat.parent == getpid().as_raw_nonzero().get() && stat.session != me.session
        })
    };
    pids.filter(orphan).collect()
}

#[allow(clippy::disallowed_methods, reason = "there is no event for \"a child that is an orphan has ended\"")]
fn pause() {
    std::thread::sleep(PAUSE);
}

//! Ending the processes of a job whose keeper cannot do it: it was killed, or hangs.
//!
//! Without the keeper they are nobody's children, so they have to be recognised. A process counts as the job's only if
//! that is certain:
//! - it is the job itself, by number and time of start, or
//! - it has the unit's `stdout` (or `stderr`) open for writing, which nobody can come by but from the keeper, or
//! - it is in the session of the keeper, while one of the above, or the keeper itself, is in it too; a session that has
//!   a member keeps its number, so this cannot be a later one, or
//! - it descends from one of these.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Signal, getpid, pidfd_send_signal},
};

use super::{
    process::{Process, Stat},
    record::Record,
};
use crate::work::store::UnitDir;

/// Times that nothing must be found before nothing is there: a look is not of one moment, and a process that is just
/// starting a program has its output under another number from one moment to the next.
const LOOKS: u32 = 2;

/// Time for killed processes to go, and for new ones to be found and killed.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Kills whatever is left of the job of the unit, its keeper too. `boot` is the present one: of another nothing is left.
/// Blocks. True if nothing is left.
pub(super) fn kill(dir: &UnitDir, record: Option<&Record>, boot: &str, until: Instant) -> bool {
    if record.is_some_and(|record| record.boot != boot) {
        return true;
    }
    let mut looks = 0;
    loop {
        let found = find(dir, record);
        if found.is_empty() {
            looks += 1;
            if looks == LOOKS {
                return true;
            }
            continue;
        }
        looks = 0;
        let opened: io::Result<Vec<Option<OwnedFd>>> = found.into_iter().map(Process::open).collect();
        // Without a handle there is no telling whom a signal would hit.
        let Ok(opened) = opened else { return false };
        let handles: Vec<OwnedFd> = opened.into_iter().flatten().collect();
        for handle in &handles {
            let _ = pidfd_send_signal(handle, Signal::KILL);
        }
        if !wait_for(&handles, until) {
            return false;
        }
    }
}

/// Waits until all have ended. False: not in time.
fn wait_for(handles: &[OwnedFd], until: Instant) -> bool {
    for handle in handles {
        let left = until.saturating_duration_since(Instant::now());
        let Ok(left) = Timespec::try_from(left) else { return false };
        if poll(&mut [PollFd::new(&handle.as_fd(), PollFlags::IN)], Some(&left)) == Ok(0) {
            return false;
        }
    }
    Instant::now() < until
}

/// The living processes that are certainly the job's, and its keeper.
fn find(dir: &UnitDir, record: Option<&Record>) -> Vec<Process> {
    let all: Vec<Stat> = Stat::all().into_iter().filter(Stat::is_alive).collect();
    let outputs = Outputs::of(dir);
    let keeper = record.map(|record| record.keeper);
    let certain = |stat: &Stat| {
        Some(stat.process) == keeper
            || Some(stat.process) == record.and_then(|record| record.job)
            || outputs.are_written_by(stat.process)
    };
    let mut ours: HashSet<i32> = all.iter().filter(|stat| certain(stat)).map(|stat| stat.process.pid).collect();
    let session = keeper.map(|keeper| keeper.pid);
    if all.iter().any(|stat| Some(stat.session) == session && ours.contains(&stat.process.pid)) {
        ours.extend(all.iter().filter(|stat| Some(stat.session) == session).map(|stat| stat.process.pid));
    }
    let parents: HashMap<i32, i32> = all.iter().map(|stat| (stat.process.pid, stat.parent)).collect();
    all.iter()
        .filter(|stat| stat.process.pid != getpid().as_raw_pid() && descends(stat.process.pid, &parents, &ours))
        .map(|stat| stat.process)
        .collect()
}

fn descends(mut pid: i32, parents: &HashMap<i32, i32>, ours: &HashSet<i32>) -> bool {
    // The table is not of one moment, so it could lead in a circle.
    for _ in 0..=parents.len() {
        if ours.contains(&pid) {
            return true;
        }
        match parents.get(&pid) {
            Some(parent) => pid = *parent,
            None => return false,
        }
    }
    false
}

/// The unit's output files, by device and inode.
struct Outputs(Vec<(u64, u64)>);

impl Outputs {
    fn of(dir: &UnitDir) -> Self {
        let files = [dir.stdout(), dir.file("stderr")];
        Self(files.iter().filter_map(|file| fs::metadata(file).ok()).map(|file| (file.dev(), file.ino())).collect())
    }

    /// False too for a process into which this one may not look.
    fn are_written_by(&self, process: Process) -> bool {
        let Ok(open) = fs::read_dir(format!("/proc/{}/fd", process.pid)) else { return false };
        open.flatten().any(|entry| {
            fs::metadata(entry.path()).is_ok_and(|file| self.0.contains(&(file.dev(), file.ino())))
                && is_writable(process.pid, &entry.file_name().to_string_lossy())
        })
    }
}

/// Whether a descriptor of a process was opened for writing, by its flags in `/proc/PID/fdinfo`.
fn is_writable(pid: i32, descriptor: &str) -> bool {
    let Ok(info) = fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}")) else { return false };
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).map(str::trim);
    let flags = flags.and_then(|flags| i32::from_str_radix(flags, 8).ok());
    flags.is_some_and(|flags| matches!(flags & libc::O_ACCMODE, libc::O_WRONLY | libc::O_RDWR))
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{File, OpenOptions},
        os::unix::process::CommandExt,
        process::{Child, Command},
    };

    use rustix::process::Pid;

    use super::*;
    use crate::runner::command::launch::StopRule;

    const BOOT: &str = "this one";

    fn unit() -> (tempfile::TempDir, UnitDir) {
        let dir = tempfile::tempdir().unwrap();
        File::create(dir.path().join("stdout")).unwrap();
        let unit = UnitDir::at(dir.path());
        (dir, unit)
    }

    fn record(keeper: Process, job: Option<Process>) -> Record {
        let stop = StopRule { grace: Duration::from_secs(10), kill_tree: true };
        Record { boot: BOOT.to_owned(), keeper, stop, job, outcome: None }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    fn sleeper() -> Command {
        let mut sleeper = Command::new("sleep");
        sleeper.arg("60");
        sleeper
    }

    fn process(child: &Child) -> Process {
        Process::of(Pid::from_child(child)).unwrap()
    }

    #[test]
    fn a_writer_of_the_output_is_killed_and_a_reader_is_not() {
        let (_dir, unit) = unit();
        let append = OpenOptions::new().append(true).open(unit.stdout()).unwrap();
        let mut writer = sleeper().stdout(append).process_group(0).spawn().unwrap();
        let mut reader = sleeper().stdin(File::open(unit.stdout()).unwrap()).spawn().unwrap();
        assert!(kill(&unit, None, BOOT, soon()));
        assert!(!writer.wait().unwrap().success());
        assert!(reader.try_wait().unwrap().is_none());
        reader.kill().unwrap();
        reader.wait().unwrap();
    }

    #[test]
    fn the_job_is_killed_with_its_descendants() {
        let (_dir, unit) = unit();
        let mut job = Command::new("sh").args(["-c", "sleep 60 & setsid sleep 60 & wait"]).spawn().unwrap();
        let record = record(Process { pid: i32::MAX, start: 1 }, Some(process(&job)));
        while find(&unit, Some(&record)).len() < 3 {
            std::thread::yield_now();
        }
        assert!(kill(&unit, Some(&record), BOOT, soon()));
        job.wait().unwrap();
    }

    #[test]
    fn a_stranger_with_the_number_of_the_job_or_the_keeper_is_left_alone() {
        let (_dir, unit) = unit();
        let mut stranger = sleeper().spawn().unwrap();
        let now = process(&stranger);
        let earlier = Process { start: now.start - 1, ..now };
        assert!(kill(&unit, Some(&record(earlier, Some(earlier))), BOOT, soon()));
        // The same process, but in another boot of the machine.
        let elsewhere = Record { boot: "another".to_owned(), ..record(now, Some(now)) };
        assert!(kill(&unit, Some(&elsewhere), BOOT, soon()));
        assert!(stranger.try_wait().unwrap().is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    #[test]
    fn a_session_that_only_has_the_number_of_the_keeper_is_left_alone() {
        let (_dir, unit) = unit();
        let mut leader = Command::new("setsid").args(["sh", "-c", "sleep 60 & wait"]).spawn().unwrap();
        let pid = process(&leader).pid;
        let members = || Stat::all().into_iter().filter(|stat| stat.session == pid).count();
        while members() < 2 {
            std::thread::yield_now();
        }
        let stale = record(Process { pid, start: process(&leader).start - 1 }, None);
        assert_eq!(find(&unit, Some(&stale)), []);
        let live = record(process(&leader), None);
        assert_eq!(find(&unit, Some(&live)).len(), 2);
        assert!(kill(&unit, Some(&live), BOOT, soon()));
        leader.wait().unwrap();
    }
}

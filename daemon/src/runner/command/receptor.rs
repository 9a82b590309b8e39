//! Runner processes of Go receptor in a data directory that was taken over (control-protocol 4.4).
//!
//! Such a runner keeps `status` current itself. It is recognised by its command line, which names the unit's directory.

use std::{fs, os::unix::ffi::OsStrExt};

use rustix::process::{Pid, Signal};
use tokio::time::timeout;
use worknode_protocol::unit::{CommandExtra, Detail, State, Status};

use super::{
    handle::Handle,
    job::{CommandRunner, blocking},
    process::Process,
};
use crate::{
    runner::{Ending, Report, UnitContext},
    work::store::UnitDir,
};

/// The living runner of the unit, if there is one.
pub(super) fn find(dir: &UnitDir, status: &Status) -> Option<Process> {
    let pid = CommandExtra::from_value(&status.extra_data)?.pid;
    let process = Process::of(Pid::from_raw(i32::try_from(pid).ok().filter(|pid| *pid > 0)?)?).ok()?;
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    // What was read is the process's if it is still there.
    (is_runner_of(dir, &command_line) && process.is_alive().ok()?).then_some(process)
}

fn is_runner_of(dir: &UnitDir, command_line: &[u8]) -> bool {
    let words: Vec<&[u8]> = command_line.split(|byte| *byte == 0).collect();
    let named = words.iter().filter_map(|word| word.strip_prefix(b"unitdir=")).any(|path| is_same(dir, path));
    named && words.contains(&b"--command-runner".as_slice())
}

/// The runner may know the directory by another path.
fn is_same(dir: &UnitDir, path: &[u8]) -> bool {
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(path));
    let real = |path: &std::path::Path| fs::canonicalize(path).ok();
    path == dir.path() || real(path).is_some_and(|path| real(dir.path()) == Some(path))
}

impl CommandRunner {
    /// Follows a job of Go receptor's runner, which writes `status` itself.
    pub(super) async fn follow_foreign(&mut self, unit: &UnitContext, runner: Process) -> Ending {
        let Some(handle) = Handle::open(runner) else { return self.lost(unit, None).await };
        loop {
            // Each time anew: a report puts another file in the place of `status`.
            let mut status = self.host.files.subscribe(&unit.dir.file("status")).await;
            let dir = unit.dir.clone();
            if let Some(Ok(now)) = blocking(move || dir.read_status()).await
                && now.state == State::Running
                && !self.known_to_run
            {
                self.known_to_run = true;
                let detail = Some(Detail::Verbatim(now.detail));
                unit.reporter.report(Report { state: Some(State::Running), detail, ..Report::default() }).await;
                continue;
            }
            tokio::select! {
                biased;
                () = handle.ended() => return self.lost(unit, None).await,
                () = unit.detach.cancelled() => return Ending::Detached,
                () = unit.cancel.cancelled() => return self.cancel_foreign(unit, &handle).await,
                () = status.changed() => {}
            }
        }
    }

    /// The runner stops its job itself, but not what the job left behind.
    async fn cancel_foreign(&mut self, unit: &UnitContext, runner: &Handle) -> Ending {
        runner.signal(Signal::INT);
        if timeout(self.stop.kill_after(), runner.ended()).await.is_err() {
            runner.signal(Signal::KILL);
        }
        let gone = self.host.kill_strays(&unit.dir, None).await;
        self.report_over(unit).await;
        Ending::Cancelled { leftover: !gone }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_is_known_by_its_command_line() {
        let dir = UnitDir::at("/D/n1/K8ouomSS");
        let line = |words: &[&str]| words.join("\0").into_bytes();
        let runner = ["receptor", "--node", "id=worker", "--log-level", "info", "--command-runner", "command=sleep"];
        let own = [&runner[..], &["params=1", "unitdir=/D/n1/K8ouomSS", ""]].concat();
        let other = [&runner[..], &["params=1", "unitdir=/D/n1/fdHK6b5O", ""]].concat();
        assert!(is_runner_of(&dir, &line(&own)));
        assert!(!is_runner_of(&dir, &line(&other)));
        assert!(!is_runner_of(&dir, &line(&["grep", "unitdir=/D/n1/K8ouomSS"])));
        assert!(!is_runner_of(&dir, b""));
    }
}

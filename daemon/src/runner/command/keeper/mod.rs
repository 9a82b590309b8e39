//! The processes that keep jobs alive without the daemon.
//!
//! `worknoded job-keeper` is the *parent of keepers*: one process, one thread, no runtime, nothing in memory that a job
//! does not need. For every launch it forks, and the fork becomes the *keeper* of that one job: leader of a session of
//! its own, adopter of whatever the job leaves behind, and the one who writes how the job ended. A fork without exec
//! shares nearly all of its memory with its parent, so a keeper costs a few hundred kilobytes and a tenth of a
//! millisecond, where a process of its own would cost megabytes and several.
//!
//! The parent ends when the daemon does. Keepers stay until their jobs are over. See `docs/decisions` for what happens
//! when one of them dies.

mod job;
mod parent;
mod program;
mod signals;
mod spawn;
mod tree;
mod user;

pub(super) use user::User;

use std::{ffi::OsString, process::ExitCode};

/// The hidden first argument that turns the daemon's binary into the parent of keepers.
const ARGUMENT: &str = "job-keeper";

/// What stands for no limit in the argument that follows.
const UNLIMITED: &str = "unlimited";

/// The arguments of the parent of keepers, whose jobs get this soft limit on open files; none is no limit.
pub(super) fn arguments(open_files: Option<u64>) -> [String; 2] {
    [ARGUMENT.to_owned(), open_files.map_or_else(|| UNLIMITED.to_owned(), |limit| limit.to_string())]
}

/// Runs the parent of keepers if that is what this process was started as.
///
/// Must be called first thing in `main`, before any thread or runtime exists: it forks, and the forks go on with the
/// thread that called.
pub fn main_if_requested(arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.skip(1);
    arguments.next().filter(|first| first == ARGUMENT)?;
    let limit = arguments.next()?.into_string().ok().filter(|_| arguments.next().is_none())?;
    let open_files = if limit == UNLIMITED { None } else { Some(limit.parse().ok()?) };
    Some(parent::main(open_files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_arguments_are_left_to_the_daemon() {
        for arguments in ["", "-c job-keeper", "job-keeper", "job-keeper x", "job-keeper 1 2", "Job-keeper 1"] {
            let arguments = ["worknoded"].into_iter().chain(arguments.split_whitespace()).map(OsString::from);
            assert!(main_if_requested(arguments).is_none());
        }
    }
}

//! Waiting for events with a deadline: changes of files, ends of processes.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::io::Errno;

/// How long a test waits for something that should happen at once. Far above what a loaded machine needs, so that only
/// a real fault reaches it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Longest pause between two looks at a condition while a [`Watch`] is silent. Some conditions (a socket that has begun
/// to listen) cause no file event.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A point in time after which waiting is an error.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    end: Instant,
    length: Duration,
}

impl Deadline {
    /// A deadline that lies `length` from now.
    #[must_use]
    pub fn after(length: Duration) -> Self {
        Self { end: Instant::now() + length, length }
    }

    /// The time left, or an error that names what was waited for.
    ///
    /// # Errors
    /// Fails once the deadline has passed.
    pub fn left(&self, waiting_for: &str) -> Result<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("{waiting_for}: not within {:?}", self.length);
        }
        Ok(left)
    }
}

impl Default for Deadline {
    fn default() -> Self {
        Self::after(PATIENCE)
    }
}

/// A stream of changes below some directories (their direct entries), from the kernel.
#[derive(Debug)]
pub struct Watch {
    events: OwnedFd,
}

impl Watch {
    /// Begins to watch the entries of `directory`.
    ///
    /// # Errors
    /// Fails if the directory does not exist or the user's limit of watches is reached.
    pub fn new(directory: &Path) -> Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let events = inotify::init(flags).context("inotify_init")?;
        let kinds = inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::ATTRIB
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::DELETE
            | inotify::WatchFlags::DELETE_SELF
            | inotify::WatchFlags::CLOSE_WRITE;
        inotify::add_watch(&events, directory, kinds).with_context(|| format!("watching {}", directory.display()))?;
        Ok(Self { events })
    }

    /// Calls `ready` now and after each change until it gives a value.
    ///
    /// # Errors
    /// Fails with the error of `ready`, or at the deadline with the words of `waiting_for`.
    pub fn until<T>(
        &self,
        deadline: Deadline,
        waiting_for: &str,
        mut ready: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        loop {
            if let Some(value) = ready()? {
                return Ok(value);
            }
            let left = deadline.left(waiting_for)?;
            readable(&self.events, left.min(LOOK_AGAIN))?;
            self.discard()?;
        }
    }

    /// Takes what has been reported: only that something changed matters.
    fn discard(&self) -> Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        loop {
            match rustix::io::read(&self.events, &mut buffer) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error).context("reading file events"),
            }
        }
    }
}

/// Waits until `fd` has something to read (for a pidfd: until the process has ended) or `limit` has passed; says which.
///
/// # Errors
/// Fails only if the system call does.
pub fn readable(fd: impl AsFd, limit: Duration) -> Result<bool> {
    let limit = Timespec::try_from(limit).context("a time limit too long for the system")?;
    let mut wanted = [PollFd::new(&fd, PollFlags::IN)];
    match poll(&mut wanted, Some(&limit)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error).context("poll"),
    }
}

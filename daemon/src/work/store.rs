//! Unit directories: the only code that touches the files of a unit (control-protocol 4.1).
//!
//! `status` is replaced by exchanging it with a file beside it: a reader without the lock meets the old line or the new one,
//! never a torn or empty file. An exchange costs a tenth of a rename over a file, after which ext4 writes back at once. On a
//! full disk, where no new file can be made, it is written over in place, padded with blanks to the length it had: JSON
//! readers pass over them. Whoever reads or writes holds `status.lock`, for a job's keeper and receptor's own runners
//! write it too.
//!
//! Everything here blocks, for microseconds where the lock is free.

use std::{
    ffi::{OsStr, OsString},
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use worknode_protocol::unit::Status;

/// A status file larger than this is not ours to read: parameters are bounded by the control line.
const STATUS_LIMIT: u64 = 64 * 1024 * 1024;

/// What the name of a directory begins with that is being made or removed.
const ASIDE: &str = ".";

/// The directory of one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitDir {
    path: Arc<Path>,
}

/// Why a status could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StatusFault {
    /// There is no status file.
    #[error("status file has disappeared")]
    Missing,
    /// The file holds something else than a status.
    #[error("status file is not readable: {0}")]
    Malformed(String),
    /// The file could not be read or locked.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl UnitDir {
    /// The directory at `path`, which need not exist.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into().into() }
    }

    /// Makes the directory (0700) and its files (0600): `status` with this content, and empty `status.lock`, `stdin`
    /// and `stdout`. It gets its name when it is ready: a crash leaves no half of it among the units.
    ///
    /// # Errors
    /// `AlreadyExists` if the directory is there; after any error nothing of it is left.
    pub fn create(path: impl Into<PathBuf>, status: &Status) -> io::Result<Self> {
        let dir = Self::at(path);
        let unready = Self::at(dir.aside()?);
        DirBuilder::new().mode(0o700).create(&*unready.path)?;
        let made = (|| {
            for name in ["status.lock", "stdin", "stdout"] {
                unready.create_file(name)?;
            }
            unready.create_file("status")?.write_all(status.to_line().as_bytes())?;
            Ok(renameat_with(CWD, &*unready.path, CWD, &*dir.path, RenameFlags::NOREPLACE)?)
        })();
        made.inspect_err(|_: &io::Error| drop(std::fs::remove_dir_all(&*unready.path)))?;
        Ok(dir)
    }

    /// Where the directory is while it is being made or removed: beside its place, under a name that is no unit's.
    fn aside(&self) -> io::Result<PathBuf> {
        let name = self.path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut aside = OsString::from(ASIDE);
        aside.push(name);
        Ok(self.path.with_file_name(aside))
    }

    /// True if a directory of this name was being made or removed when the daemon ended.
    pub fn is_aside(name: &OsStr) -> bool {
        name.as_bytes().starts_with(ASIDE.as_bytes())
    }

    fn create_file(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path.join(name))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file of the unit.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The payload.
    pub fn stdin(&self) -> PathBuf {
        self.file("stdin")
    }

    /// The output.
    pub fn stdout(&self) -> PathBuf {
        self.file("stdout")
    }

    /// Bytes in `stdout`; none without the file.
    pub fn stdout_bytes(&self) -> u64 {
        std::fs::metadata(self.stdout()).map_or(0, |file| file.len())
    }

    /// Takes the lock, waiting for other processes. Released when the file is dropped.
    fn lock(&self) -> io::Result<File> {
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(self.file("status.lock"))?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => {}
                done => return done.map(|()| file).map_err(Into::into),
            }
        }
    }

    /// The status on disk.
    ///
    /// # Errors
    /// No file, an unreadable one, or one that is not a status.
    pub fn read_status(&self) -> Result<Status, StatusFault> {
        if !self.file("status").exists() {
            return Err(StatusFault::Missing);
        }
        let _held = self.lock()?;
        self.read_locked()
    }

    fn read_locked(&self) -> Result<Status, StatusFault> {
        let file = File::open(self.file("status")).map_err(|fault| match fault.kind() {
            io::ErrorKind::NotFound => StatusFault::Missing,
            _ => fault.into(),
        })?;
        let mut line = Vec::new();
        file.take(STATUS_LIMIT).read_to_end(&mut line)?;
        Status::parse(&line).map_err(|fault| StatusFault::Malformed(fault.to_string()))
    }

    /// Replaces the status on disk, under the lock.
    ///
    /// # Errors
    /// The file system's.
    pub fn write_status(&self, status: &Status) -> io::Result<()> {
        let _held = self.lock()?;
        self.write_locked(status)
    }

    /// Reads the status, lets `change` edit it and writes it back, all under the lock. With `None` nothing is written.
    ///
    /// # Errors
    /// As reading and writing.
    pub fn update_status<T>(&self, change: impl FnOnce(&mut Status) -> Option<T>) -> Result<Option<T>, StatusFault> {
        let _held = self.lock()?;
        let mut status = self.read_locked()?;
        let answer = change(&mut status);
        if answer.is_some() {
            self.write_locked(&status)?;
        }
        Ok(answer)
    }

    fn write_locked(&self, status: &Status) -> io::Result<()> {
        self.exchange_status(status).or_else(|_| self.overwrite_status(status))
    }

    fn exchange_status(&self, status: &Status) -> io::Result<()> {
        let (place, beside) = (self.file("status"), self.file("status.next"));
        // One that a writer left when it was killed: a reader may still have it open, so it is not written over.
        self.unmark("status.next")?;
        self.create_file("status.next")?.write_all(status.to_line().as_bytes())?;
        let exchanged = renameat_with(CWD, &beside, CWD, &place, RenameFlags::EXCHANGE);
        // Without a status there is nothing to exchange; and not every file system can.
        let placed = exchanged.map_err(io::Error::from).or_else(|_| std::fs::rename(&beside, &place));
        let _ = std::fs::remove_file(&beside);
        placed
    }

    fn overwrite_status(&self, status: &Status) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(self.file("status"))?;
        let before = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        file.write_all_at(status.to_padded_line(before).as_bytes(), 0)
    }

    /// Replaces a small file of the unit as a whole: the old or the new content is there after a crash, nothing between.
    ///
    /// # Errors
    /// The file system's.
    pub fn replace_file(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let next = self.file(&format!("{name}.next"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        file.write_all(content)?;
        std::fs::rename(next, self.file(name))
    }

    /// Makes an empty marker file.
    ///
    /// # Errors
    /// The file system's.
    pub fn mark(&self, name: &str) -> io::Result<()> {
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(self.file(name)).map(drop)
    }

    /// Removes a marker file, if it is there.
    ///
    /// # Errors
    /// The file system's.
    pub fn unmark(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.file(name)) {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// True if the marker file is there.
    pub fn is_marked(&self, name: &str) -> bool {
        self.file(name).exists()
    }

    /// Deletes the directory with all that is in it. One that is gone already counts as deleted. It loses its name
    /// first: a crash leaves no half of it among the units.
    ///
    /// # Errors
    /// The file system's.
    pub fn remove(&self) -> io::Result<()> {
        let aside = self.aside()?;
        missing_is_fine(std::fs::rename(&*self.path, &aside))?;
        missing_is_fine(std::fs::remove_dir_all(aside))
    }
}

fn missing_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    outcome.or_else(|fault| if fault.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(fault) })
}

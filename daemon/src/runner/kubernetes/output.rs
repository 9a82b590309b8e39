//! The unit's `stdout` and the position in the log that belongs to it.
//!
//! Before bytes are appended, where in the log they begin and end is written to a small file of its own, in place. Whatever
//! moment a daemon is killed at, `stdout` then ends where the last write began, where it ended, or between: in the last
//! case the log is read again from the begin of that write, and what is there already is compared instead of written.
//! Nothing that a reader may have seen is ever written over or cut off.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{follower::Notes, position::Position};
use crate::work::store::UnitDir;

/// Name of the file with the position, beside `stdout`.
pub(crate) const FILE: &str = "stdout.position";

/// Its length: one write of less than a page is whole or not there at all. Fields are bounded, numbers have 20 digits.
const RECORD_BYTES: usize = 3072;

/// Writes up to this size are done on the spot, larger ones on the blocking pool.
const INLINE_BYTES: usize = 4096;

/// The last write to `stdout`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct LastWrite {
    /// Where in `stdout` the position before it belongs: its length then, or less while it was being compared.
    begin: u64,
    /// Position in the log before it.
    from: Position,
    /// Length of `stdout` after it.
    end: u64,
    /// Position in the log after it.
    to: Position,
    /// Gaps before that position.
    #[serde(default)]
    notes: Notes,
}

/// What is open of a unit's output.
#[derive(Debug)]
struct Files {
    stdout: File,
    position: File,
}

/// `stdout` of a unit, to append to.
#[derive(Debug)]
pub(crate) struct Output {
    files: Arc<Files>,
    length: u64,
    /// The last bytes of `stdout`, so many, are to come once more from the log.
    overlap: u64,
    /// They were attached to: the log has no carriage return before a line feed.
    attached: bool,
    /// What came from the log was not what `stdout` has.
    differs: bool,
    position: Position,
    notes: Notes,
    /// The write under way, if any: the next one waits for it.
    pending: Option<tokio::task::JoinHandle<io::Result<()>>>,
}

impl Output {
    /// Opens the output of a unit and finds out where the log is to be followed from. Blocks.
    pub(crate) fn open(dir: &UnitDir) -> io::Result<Self> {
        let stdout = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(dir.stdout())?;
        let length = stdout.metadata()?.len();
        let mut position =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(dir.file(FILE))?;
        let (position_in_log, overlap, notes) = match last_write(&mut position)? {
            Some(write) if length == write.end => (write.to, 0, write.notes),
            Some(write) if (write.begin..write.end).contains(&length) => {
                (write.from, length - write.begin, write.notes)
            }
            // No record, or none that fits: another program's output, or a machine that lost its power. All of the log is
            // compared with what there is.
            _ => (Position::default(), length, Notes::default()),
        };
        Ok(Self {
            files: Arc::new(Files { stdout, position }),
            length,
            overlap,
            attached: false,
            differs: false,
            position: position_in_log,
            notes,
            pending: None,
        })
    }

    /// Bytes of `stdout`, the write under way among them.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Where the log is to be followed from.
    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    /// What was noted with that position.
    pub(crate) fn notes(&self) -> &Notes {
        &self.notes
    }

    /// True if the log did not repeat what `stdout` has: lines are missing, or there twice.
    pub(crate) fn differs(&self) -> bool {
        self.differs || self.overlap > 0
    }

    /// Appends what lies in the log between the last position and `to`, where `notes` are known. Returns when the write has
    /// begun: memory holds two blocks at most, the one that is written and the one that is collected.
    pub(crate) async fn append(&mut self, mut bytes: Vec<u8>, to: Position, notes: Notes) -> io::Result<()> {
        self.settle().await?;
        let mut begin = self.length - self.overlap;
        if self.overlap > 0 {
            bytes = self.compare(bytes).await?;
            if self.differs {
                begin = self.length;
            }
        }
        let from = std::mem::replace(&mut self.position, to.clone());
        if bytes.is_empty() {
            return Ok(());
        }
        self.length += u64::try_from(bytes.len()).map_err(io::Error::other)?;
        let write = LastWrite { begin, from, end: self.length, to, notes };
        let files = Arc::clone(&self.files);
        if bytes.len() <= INLINE_BYTES {
            return files.write(&write, &bytes);
        }
        self.pending = Some(tokio::task::spawn_blocking(move || files.write(&write, &bytes)));
        Ok(())
    }

    /// Whether what there is may have been attached to.
    pub(crate) fn attached(mut self, attached: bool) -> Self {
        self.attached = attached;
        self
    }

    /// Appends what does not come from the log. Returns when the write has begun.
    pub(crate) async fn append_raw(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        self.settle().await?;
        self.length += u64::try_from(bytes.len()).map_err(io::Error::other)?;
        let files = Arc::clone(&self.files);
        if bytes.len() <= INLINE_BYTES {
            return (&files.stdout).write_all(&bytes);
        }
        self.pending = Some(tokio::task::spawn_blocking(move || (&files.stdout).write_all(&bytes)));
        Ok(())
    }

    /// From now on the log is the source: all of it comes once more, and is compared with what there is.
    pub(crate) async fn go_back_to_log(&mut self) -> io::Result<()> {
        self.settle().await?;
        self.overlap = self.length;
        self.position = Position::default();
        Ok(())
    }

    /// Returns when everything appended is in the file.
    pub(crate) async fn settle(&mut self) -> io::Result<()> {
        match self.pending.as_mut() {
            None => Ok(()),
            Some(write) => {
                let written = write.await;
                self.pending = None;
                written.map_err(io::Error::other)?
            }
        }
    }

    /// Takes off the bytes that `stdout` has already.
    async fn compare(&mut self, mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        while !bytes.is_empty() && self.overlap > 0 && !self.differs {
            let (files, from, attached) = (Arc::clone(&self.files), self.length - self.overlap, self.attached);
            // As many carriage returns may stand there.
            let most = bytes.len().saturating_mul(if attached { 2 } else { 1 });
            let count = usize::try_from(self.overlap).unwrap_or(usize::MAX).min(most);
            let read = move || {
                let mut there = vec![0; count];
                files.stdout.read_exact_at(&mut there, from).map(|()| (alike(&bytes, &there, attached), bytes))
            };
            let (same, compared) = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
            bytes = compared;
            let Some((of_log, of_file)) = same else {
                // Rather twice than not at all; the unit's detail tells.
                self.differs = true;
                self.overlap = 0;
                break;
            };
            self.overlap -= u64::try_from(of_file).map_err(io::Error::other)?;
            bytes.drain(..of_log);
        }
        Ok(bytes)
    }
}

/// How many bytes of the log, and of what is there, are the same, when one of them is at its end; none if they differ before.
/// `attached`: what is there may have carriage returns that the log has not.
fn alike(log: &[u8], there: &[u8], attached: bool) -> Option<(usize, usize)> {
    if !attached {
        let count = log.len().min(there.len());
        return (log.get(..count) == there.get(..count)).then_some((count, count));
    }
    let (mut left, mut right) = (0, 0);
    while let (Some(logged), Some(written)) = (log.get(left), there.get(right)) {
        if logged == written {
            left += 1;
        } else if *logged != b'\n' || *written != b'\r' {
            return None;
        }
        right += 1;
    }
    Some((left, right))
}

impl Files {
    fn write(&self, write: &LastWrite, bytes: &[u8]) -> io::Result<()> {
        let mut record = serde_json::to_vec(write)?;
        if record.len() > RECORD_BYTES {
            return Err(io::Error::other("position of the log is too long"));
        }
        record.resize(RECORD_BYTES, b' ');
        self.position.write_all_at(&record, 0)?;
        (&self.stdout).write_all(bytes)
    }
}

fn last_write(file: &mut File) -> io::Result<Option<LastWrite>> {
    let mut text = Vec::with_capacity(RECORD_BYTES);
    file.take(RECORD_BYTES as u64).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text).ok())
}

#[cfg(test)]
mod tests;

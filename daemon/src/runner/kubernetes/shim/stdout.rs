//! The unit's `stdout` and how much of it is on disk.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    sync::Arc,
};

use tokio::task::JoinHandle;

use crate::work::store::UnitDir;

/// `stdout`, to append to. Memory holds what the helper may have under way, at most.
#[derive(Debug)]
pub(crate) struct Stdout {
    file: Arc<File>,
    /// Bytes on disk.
    length: u64,
    /// Received after them and what is being written.
    buffer: Vec<u8>,
    writing: Option<JoinHandle<io::Result<u64>>>,
}

impl Stdout {
    /// Opens the output of a unit. Blocks.
    pub(crate) fn open(dir: &UnitDir) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(dir.stdout())?;
        let length = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), length, buffer: Vec::new(), writing: None })
    }

    /// Bytes on disk.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Nothing is to be written.
    pub(crate) fn is_settled(&self) -> bool {
        self.buffer.is_empty() && self.writing.is_none()
    }

    /// Bytes that wait for a write to begin.
    pub(crate) fn backlog(&self) -> usize {
        self.buffer.len()
    }

    /// Takes what is to be appended.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns when more of it is on disk. May be dropped and asked again.
    pub(crate) async fn progress(&mut self) -> io::Result<()> {
        if self.writing.is_none() {
            if self.buffer.is_empty() {
                return std::future::pending().await;
            }
            self.begin();
        }
        self.settle().await
    }

    /// Returns when all of it is on disk.
    pub(crate) async fn all(&mut self) -> io::Result<()> {
        while !self.is_settled() {
            self.progress().await?;
        }
        Ok(())
    }

    /// Finishes the write under way and forgets what was not begun.
    pub(crate) async fn forget(&mut self) -> io::Result<()> {
        self.buffer.clear();
        self.settle().await
    }

    fn begin(&mut self) {
        let (file, bytes) = (Arc::clone(&self.file), std::mem::take(&mut self.buffer));
        let write = move || {
            (&*file).write_all(&bytes)?;
            Ok(u64::try_from(bytes.len()).unwrap_or_default())
        };
        self.writing = Some(tokio::task::spawn_blocking(write));
    }

    /// Returns when no write is under way.
    pub(crate) async fn settle(&mut self) -> io::Result<()> {
        let Some(write) = self.writing.as_mut() else { return Ok(()) };
        let written = write.await;
        self.writing = None;
        self.length += written.map_err(io::Error::other)??;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_on_disk_is_counted_and_what_is_not_is_forgotten() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = UnitDir::at(temporary.path());
        let mut stdout = Stdout::open(&dir).unwrap();
        stdout.push(b"one ");
        stdout.push(b"two ");
        stdout.progress().await.unwrap();
        assert_eq!((stdout.length(), stdout.is_settled()), (8, true));
        stdout.push(b"lost ");
        stdout.forget().await.unwrap();
        stdout.push(b"three");
        stdout.all().await.unwrap();
        assert_eq!(std::fs::read(dir.stdout()).unwrap(), b"one two three");
        assert_eq!(Stdout::open(&dir).unwrap().length(), 13);
    }
}

//! Writes a file from a stream: one block is filled while the one before is written.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
};

use bytes::BytesMut;
use tokio::task::JoinHandle;

/// Writes blocks on the blocking pool, one at a time, in order.
pub struct BlockWriter {
    path: PathBuf,
    how: OpenOptions,
    file: Option<File>,
    writing: Option<JoinHandle<io::Result<(File, BytesMut)>>>,
    spare: BytesMut,
}

impl BlockWriter {
    /// A writer for the file at `path`, which is opened in this way with the first block.
    pub fn new(path: PathBuf, how: OpenOptions) -> Self {
        Self { path, how, file: None, writing: None, spare: BytesMut::new() }
    }

    /// Begins to write a block, once the one before is written. Returns an empty block to fill meanwhile.
    ///
    /// # Errors
    /// A block before could not be written, or the file not be opened.
    pub async fn write(&mut self, mut block: BytesMut) -> io::Result<BytesMut> {
        self.finish().await?;
        let (file, path, how) = (self.file.take(), self.path.clone(), self.how.clone());
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let mut file = match file {
                Some(file) => file,
                None => how.open(path)?,
            };
            file.write_all(&block)?;
            block.clear();
            Ok((file, block))
        }));
        Ok(std::mem::take(&mut self.spare))
    }

    /// Returns when everything is written.
    ///
    /// # Errors
    /// A block could not be written.
    pub async fn finish(&mut self) -> io::Result<()> {
        if let Some(writing) = self.writing.take() {
            let (file, spare) = writing.await.map_err(io::Error::other)??;
            (self.file, self.spare) = (Some(file), spare);
        }
        Ok(())
    }
}

//! Copies a submission's payload from the connection to the unit's `stdin` file.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
};

use bytes::BytesMut;
use futures_util::FutureExt;
use tokio::{io::AsyncReadExt, task::JoinHandle};
use worknode_protocol::unit::errno_text;

use super::stream::ControlStream;

/// Bytes gathered before they are written: one is filled from the socket while the other goes to the file.
const BLOCK: usize = 256 * 1024;

/// Why a payload did not arrive whole.
#[derive(Debug, thiserror::Error)]
pub enum SpoolFault {
    /// The connection broke.
    #[error("{}", words(.0))]
    Read(io::Error),
    /// The client closed the connection for good before it had ended its payload.
    #[error("client closed the connection before the end of its input")]
    Abandoned,
    /// The file could not be written.
    #[error("{}", words(.0))]
    Write(io::Error),
}

/// The system's error in the reference's words.
fn words(fault: &io::Error) -> String {
    fault.raw_os_error().map_or_else(|| fault.to_string(), errno_text)
}

/// Copies everything up to end of file, beginning with what was read already. Returns the number of bytes, all of them
/// written.
///
/// # Errors
/// The payload is not whole. What arrived is in the file.
pub async fn receive(stream: &mut ControlStream, head: BytesMut, path: PathBuf) -> Result<u64, SpoolFault> {
    let mut writer = BlockWriter::new(path);
    let mut block = head;
    let mut total = 0;
    loop {
        block.reserve(BLOCK.saturating_sub(block.len()));
        let mut end = stream.read_buf(&mut block).await.map_err(SpoolFault::Read)? == 0;
        while !end && block.len() < BLOCK {
            match stream.read_buf(&mut block).now_or_never() {
                Some(read) => end = read.map_err(SpoolFault::Read)? == 0,
                None => break,
            }
        }
        total += block.len() as u64;
        if !block.is_empty() {
            block = writer.write(block).await.map_err(SpoolFault::Write)?;
        }
        if end {
            writer.finish().await.map_err(SpoolFault::Write)?;
            // A client that half-closes waits for its answer; one that is gone did not mean this to be the end.
            return if stream.is_hung_up() { Err(SpoolFault::Abandoned) } else { Ok(total) };
        }
    }
}

/// Writes blocks on the blocking pool, one at a time, in order.
struct BlockWriter {
    path: PathBuf,
    file: Option<File>,
    writing: Option<JoinHandle<io::Result<(File, BytesMut)>>>,
    spare: BytesMut,
}

impl BlockWriter {
    fn new(path: PathBuf) -> Self {
        Self { path, file: None, writing: None, spare: BytesMut::new() }
    }

    /// Begins to write a block, once the one before is written. Returns an empty block to fill meanwhile.
    async fn write(&mut self, mut block: BytesMut) -> io::Result<BytesMut> {
        self.finish().await?;
        let (file, path) = (self.file.take(), self.path.clone());
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let mut file = match file {
                Some(file) => file,
                None => OpenOptions::new().write(true).open(path)?,
            };
            file.write_all(&block)?;
            block.clear();
            Ok((file, block))
        }));
        Ok(std::mem::take(&mut self.spare))
    }

    /// Returns when everything is written.
    async fn finish(&mut self) -> io::Result<()> {
        if let Some(writing) = self.writing.take() {
            let (file, spare) = writing.await.map_err(io::Error::other)??;
            (self.file, self.spare) = (Some(file), spare);
        }
        Ok(())
    }
}

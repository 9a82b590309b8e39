//! The output of a unit that runs elsewhere, appended to its file here.

use std::fs::OpenOptions;

use bytes::BytesMut;
use futures_util::FutureExt;

use super::far::{Connection, Fault};
use crate::work::{block_writer::BlockWriter, store::UnitDir};

/// Bytes gathered before they are written.
const BLOCK: usize = 256 * 1024;
/// Bytes asked for where a line is awaited: hundreds of units may wait for one for hours.
const READ: usize = 4 * 1024;

/// Reads what follows the dialogue on a connection, and writes output.
pub(super) struct Output<'c> {
    connection: &'c mut Connection,
    buffer: BytesMut,
    writer: BlockWriter,
}

impl<'c> Output<'c> {
    pub(super) fn new(connection: &'c mut Connection, dir: &UnitDir) -> Self {
        let writer = BlockWriter::new(dir.stdout(), OpenOptions::new().append(true).create(true).clone());
        Self { connection, buffer: BytesMut::new(), writer }
    }

    /// The next line without its line feed; none at the end of the connection.
    pub(super) async fn line(&mut self, longest: usize) -> Result<Option<BytesMut>, Fault> {
        let mut searched = 0;
        loop {
            if let Some(at) = memchr::memchr(b'\n', self.buffer.get(searched..).unwrap_or_default()) {
                let mut line = self.buffer.split_to(searched + at + 1);
                line.truncate(line.len() - 1);
                return Ok(Some(line));
            }
            searched = self.buffer.len();
            if searched > longest {
                return Err(Fault::nonsense(format!("a line of more than {longest} bytes")));
            }
            self.buffer.reserve(READ);
            if self.connection.read(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Appends the next `count` bytes to the output, or all there are; tells how many. They are in the file then.
    pub(super) async fn copy(&mut self, count: u64) -> Result<u64, Fault> {
        let mut left = count;
        while left > 0 {
            match self.block(left).await? {
                0 => break,
                copied => left -= copied,
            }
        }
        self.writer.finish().await.map_err(disk)?;
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Ok(count - left)
    }

    /// Appends what is there to the output, or waits for some; tells how many bytes, none at the end of the connection.
    /// They are in the file then.
    pub(super) async fn copy_some(&mut self) -> Result<u64, Fault> {
        let copied = self.block(u64::MAX).await?;
        self.writer.finish().await.map_err(disk)?;
        Ok(copied)
    }

    /// Begins to write a block.
    async fn block(&mut self, most: u64) -> Result<u64, Fault> {
        let most = usize::try_from(most).unwrap_or(BLOCK).min(BLOCK);
        if self.buffer.is_empty() {
            self.buffer.reserve(BLOCK);
            if self.connection.read(&mut self.buffer).await? == 0 {
                return Ok(0);
            }
        }
        // What is there already goes with it; what is not is not waited for.
        while self.buffer.len() < most {
            match self.connection.read(&mut self.buffer).now_or_never() {
                Some(Ok(read)) if read > 0 => {}
                _ => break,
            }
        }
        let block = self.buffer.split_to(most.min(self.buffer.len()));
        let length = block.len() as u64;
        self.writer.write(block).await.map_err(disk)?;
        Ok(length)
    }
}

fn disk(fault: std::io::Error) -> Fault {
    Fault::Disk(format!("error writing output: {fault}"))
}

//! Copies a submission's payload from the connection to the unit's `stdin` file.

use std::{fs::OpenOptions, io, path::PathBuf};

use bytes::BytesMut;
use futures_util::FutureExt;
use tokio::{io::AsyncReadExt, sync::watch};
use worknode_protocol::unit::errno_text;

use super::stream::ControlStream;
use crate::{runner::Upload, work::block_writer::BlockWriter};

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
/// written. With `upload`, it is told of each block that is in the file.
///
/// # Errors
/// The payload is not whole. What arrived is in the file.
pub async fn receive(
    stream: &mut ControlStream,
    head: BytesMut,
    path: PathBuf,
    upload: Option<&watch::Sender<Upload>>,
) -> Result<u64, SpoolFault> {
    let mut writer = BlockWriter::new(path, OpenOptions::new().write(true).clone());
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
            if let Some(upload) = upload {
                writer.finish().await.map_err(SpoolFault::Write)?;
                upload.send_modify(|upload| upload.bytes = total);
            }
        }
        if end {
            writer.finish().await.map_err(SpoolFault::Write)?;
            // A client that half-closes waits for its answer; one that is gone did not mean this to be the end.
            return if stream.is_hung_up() { Err(SpoolFault::Abandoned) } else { Ok(total) };
        }
    }
}

//! Streams a unit's `stdout` to a client: what is there, then what is written, until the unit is over
//! (control-protocol 3.10); or all that becomes of the unit, for a node that has it run here.

use std::{fs::File, io, sync::Arc};

use tokio::io::AsyncWriteExt;
use worknode_protocol::control::follow::Frame;

use super::{file_events::FileEvents, unit::UnitHandle};
use crate::control::stream::FileSender;

/// Sends `stdout` from byte `start` on. Returns when the unit is over and everything is sent, when the client is gone, or
/// at once for a negative start.
///
/// # Errors
/// The client's connection broke, or the file cannot be read.
pub async fn stream(unit: &UnitHandle, start: i64, events: &FileEvents, out: &mut FileSender) -> io::Result<()> {
    let Ok(mut position) = u64::try_from(start) else {
        return Ok(());
    };
    let mut progress = unit.progress();
    let path = unit.dir().stdout();
    // Subscribed before the first look: what is written in between is not missed.
    let mut growth = if progress.borrow().is_over() { None } else { Some(events.subscribe(&path).await) };
    let mut stdout: Option<Arc<File>> = None;
    loop {
        // The end is looked up before the size: nothing is written after it.
        let over = progress.borrow_and_update().is_over();
        if stdout.is_none() {
            stdout = open(path.clone()).await?;
        }
        if let Some(stdout) = &stdout {
            let size = stdout.metadata()?.len();
            if position < size {
                position = out.send(stdout, position, size).await?;
                continue;
            }
        }
        if over {
            return Ok(());
        }
        tokio::select! {
            biased;
            changed = progress.changed() => if changed.is_err() { return Ok(()) },
            () = out.gone() => return Ok(()),
            () = async { match &mut growth { Some(growth) => growth.changed().await, None => std::future::pending().await } } => {}
        }
    }
}

/// Sends all that becomes of a unit as frames: its status when it changes, `stdout` from byte `start` on, and at last its
/// end (see [`follow`](worknode_protocol::control::follow)). Returns when the unit is over, when the client is gone, or at
/// once for a negative start.
///
/// # Errors
/// The client's connection broke, or the file cannot be read.
pub async fn follow(unit: &UnitHandle, start: i64, events: &FileEvents, out: &mut FileSender) -> io::Result<()> {
    let Ok(mut position) = u64::try_from(start) else {
        return Ok(());
    };
    let mut progress = unit.progress();
    let path = unit.dir().stdout();
    let mut growth = if progress.borrow().is_over() { None } else { Some(events.subscribe(&path).await) };
    let mut stdout: Option<Arc<File>> = None;
    let mut told = None;
    loop {
        let now = progress.borrow_and_update().clone();
        if now.released {
            return send_frame(out, &Frame::Released).await;
        }
        let frame = Frame::of_status(&now.status);
        let ended = now.is_over();
        if !ended && told.as_ref() != Some(&frame) {
            send_frame(out, &frame).await?;
            told = Some(frame.clone());
        }
        if stdout.is_none() {
            stdout = open(path.clone()).await?;
        }
        if let Some(stdout) = &stdout {
            let size = stdout.metadata()?.len();
            if position < size {
                send_frame(out, &Frame::Output(size - position)).await?;
                if out.send(stdout, position, size).await? != size {
                    // The bytes that were announced are no more: what was sent makes no sense without them.
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                position = size;
                continue;
            }
        }
        if ended {
            return send_frame(out, &frame).await;
        }
        tokio::select! {
            biased;
            changed = progress.changed() => if changed.is_err() { return Ok(()) },
            () = out.gone() => return Ok(()),
            () = async { match &mut growth { Some(growth) => growth.changed().await, None => std::future::pending().await } } => {}
        }
    }
}

async fn send_frame(out: &mut FileSender, frame: &Frame) -> io::Result<()> {
    out.stream().write_all(frame.to_line().as_bytes()).await?;
    out.stream().flush().await
}

async fn open(path: std::path::PathBuf) -> io::Result<Option<Arc<File>>> {
    let opened = tokio::task::spawn_blocking(move || File::open(path)).await.map_err(io::Error::other)?;
    match opened {
        Ok(file) => Ok(Some(Arc::new(file))),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(fault) => Err(fault),
    }
}

//! Streams a unit's `stdout` to a client: what is there, then what is written, until the unit is over
//! (control-protocol 3.10); or all that becomes of the unit, for a node that has it run here.

use std::{fs::File, io, path::PathBuf, sync::Arc};

use tokio::{io::AsyncWriteExt, sync::watch};
use worknode_protocol::control::follow::Frame;

use super::{
    file_events::{FileEvents, Subscription},
    unit::{Progress, UnitHandle},
};
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
    let mut watched = Watched::new(unit, events).await;
    loop {
        let now = watched.look();
        if let Some((stdout, size)) = watched.stdout().await?.filter(|(_, size)| position < *size) {
            position = out.send(&stdout, position, size).await?;
            continue;
        }
        if now.is_over() || !watched.changed(out).await {
            return Ok(());
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
    let mut watched = Watched::new(unit, events).await;
    let mut told = None;
    loop {
        let now = watched.look();
        if now.released {
            return send_frame(out, &Frame::Released).await;
        }
        let frame = Frame::of_status(&now.status);
        if !now.is_over() && told.as_ref() != Some(&frame) {
            send_frame(out, &frame).await?;
            told = Some(frame.clone());
        }
        if let Some((stdout, size)) = watched.stdout().await?.filter(|(_, size)| position < *size) {
            send_frame(out, &Frame::Output(size - position)).await?;
            if out.send(&stdout, position, size).await? != size {
                // The bytes that were announced are no more: what was sent makes no sense without them.
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            position = size;
            continue;
        }
        if now.is_over() {
            return send_frame(out, &frame).await;
        }
        if !watched.changed(out).await {
            return Ok(());
        }
    }
}

/// A unit and its output, watched for one client.
struct Watched {
    progress: watch::Receiver<Progress>,
    path: PathBuf,
    /// None for a unit that was over at first.
    growth: Option<Subscription>,
    stdout: Option<Arc<File>>,
}

impl Watched {
    async fn new(unit: &UnitHandle, events: &FileEvents) -> Self {
        let (progress, path) = (unit.progress(), unit.dir().stdout());
        let over = progress.borrow().is_over();
        // Subscribed before the first look: what is written in between is not missed.
        let growth = if over { None } else { Some(events.subscribe(&path).await) };
        Self { progress, path, growth, stdout: None }
    }

    /// How far the unit is. To be asked before [`stdout`](Self::stdout): nothing is written after the end.
    fn look(&mut self) -> Progress {
        self.progress.borrow_and_update().clone()
    }

    /// The output and its size now, if there is such a file.
    async fn stdout(&mut self) -> io::Result<Option<(Arc<File>, u64)>> {
        if self.stdout.is_none() {
            self.stdout = open(self.path.clone()).await?;
        }
        let Some(stdout) = &self.stdout else { return Ok(None) };
        Ok(Some((stdout.clone(), stdout.metadata()?.len())))
    }

    /// Waits for something new. False if the unit or the client is gone.
    async fn changed(&mut self, out: &FileSender) -> bool {
        let growth = async {
            match &mut self.growth {
                Some(growth) => growth.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = self.progress.changed() => changed.is_ok(),
            () = out.gone() => false,
            () = growth => true,
        }
    }
}

async fn send_frame(out: &mut FileSender, frame: &Frame) -> io::Result<()> {
    out.stream().write_all(frame.to_line().as_bytes()).await?;
    out.stream().flush().await
}

async fn open(path: PathBuf) -> io::Result<Option<Arc<File>>> {
    let opened = tokio::task::spawn_blocking(move || File::open(path)).await.map_err(io::Error::other)?;
    match opened {
        Ok(file) => Ok(Some(Arc::new(file))),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(fault) => Err(fault),
    }
}

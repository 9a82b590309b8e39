//! The way out of a container: one pump per stream writes to the log and to every attach session.
//!
//! A session that does not read stalls the pump, and so the process, as with a real runtime (kubernetes-streams 2.5).

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use crate::log::{ContainerLog, Source, Splitter};

/// Chunks on the way to one session.
const QUEUE: usize = 4;
/// Read from a pipe at once; as much as a pipe holds.
const READ_SIZE: usize = 64 * 1024;

/// A chunk of output, as the process wrote it.
pub(crate) type Chunk = (Source, Bytes);

/// The sessions attached to one container.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    inner: Mutex<Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    ended: bool,
    senders: Vec<(Wanted, mpsc::Sender<Chunk>)>,
}

/// The streams that a session asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

impl Wanted {
    fn includes(self, source: Source) -> bool {
        match source {
            Source::Stdout => self.stdout,
            Source::Stderr => self.stderr,
        }
    }
}

impl Attached {
    /// Output from now on. The channel closes when stdout and stderr have both ended.
    pub(crate) fn join(&self, wanted: Wanted) -> mpsc::Receiver<Chunk> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let mut sessions = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if !sessions.ended {
            sessions.senders.push((wanted, sender));
        }
        receiver
    }

    async fn send(&self, source: Source, bytes: &Bytes) {
        for sender in self.wanting(source) {
            // Fails when the session is over; it is forgotten at the next chunk.
            let _ = sender.send((source, bytes.clone())).await;
        }
    }

    fn wanting(&self, source: Source) -> Vec<mpsc::Sender<Chunk>> {
        let mut sessions = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.senders.retain(|(_, sender)| !sender.is_closed());
        sessions
            .senders
            .iter()
            .filter(|(wanted, _)| wanted.includes(source))
            .map(|(_, sender)| sender.clone())
            .collect()
    }

    pub(crate) fn end(&self) {
        let mut sessions = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.ended = true;
        sessions.senders.clear();
    }
}

/// Carries one stream from its pipe until the last holder of the other end is gone.
pub(crate) async fn pump(mut pipe: pipe::Receiver, source: Source, log: Arc<ContainerLog>, attached: Arc<Attached>) {
    let mut splitter = Splitter::new(source);
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(READ_SIZE);
        let read = pipe.read_buf(&mut buffer).await;
        let bytes = buffer.split().freeze();
        let last = !matches!(read, Ok(1..));
        if let Err(error) = log.append(&mut splitter, &bytes, last) {
            tracing::error!(%error, "cannot write a container's log");
        }
        if last {
            return;
        }
        attached.send(source, &bytes).await;
    }
}

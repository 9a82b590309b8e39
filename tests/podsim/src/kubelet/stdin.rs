//! The way into a container's stdin, shared by all attach sessions.
//!
//! One task owns the pipe. Sessions put chunks into its queue; when the process does not read, the queue fills and the
//! sessions stop reading from their connections, which is all the flow control there is (kubernetes-streams 2.1).

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Chunks between the sessions and the pipe. With chunks of at most 32 KiB this and the pipe (64 KiB) stay within
/// the 160 KiB that a real runtime holds at most (kubernetes-streams 2.5).
const QUEUE: usize = 2;
/// Largest chunk put into the queue.
const CHUNK: usize = 32 * 1024;

/// A handle for sessions.
#[derive(Debug, Clone)]
pub(crate) struct Stdin {
    queue: mpsc::Sender<Bytes>,
    /// Cancelled when nothing more is accepted; what is queued still arrives.
    end: CancellationToken,
    /// `stdinOnce`: the first session that ends closes the pipe for good.
    pub(crate) once: bool,
}

impl Stdin {
    /// The handle, and the task to be run by the container; `over` ends it with the container.
    pub(crate) fn new(
        pipe: pipe::Sender,
        once: bool,
        over: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        let end = CancellationToken::new();
        (Self { queue, end: end.clone(), once }, feed(pipe, receiver, end, over))
    }

    /// Hands bytes to the process, waiting while it does not read. Bytes after the end are swallowed.
    pub(crate) async fn send(&self, bytes: Bytes) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.end.is_cancelled() {
            let chunk = rest.split_to(rest.len().min(CHUNK));
            if self.queue.send(chunk).await.is_err() {
                return;
            }
        }
    }

    /// The process reads EOF after what is queued.
    pub(crate) fn close(&self) {
        self.end.cancel();
    }

    /// Completes when all that was sent is in the process's pipe, or the process is over.
    pub(crate) async fn delivered(&self) {
        self.queue.closed().await;
    }
}

async fn feed(
    mut pipe: pipe::Sender,
    mut queue: mpsc::Receiver<Bytes>,
    end: CancellationToken,
    over: CancellationToken,
) {
    let deliver = async {
        loop {
            let chunk = tokio::select! {
                biased;
                chunk = queue.recv() => chunk,
                () = end.cancelled() => None,
            };
            let Some(chunk) = chunk else { break };
            if pipe.write_all(&chunk).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = deliver => {}
        () = over.cancelled() => {}
    }
    end.cancel();
}

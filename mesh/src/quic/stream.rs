//! A stream between two services: what the mesh is used for.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use quinn::{Connection, RecvStream, SendStream};
use rustls_pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};

use super::{
    close::{self, Counted, Halves},
    config,
};

/// Why a connection ended, where QUIC does not know it.
#[derive(Debug, Default)]
pub(super) struct Ended {
    gone: AtomicBool,
}

impl Ended {
    /// The service at the other end is no more.
    pub(super) fn set_gone(&self) {
        self.gone.store(true, Ordering::Release);
    }
}

/// A stream of bytes in both directions to a service of a node.
///
/// Shutdown is a half-close: the other side reads to the end and can go on sending. When it is dropped, what was written
/// still arrives, and the other side reads the end of it; what comes from there is thrown away. [`Stream::abort`] is the
/// end that the other side notices as a failure.
pub struct Stream {
    connection: Connection,
    halves: Option<Halves>,
    back: Option<oneshot::Sender<Halves>>,
    ended: Arc<Ended>,
    peer: String,
    /// Bytes written since the send window was last looked at.
    written: usize,
    /// All streams that have written much.
    writers: Arc<AtomicUsize>,
    /// That this is one of them.
    writer: Option<Counted>,
}

/// How often the send window is looked at, in bytes written.
const WINDOW_CHECKS: usize = 256 * 1024;
/// When that is done for the first time: many streams that begin at once must not each fill their first window.
const FIRST_CHECK: usize = 64 * 1024;

impl Stream {
    pub(super) fn new(
        connection: Connection,
        (send, recv): (SendStream, RecvStream),
        peer: String,
        writers: Arc<AtomicUsize>,
    ) -> (Self, oneshot::Receiver<Halves>, Arc<Ended>) {
        let (back, halves) = oneshot::channel();
        let ended = Arc::new(Ended::default());
        let own = Some(Halves { send, recv, read_all: false, finished: false });
        let stream = Self {
            connection,
            halves: own,
            back: Some(back),
            ended: Arc::clone(&ended),
            peer,
            written: WINDOW_CHECKS - FIRST_CHECK,
            writers,
            writer: None,
        };
        (stream, halves, ended)
    }

    /// The node at the other end.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// The certificates that the other end has shown, its own first; none if it was not asked for one.
    #[must_use]
    pub fn peer_certificates(&self) -> Option<Vec<CertificateDer<'static>>> {
        self.connection.peer_identity()?.downcast().ok().map(|shown| *shown)
    }

    /// How long the packets are that it sends at present, in bytes. They grow as far as the way and the other end allow.
    #[must_use]
    pub fn packet_size(&self) -> u16 {
        self.connection.stats().path.current_mtu
    }

    /// Done when the connection below is over, for whatever reason. What arrived before can still be read.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        let connection = self.connection.clone();
        async move {
            connection.closed().await;
        }
    }

    /// Ends the stream at once, in both directions, so that the other side sees that it is incomplete.
    pub fn abort(mut self, words: &str) {
        self.connection.close(close::REFUSED, words.as_bytes());
        // Only then: what these would still tell could hold up the words.
        self.halves = None;
    }

    /// Words for an end that came from outside.
    fn explain(&self, error: io::Error) -> io::Error {
        if self.ended.gone.load(Ordering::Acquire) {
            return io::Error::new(io::ErrorKind::ConnectionAborted, "the service at the other end is gone");
        }
        match self.connection.close_reason() {
            Some(reason) => io::Error::new(error.kind(), close::words(&reason)),
            None => error,
        }
    }

    /// Lets as much be kept for the peer as the way to it can make use of, and as other streams leave.
    fn note_written(&mut self, count: usize) {
        self.written += count;
        if self.written >= WINDOW_CHECKS {
            self.written = 0;
            self.writer.get_or_insert_with(|| Counted::new(&self.writers));
            let congestion_window = self.connection.stats().path.cwnd;
            let writers = self.writers.load(Ordering::Relaxed);
            self.connection.set_send_window(config::send_window(congestion_window, writers));
        }
    }

    fn broken() -> io::Error {
        io::ErrorKind::NotConnected.into()
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(halves) = &mut self.halves else { return Poll::Ready(Err(Self::broken())) };
        let before = buf.filled().len();
        let room = buf.remaining() > 0;
        let polled = AsyncRead::poll_read(Pin::new(&mut halves.recv), cx, buf);
        if room && matches!(polled, Poll::Ready(Ok(()))) && buf.filled().len() == before {
            halves.read_all = true;
        }
        polled.map_err(|error| self.explain(error))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Some(halves) = &mut self.halves else { return Poll::Ready(Err(Self::broken())) };
        let polled = AsyncWrite::poll_write(Pin::new(&mut halves.send), cx, buf);
        if let Poll::Ready(Ok(count)) = &polled {
            self.note_written(*count);
        }
        polled.map_err(|error| self.explain(error))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(halves) = &mut self.halves else { return Poll::Ready(Err(Self::broken())) };
        if halves.finished {
            return Poll::Ready(Ok(()));
        }
        halves.finished = true;
        AsyncWrite::poll_shutdown(Pin::new(&mut halves.send), cx).map_err(|error| self.explain(error))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let (Some(halves), Some(back)) = (self.halves.take(), self.back.take()) {
            // Nobody takes it where the connection is over already.
            let _ = back.send(halves);
        }
    }
}

//! The socket below TLS, with a gate in it: a connection can be frozen, closed or reset at any moment, whatever
//! layer above is using it.
//!
//! A [`Gate`] belongs to one connection and is shared by the request that is being answered; [`Wire`] is the byte
//! stream that obeys it. Closing goes through the task that owns the stream: it waits for [`Gate::closed`] and drops
//! everything, so that the peer sees what a killed API server leaves: a TCP end without close frame, last chunk or
//! TLS alert.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// How a connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Close {
    /// As a process that dies: the kernel sends FIN.
    Drop,
    /// `SO_LINGER` 0: the kernel sends RST, and what is in the send buffer is lost.
    Reset,
}

/// What may be done to one connection from outside.
#[derive(Debug)]
pub(crate) struct Gate {
    closed: CancellationToken,
    reset: AtomicBool,
    close_after_flush: AtomicBool,
    /// Milliseconds after `born` until which nothing moves; 0: open.
    frozen_until: AtomicU64,
    born: Instant,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            closed: CancellationToken::new(),
            reset: AtomicBool::new(false),
            close_after_flush: AtomicBool::new(false),
            frozen_until: AtomicU64::new(0),
            born: Instant::now(),
        }
    }

    /// Ends the connection now, with whatever is still buffered above the socket.
    pub(crate) fn close(&self, how: Close) {
        if how == Close::Reset {
            self.reset.store(true, Ordering::Release);
        }
        self.closed.cancel();
    }

    /// Ends the connection as soon as all that was written so far is with the kernel.
    pub(crate) fn close_after_flush(&self, how: Close) {
        if how == Close::Reset {
            self.reset.store(true, Ordering::Release);
        }
        self.close_after_flush.store(true, Ordering::Release);
    }

    /// Lets nothing through, in either direction, for that long. The kernel's buffers still fill.
    pub(crate) fn freeze(&self, time: Duration) {
        let until = self.born.elapsed().saturating_add(time).as_millis();
        self.frozen_until.store(u64::try_from(until).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Completes when the connection is to be dropped by its owner.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    fn frozen_until(&self) -> Option<Instant> {
        match self.frozen_until.load(Ordering::Acquire) {
            0 => None,
            millis => self.born.checked_add(Duration::from_millis(millis)).filter(|end| *end > Instant::now()),
        }
    }
}

/// A TCP stream that obeys its [`Gate`].
pub(crate) struct Wire {
    tcp: TcpStream,
    gate: std::sync::Arc<Gate>,
    thaw: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    pub(crate) fn new(tcp: TcpStream, gate: std::sync::Arc<Gate>) -> Self {
        Self { tcp, gate, thaw: None }
    }

    /// Pending while the gate is frozen.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(until) = self.gate.frozen_until() {
            let thaw = self.thaw.get_or_insert_with(|| Box::pin(sleep_until(until)));
            thaw.as_mut().reset(until);
            ready!(thaw.as_mut().poll(cx));
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx));
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx));
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx));
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    /// TLS calls this after it has handed over all its records, so here everything written is with the kernel.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.tcp).poll_flush(cx))?;
        if self.gate.close_after_flush.load(Ordering::Acquire) {
            self.gate.closed.cancel();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.gate.reset.load(Ordering::Acquire) {
            // Fails only on a socket that is already gone, which is what is wanted.
            let _ = rustix::net::sockopt::set_socket_linger(&self.tcp, Some(Duration::ZERO));
        }
    }
}

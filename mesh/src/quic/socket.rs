//! The "UDP socket" of a QUIC endpoint: a service for datagrams (mesh-protocol 13.2).

use std::{
    collections::HashMap,
    fmt,
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use tokio::task;

use super::address;
use crate::datagram::{Blocked, Forwarder, MOST_HOPS, Sent, Service};

/// Datagrams handed over at once: each has a buffer of its own, and every buffer used stays in memory.
const BATCH: usize = 4;

/// A service for datagrams, in the shape that QUIC wants.
pub(super) struct Socket {
    forwarder: Arc<Forwarder>,
    service: Service,
    /// Where the last datagram of a connection found no room, by the task that drives the connection: one full link
    /// does not hold up the connections over other links.
    blocked: Mutex<HashMap<task::Id, Blocked>>,
    /// How many those are, to be looked at without a lock.
    waiting: AtomicUsize,
}

impl Socket {
    /// The socket of a service.
    pub(super) fn new(forwarder: Arc<Forwarder>, service: Service) -> Arc<Self> {
        Arc::new(Self { forwarder, service, blocked: Mutex::default(), waiting: AtomicUsize::new(0) })
    }

    /// The service.
    pub(super) fn service(&self) -> &Service {
        &self.service
    }

    fn send(&self, destination: SocketAddr, contents: &[u8]) -> io::Result<()> {
        let Some(to) = address::parse(destination) else { return Ok(()) };
        if let Sent::Full(blocked) = self.forwarder.send(self.service.name(), to, MOST_HOPS, contents)
            && let Some(task) = task::try_id()
        {
            self.remember(task, blocked);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // Without a way the datagram is lost: the way may come back, else the connection times out.
        Ok(())
    }

    fn remember(&self, task: task::Id, blocked: Blocked) {
        let mut all = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        // A connection may end while it waits; its entry goes when there is room again.
        all.retain(|_, blocked| !blocked.outbox.has_room(&blocked.flow, blocked.length));
        all.insert(task, blocked);
        self.waiting.store(all.len(), Ordering::Release);
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiting.load(Ordering::Acquire) == 0 {
            return Poll::Ready(());
        }
        let Some(task) = task::try_id() else { return Poll::Ready(()) };
        let mut all = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(blocked) = all.get(&task) else { return Poll::Ready(()) };
        std::task::ready!(blocked.outbox.poll_room(&blocked.flow, blocked.length, cx));
        all.remove(&task);
        self.waiting.store(all.len(), Ordering::Release);
        Poll::Ready(())
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("service", &self.service.name()).finish_non_exhaustive()
    }
}

/// Waits for room for one connection.
#[derive(Debug)]
struct Room(Arc<Socket>);

impl UdpPoller for Room {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_room(cx).map(Ok)
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Room(self))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.send(transmit.destination, transmit.contents)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let most = bufs.len().min(meta.len()).min(BATCH);
        let datagrams = std::task::ready!(self.service.inbox().poll_take(cx, most));
        let mut filled = 0;
        for (datagram, (buf, meta)) in datagrams.iter().zip(bufs.iter_mut().zip(meta)) {
            // One that is too long for us comes from somebody who does not mean us well: it is cut, and fails its check.
            let length = datagram.payload.len().min(buf.len());
            if let (Some(buf), Some(payload)) = (buf.get_mut(..length), datagram.payload.get(..length)) {
                buf.copy_from_slice(payload);
            }
            *meta = RecvMeta {
                addr: address::of(datagram.from_node, datagram.from_service),
                len: length,
                stride: length.max(1),
                ecn: None,
                dst_ip: None,
            };
            filled += 1;
        }
        Poll::Ready(Ok(filled))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(address::of(self.forwarder.hash_of(self.forwarder.own()), self.service.name()))
    }

    fn may_fragment(&self) -> bool {
        // Else no larger packets would be tried (mesh-protocol 13.2).
        false
    }
}

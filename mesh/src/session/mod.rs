//! A link: one connection to a peer, from its first message to its end (mesh-protocol 2, 4.5).
//!
//! Each link has one task. It reads: data goes its way at once, routing messages go to the driver. It writes what waits
//! in the link's [`Outbox`]. And it ends the link when nothing was heard of the peer for too long.

#[cfg(test)]
mod tests;

use std::{
    future::Future,
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    sync::mpsc::{self, error::SendError},
    time::{Instant, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use worknode_protocol::{config::model::mesh::Backend, mesh::MessageType};

use crate::{
    backend::{BackendSettings, Connection, Reader, Serve, Writer},
    datagram::{Forwarder, Outbox},
    driver::Command,
    router::{LinkId, LinkSettings},
};

/// A peer that was not heard of for so long is gone (mesh-protocol 4.5).
pub(crate) const IDLE: Duration = Duration::from_secs(21);
/// How often that is looked at, as a part of it.
const IDLE_CHECKS: u32 = 5;
/// Time to send what waits when a link ends, so that the peer learns why.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the driver and the task of a link have in common.
#[derive(Debug)]
pub(crate) struct Link {
    /// What waits to be sent. Closing it ends the link.
    pub(crate) outbox: Arc<Outbox>,
    /// The peer has said who it is: its data is taken.
    pub(crate) up: AtomicBool,
    /// The peer has accepted us.
    pub(crate) confirmed: AtomicBool,
}

/// What links need of the node.
#[derive(Clone)]
pub(crate) struct Links {
    /// The data way.
    pub(crate) forwarder: Arc<Forwarder>,
    /// The task that owns the router.
    pub(crate) driver: mpsc::Sender<Command>,
    /// After what time of silence a link ends.
    pub(crate) idle: Duration,
    /// The next link's number.
    pub(crate) next: Arc<AtomicU64>,
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the peer closed it")]
    Peer,
    #[error("nothing was heard of the peer for too long")]
    Idle,
    #[error("it was closed here")]
    Here,
    #[error("{0}")]
    Broken(#[from] io::Error),
}

impl Serve for Links {
    async fn serve(&self, connection: Connection, backend: &BackendSettings, stop: CancellationToken) -> bool {
        let Connection { mut reader, writer, remote, certified } = connection;
        let id = LinkId(self.next.fetch_add(1, Ordering::Relaxed));
        let outbox = Arc::new(Outbox::new(writer.longest(), writer.longest_uncut()));
        let link = Arc::new(Link {
            outbox: Arc::clone(&outbox),
            up: AtomicBool::new(false),
            confirmed: AtomicBool::new(false),
        });
        let settings = link_settings(backend, certified, writer.longest_uncut());
        if self.driver.send(Command::Opened { link: id, settings, shared: Arc::clone(&link) }).await.is_err() {
            return false;
        }
        tracing::debug!(link = id.0, %remote, "a link begins");
        let mut writing = pin!(write(writer, &outbox));
        let (end, written) = tokio::select! {
            end = self.read(&mut reader, id, &link) => (end, false),
            end = &mut writing => (end, true),
            () = stop.cancelled() => (End::Here, false),
        };
        outbox.close();
        // Fails where the node is about to end.
        let _ = self.driver.send(Command::Closed { link: id }).await;
        if matches!(end, End::Here) {
            let _ = timeout(LAST_WORDS, last_words(&mut reader, (!written).then_some(writing))).await;
        }
        tracing::info!(link = id.0, %remote, %end, "a link ended");
        link.confirmed.load(Ordering::Relaxed)
    }
}

impl Links {
    /// Reads until the link is at its end.
    async fn read(&self, reader: &mut Reader, id: LinkId, link: &Link) -> End {
        let mut check = interval(self.idle / IDLE_CHECKS);
        let mut heard = true;
        let mut last = Instant::now();
        loop {
            let message = tokio::select! {
                biased;
                message = reader.next() => message,
                now = check.tick() => {
                    if heard {
                        (heard, last) = (false, now);
                    } else if now - last >= self.idle {
                        return End::Idle;
                    }
                    continue;
                }
            };
            heard = true;
            let message = match message {
                Ok(Some(message)) => message,
                Ok(None) => return End::Peer,
                Err(error) => return End::Broken(error),
            };
            if self.take(message, id, link).await.is_err() {
                return End::Here;
            }
        }
    }

    /// One message. An error says that the node ends.
    async fn take(&self, message: BytesMut, id: LinkId, link: &Link) -> Result<(), SendError<Command>> {
        match MessageType::of(&message) {
            Some(MessageType::Data) if link.up.load(Ordering::Relaxed) => self.forwarder.receive(message),
            Some(MessageType::Data) | None => {}
            Some(_) => self.driver.send(Command::Received { link: id, message: message.freeze() }).await?,
        }
        Ok(())
    }
}

/// Writes until the queue is closed and empty.
async fn write(mut writer: Writer, outbox: &Outbox) -> End {
    let mut batch = Vec::new();
    loop {
        batch.clear();
        std::future::poll_fn(|cx| outbox.poll_take(cx, &mut batch)).await;
        let done = if batch.is_empty() { Some(writer.close().await) } else { writer.send(&batch).await.err().map(Err) };
        match done {
            None => {}
            Some(Ok(())) => return End::Here,
            Some(Err(error)) => return End::Broken(error),
        }
    }
}

/// Sends what waits, and reads on until the peer is done, too: an end with unread bytes would take back what was sent.
async fn last_words(reader: &mut Reader, writing: Option<impl Future<Output = End>>) {
    let reading = async { while let Ok(Some(_)) = reader.next().await {} };
    let writing = async {
        if let Some(writing) = writing {
            writing.await;
        }
    };
    tokio::join!(writing, reading);
}

fn link_settings(backend: &BackendSettings, certified: Option<Vec<String>>, max_message: usize) -> LinkSettings {
    let (cost, node_costs, allowed_peers) = match &backend.backend {
        Backend::Listener(listener) => (listener.cost, listener.node_cost.clone(), listener.allowed_peers.clone()),
        Backend::Peer(peer) => (peer.cost, Default::default(), peer.allowed_peers.clone()),
    };
    LinkSettings { cost, node_costs, allowed_peers, certified, max_message }
}

//! Services that accept streams.

use std::{sync::Arc, time::Duration};

use quinn::{Connection, Endpoint, Incoming, TokioRuntime};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    HELLO, Quic, Remote, Stream, address,
    close::{self, Counted},
    config::{self, Side},
    socket::Socket,
};
use crate::{
    datagram::{ListenError, Notice, Service},
    tls,
};

/// Streams that wait to be accepted; dialers beyond that wait.
const BACKLOG: usize = 32;
/// Connections of one service at the same time; more are refused.
const MOST_CONNECTIONS: usize = 4096;
/// Handshakes of one service at the same time; more wait. They cost the most, and anybody can begin one.
const MOST_HANDSHAKES: usize = 256;
/// Time for the handshake, and time for the dialer to open its stream (mesh-protocol 7.1, 7.2).
const HANDSHAKE: Duration = Duration::from_secs(30);
const FIRST_BYTE: Duration = Duration::from_secs(60);
/// Notices that wait to be looked at by all connections.
const NOTICES: usize = 64;

/// A service that accepts streams. Dropping it closes the service; its streams live on.
#[derive(Debug)]
pub struct Listener {
    streams: mpsc::Receiver<Stream>,
    closed: CancellationToken,
}

impl Listener {
    /// The next stream, and the node that opened it. None: the node stops.
    pub async fn accept(&mut self) -> Option<(Stream, String)> {
        let stream = self.streams.recv().await?;
        let peer = stream.peer().to_owned();
        Some((stream, peer))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

impl Quic {
    /// Accepts streams to a service.
    ///
    /// # Errors
    /// The TLS settings cannot be used for QUIC.
    pub(crate) fn listen(&self, service: Service, tls: Option<Arc<tls::Server>>) -> Result<Listener, ListenError> {
        let told = |error: &dyn std::fmt::Display| ListenError::Tls(error.to_string());
        // Only the built-in TLS goes here: named settings are looked up for each connection.
        let default =
            config::server(Arc::clone(&self.insecure.server), config::LARGEST_PACKET).map_err(|error| told(&error))?;
        let socket = Socket::new(Arc::clone(&self.forwarder), service);
        let endpoint = Endpoint::new_with_abstract_socket(
            config::endpoint(),
            Some(default),
            Arc::clone(&socket) as Arc<_>,
            Arc::new(TokioRuntime),
        )
        .map_err(|error| told(&error))?;
        let (ready, streams) = mpsc::channel(BACKLOG);
        let closed = CancellationToken::new();
        let (notices, _) = broadcast::channel(NOTICES);
        let acceptor = Acceptor { quic: self.clone(), tls, ready, notices, closed: closed.clone() };
        self.tasks.spawn(accept_all(endpoint, socket, acceptor));
        Ok(Listener { streams, closed })
    }
}

/// What each incoming connection needs.
#[derive(Clone)]
struct Acceptor {
    quic: Quic,
    tls: Option<Arc<tls::Server>>,
    ready: mpsc::Sender<Stream>,
    notices: broadcast::Sender<Notice>,
    closed: CancellationToken,
}

async fn accept_all(endpoint: Endpoint, socket: Arc<Socket>, acceptor: Acceptor) {
    let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let handshakes = Arc::new(Semaphore::new(MOST_HANDSHAKES));
    loop {
        tokio::select! {
            () = acceptor.quic.stop.cancelled() => break,
            () = acceptor.closed.cancelled() => break,
            notice = socket.service().inbox().notice() => {
                // Nobody listens where there are no connections.
                let _ = acceptor.notices.send(notice);
            }
            incoming = next(&endpoint, &handshakes) => {
                let Some((incoming, handshake)) = incoming else { break };
                let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                    incoming.refuse();
                    continue;
                };
                let one = acceptor.clone();
                acceptor.quic.tasks.spawn(async move {
                    one.take(incoming, handshake).await;
                    drop(permit);
                });
            }
        }
    }
    // New connections are refused from now on; those that are there go on until they are done.
    endpoint.set_server_config(None);
    close::finish(endpoint, acceptor.quic.stop.clone()).await;
}

/// The next connection, when its handshake may begin.
async fn next(endpoint: &Endpoint, handshakes: &Arc<Semaphore>) -> Option<(Incoming, OwnedSemaphorePermit)> {
    let permit = Arc::clone(handshakes).acquire_owned().await.ok()?;
    Some((endpoint.accept().await?, permit))
}

impl Acceptor {
    /// One connection, from its first packet to its end.
    async fn take(&self, incoming: Incoming, handshake: OwnedSemaphorePermit) {
        let Some((node, service)) = address::parse(incoming.remote_address()) else { return incoming.ignore() };
        let Some(peer) = self.quic.forwarder.name_of(node) else { return incoming.ignore() };
        let remote = Remote { hash: node, node: peer.to_string(), service };
        let opened = tokio::select! {
            opened = self.open(incoming, &remote, handshake) => opened,
            () = self.quic.stop.cancelled() => return,
        };
        match opened {
            Ok((connection, halves)) => self.hand_over(connection, halves, remote).await,
            Err(error) => tracing::info!(peer = remote.node, %error, "a stream was not accepted"),
        }
    }

    async fn open(
        &self,
        incoming: Incoming,
        remote: &Remote,
        handshake: OwnedSemaphorePermit,
    ) -> Result<Opened, String> {
        let tls = match &self.tls {
            None => Arc::clone(&self.quic.insecure.server),
            Some(tls) => tls.stream(&remote.node).await.map_err(|error| error.to_string())?,
        };
        let config = config::server(tls, self.quic.largest_packet(remote.hash)).map_err(|error| error.to_string())?;
        let connecting = incoming.accept_with(Arc::new(config)).map_err(|error| close::words(&error))?;
        let connection = timeout(HANDSHAKE, connecting)
            .await
            .map_err(|_| "the handshake took too long")?
            .map_err(|error| close::words(&error))?;
        drop(handshake);
        let first = async {
            let (send, mut recv) = connection.accept_bi().await.map_err(|error| close::words(&error))?;
            let mut hello = [0; 1];
            recv.read_exact(&mut hello).await.map_err(|error| error.to_string())?;
            Ok::<_, String>((hello, (send, recv)))
        };
        match timeout(FIRST_BYTE, first).await {
            Ok(Ok(([HELLO], halves))) => Ok((connection, halves)),
            Ok(Ok(_)) => {
                connection.close(close::REFUSED, b"Read Data Error");
                Err("the stream does not begin with a zero".to_owned())
            }
            Ok(Err(error)) => Err(error),
            Err(_) => {
                connection.close(close::REFUSED, b"Accept Timeout");
                Err("the dialer opened no stream".to_owned())
            }
        }
    }

    /// Gives the stream to who accepts, and watches over the connection until it is over.
    async fn hand_over(&self, connection: Connection, halves: (quinn::SendStream, quinn::RecvStream), remote: Remote) {
        let _counted = Counted::new(&self.quic.open);
        let mut notices = self.notices.subscribe();
        let writers = Arc::clone(&self.quic.writers);
        let (stream, back, ended) = Stream::new(connection.clone(), halves, remote.node.clone(), writers);
        tokio::select! {
            given = self.ready.send(stream) => if given.is_err() {
                connection.close(close::REFUSED, b"listener closed");
            },
            _ = connection.closed() => {}
            () = self.quic.stop.cancelled() => {}
        }
        let gone = async {
            loop {
                match notices.recv().await {
                    Ok(notice) if remote.is_gone(&notice) => return,
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        close::watch(connection, Side::Acceptor, back, gone, ended, self.quic.stop.clone()).await;
    }
}

type Opened = (Connection, (quinn::SendStream, quinn::RecvStream));

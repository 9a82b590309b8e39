//! Listeners on UDP: a datagram is a message, an address is a peer (mesh-protocol 1.2).

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    net::SocketAddr,
    sync::Arc,
};

use bytes::BytesMut;
use socket2::SockRef;
use tokio::{net::UdpSocket, sync::mpsc};
use worknode_protocol::{config::model::mesh::Listener, mesh::MessageType};

use super::{BackendError, Connection, Context, Reader, Serve, Writer, connection::LARGEST_DATAGRAM};

/// Addresses that can be connected at the same time. Anybody can make one up.
const MOST_PEERS: usize = 1024;
/// Messages of a peer that wait for its session; more are dropped, as the network would.
const WAITING: usize = 1024;
/// What the system may hold that was not taken yet; it may grant less.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// Binds a listener and starts to take datagrams.
pub(super) async fn listen<S: Serve>(listener: &Listener, context: Context<S>) -> Result<SocketAddr, BackendError> {
    let address = format!("{}:{}", listener.bind_addr, listener.port);
    let failed = |error| BackendError::Listen { network: "udp", address: address.clone(), error };
    let socket = UdpSocket::bind((listener.bind_addr.as_str(), listener.port)).await.map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    prepare(&socket).map_err(failed)?;
    let (ended, over) = mpsc::channel(WAITING);
    let sorter = Sorter { socket: Arc::new(socket), peers: HashMap::new(), ended, context: context.clone() };
    context.tasks.spawn(sorter.run(over));
    Ok(bound)
}

/// Makes room for bursts.
pub(super) fn prepare(socket: &UdpSocket) -> io::Result<()> {
    SockRef::from(socket).set_recv_buffer_size(RECEIVE_BUFFER)
}

/// Hands each datagram to the session of its address.
struct Sorter<S> {
    socket: Arc<UdpSocket>,
    peers: HashMap<SocketAddr, mpsc::Sender<BytesMut>>,
    /// Where sessions tell that they ended.
    ended: mpsc::Sender<SocketAddr>,
    context: Context<S>,
}

impl<S: Serve> Sorter<S> {
    async fn run(mut self, mut over: mpsc::Receiver<SocketAddr>) {
        let mut buffer = BytesMut::new();
        let stop = self.context.stop.clone();
        loop {
            buffer.clear();
            buffer.reserve(LARGEST_DATAGRAM);
            tokio::select! {
                () = stop.cancelled() => return,
                Some(address) = over.recv() => self.forget(address),
                received = self.socket.recv_buf_from(&mut buffer) => match received {
                    Ok((_, address)) => self.sort(address, &buffer),
                    // The system tells here that an earlier datagram of ours did not arrive: nothing to be done.
                    Err(error) => tracing::debug!(%error, "a UDP listener could not receive"),
                },
            }
        }
    }

    fn sort(&mut self, address: SocketAddr, message: &[u8]) {
        let known = self.peers.get(&address).is_some_and(|peer| !peer.is_closed());
        if !known {
            // Every connection begins with a routing update (mesh-protocol 2).
            if MessageType::of(message) != Some(MessageType::Routing) || self.peers.len() >= MOST_PEERS {
                return;
            }
            self.open(address);
        }
        if let Some(peer) = self.peers.get(&address) {
            // Full or just closed: lost, as datagrams may be.
            let _ = peer.try_send(BytesMut::from(message));
        }
    }

    fn open(&mut self, address: SocketAddr) {
        let (messages, sorted) = mpsc::channel(WAITING);
        self.peers.insert(address, messages);
        let connection = Connection {
            reader: Reader::Sorted(sorted),
            writer: Writer::Datagrams(Arc::clone(&self.socket), Some(address)),
            remote: address.to_string(),
            certified: None,
        };
        let (context, ended) = (self.context.clone(), self.ended.clone());
        self.context.tasks.spawn(async move {
            context.serve(connection).await;
            // Nobody receives after the listener was stopped.
            let _ = ended.send(address).await;
        });
    }

    /// A session ended. Its address may have a new one already.
    fn forget(&mut self, address: SocketAddr) {
        if let Entry::Occupied(peer) = self.peers.entry(address)
            && peer.get().is_closed()
        {
            peer.remove();
        }
    }
}

//! Datagrams through the mesh: `udp-server` and `udp-client` (mesh-protocol 8.2). A datagram is the payload, nothing else.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use tokio::{net::UdpSocket, sync::mpsc, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};
use worknode_mesh::{DatagramSocket, MeshHandle};

use super::flows::{Flows, SILENCE};

/// The longest datagram that UDP carries, and one byte.
const LONGEST: usize = 64 * 1024;

/// A local port that leads to a service.
pub(super) struct UdpIn {
    socket: Arc<UdpSocket>,
    mesh: MeshHandle,
    remote: Arc<Remote>,
}

/// The service that it leads to.
struct Remote {
    node: String,
    service: String,
}

impl UdpIn {
    /// `localhost` is the own node.
    pub(super) fn new(socket: UdpSocket, mesh: MeshHandle, node: &str, service: &str) -> Self {
        let node = if node.eq_ignore_ascii_case("localhost") { mesh.node() } else { node };
        let remote = Arc::new(Remote { node: node.to_owned(), service: service.to_owned() });
        Self { socket: Arc::new(socket), mesh, remote }
    }

    /// Serves until told to stop.
    pub(super) async fn serve(self, tasks: TaskTracker, stop: CancellationToken) {
        let mut flows: Flows<SocketAddr> = Flows::new();
        let mut block = vec![0; LONGEST];
        loop {
            let received = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                received = self.socket.recv_from(&mut block) => received,
            };
            let Some((payload, sender)) = taken(received, &block) else { continue };
            flows.hand_over(sender, payload, |waiting| {
                let flow = InFlow {
                    sender,
                    waiting,
                    socket: Arc::clone(&self.socket),
                    remote: Arc::clone(&self.remote),
                    mesh: self.mesh.ephemeral_datagrams(),
                };
                tasks.spawn(flow.run(stop.clone()));
            });
        }
    }
}

/// One local sender, with a service of its own on the mesh for the answers.
struct InFlow {
    sender: SocketAddr,
    waiting: mpsc::Receiver<Bytes>,
    socket: Arc<UdpSocket>,
    remote: Arc<Remote>,
    mesh: DatagramSocket,
}

impl InFlow {
    async fn run(mut self, stop: CancellationToken) {
        debug!("datagrams from {} to {} on {}", self.sender, self.remote.service, self.remote.node);
        tokio::select! {
            () = stop.cancelled() => {}
            () = async { while let Ok(true) = timeout(SILENCE, self.turn()).await {} } => {}
        }
    }

    /// One datagram in either direction. False: there will be no more.
    async fn turn(&mut self) -> bool {
        let Remote { node, service } = &*self.remote;
        tokio::select! {
            payload = self.waiting.recv() => {
                let Some(payload) = payload else { return false };
                if let Err(fault) = self.mesh.send(node, service, &payload) {
                    debug!("datagram to {service} on {node} not sent: {fault}");
                }
            }
            answer = self.mesh.receive() => {
                // Others may guess the name of our service.
                if answer.node == *node && answer.service == *service {
                    log_loss(self.socket.send_to(&answer.payload, self.sender).await);
                }
            }
        }
        true
    }
}

/// A service that leads to a host and port.
pub(super) struct UdpOut {
    mesh: Arc<DatagramSocket>,
    address: Arc<str>,
}

impl UdpOut {
    pub(super) fn new(mesh: DatagramSocket, address: String) -> Self {
        Self { mesh: Arc::new(mesh), address: address.into() }
    }

    /// Serves until told to stop.
    pub(super) async fn serve(self, tasks: TaskTracker, stop: CancellationToken) {
        let mut flows: Flows<(String, String)> = Flows::new();
        loop {
            let received = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                received = self.mesh.receive() => received,
            };
            let sender = (received.node, received.service);
            flows.hand_over(sender.clone(), received.payload, |waiting| {
                let (mesh, address) = (Arc::clone(&self.mesh), Arc::clone(&self.address));
                tasks.spawn(out_flow(sender, waiting, mesh, address, stop.clone()));
            });
        }
    }
}

/// One sender on the mesh, with a local port of its own for the answers.
struct OutFlow {
    node: String,
    service: String,
    waiting: mpsc::Receiver<Bytes>,
    mesh: Arc<DatagramSocket>,
    socket: UdpSocket,
    block: Vec<u8>,
}

async fn out_flow(
    (node, service): (String, String),
    waiting: mpsc::Receiver<Bytes>,
    mesh: Arc<DatagramSocket>,
    address: Arc<str>,
    stop: CancellationToken,
) {
    debug!("datagrams from {service} on {node} to {address}");
    let socket = match connect(&address).await {
        Ok(socket) => socket,
        Err(fault) => return warn!("datagrams cannot be passed on to {address}: {fault}"),
    };
    let mut flow = OutFlow { node, service, waiting, mesh, socket, block: vec![0; LONGEST] };
    tokio::select! {
        () = stop.cancelled() => {}
        () = async { while let Ok(true) = timeout(SILENCE, flow.turn()).await {} } => {}
    }
}

impl OutFlow {
    /// One datagram in either direction. False: there will be no more.
    async fn turn(&mut self) -> bool {
        tokio::select! {
            payload = self.waiting.recv() => {
                let Some(payload) = payload else { return false };
                log_loss(self.socket.send(&payload).await);
            }
            answer = self.socket.recv(&mut self.block) => match answer {
                Ok(length) => {
                    let payload = self.block.get(..length).unwrap_or_default();
                    if let Err(fault) = self.mesh.send(&self.node, &self.service, payload) {
                        debug!("datagram to {} on {} not sent: {fault}", self.service, self.node);
                    }
                }
                // Nobody listens there at the moment: the next may be heard.
                Err(fault) => debug!("datagram was lost: {fault}"),
            },
        }
        true
    }
}

async fn connect(address: &str) -> io::Result<UdpSocket> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for remote in tokio::net::lookup_host(address).await? {
        let any: SocketAddr = if remote.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0; 8], 0).into() };
        let socket = UdpSocket::bind(any).await?;
        match socket.connect(remote).await {
            Ok(()) => return Ok(socket),
            Err(fault) => last = fault,
        }
    }
    Err(last)
}

/// A datagram, unless the system only tells that an earlier one was not heard.
fn taken(received: io::Result<(usize, SocketAddr)>, block: &[u8]) -> Option<(Bytes, SocketAddr)> {
    match received {
        Ok((length, sender)) => Some((Bytes::copy_from_slice(block.get(..length)?), sender)),
        Err(fault) => {
            debug!("datagram was lost: {fault}");
            None
        }
    }
}

fn log_loss(sent: io::Result<usize>) {
    if let Err(fault) = sent {
        debug!("datagram was lost: {fault}");
    }
}

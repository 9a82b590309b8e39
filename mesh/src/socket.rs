//! Sockets for datagrams: for services that want neither order nor certainty, such as UDP proxies.

use std::sync::Arc;

use bytes::Bytes;
use worknode_protocol::mesh::ServiceName;

use crate::datagram::{Forwarder, MOST_HOPS, Sent, Service, Unsent};

/// A datagram that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The node it comes from. Any member of the mesh can forge it.
    pub node: String,
    /// The service it comes from.
    pub service: String,
    /// What it carries.
    pub payload: Bytes,
}

/// Why a datagram cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No way to that node is known.
    #[error("no route to node")]
    NoRoute,
    /// No service can have that name.
    #[error("no service can have that name")]
    Service,
    /// No link carries that much.
    #[error("the datagram is too long")]
    TooLong,
}

/// A socket for datagrams. Dropping it closes its service.
#[derive(Debug)]
pub struct DatagramSocket {
    forwarder: Arc<Forwarder>,
    service: Service,
}

impl DatagramSocket {
    pub(crate) fn new(forwarder: Arc<Forwarder>, service: Service) -> Self {
        Self { forwarder, service }
    }

    /// The name of its service.
    #[must_use]
    pub fn service(&self) -> String {
        self.service.name().to_string()
    }

    /// Sends a datagram. It may be lost on the way, for lack of room here, too.
    ///
    /// # Errors
    /// It cannot even be tried.
    pub fn send(&self, node: &str, service: &str, payload: &[u8]) -> Result<(), SendError> {
        let service = ServiceName::parse(service).map_err(|_| SendError::Service)?;
        let to = (self.forwarder.hash_of(node), service);
        match self.forwarder.send(self.service.name(), to, MOST_HOPS, payload) {
            Sent::Yes | Sent::Full(_) => Ok(()),
            Sent::No(Unsent::NoRoute) => Err(SendError::NoRoute),
            Sent::No(Unsent::TooLong) => Err(SendError::TooLong),
        }
    }

    /// The next datagram. One task at a time may wait for it; nothing is lost when the future is dropped.
    pub async fn receive(&self) -> Received {
        loop {
            let datagram = self.service.inbox().datagram().await;
            // Without a name nobody could be answered.
            if let Some(node) = self.forwarder.name_of(datagram.from_node) {
                let (node, service) = (node.to_string(), datagram.from_service.to_string());
                return Received { node, service, payload: datagram.payload };
            }
        }
    }
}

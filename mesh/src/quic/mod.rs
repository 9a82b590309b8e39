//! Streams: one QUIC connection each, over datagrams (mesh-protocol 7).
//!
//! A dialer has an endpoint of its own on a service with a drawn name, a listening service has one endpoint for all its
//! connections. Each connection has one task ([`close::watch`]) that sees to its end, whoever brings it about.

mod address;
mod close;
mod config;
mod dial;
mod listen;
mod socket;
mod stream;

use std::sync::{Arc, atomic::AtomicUsize};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use worknode_protocol::mesh::{HEADER_LENGTH, Problem, ServiceName};

pub use listen::Listener;
pub use stream::Stream;

use crate::{
    backend::LARGEST_MESSAGE,
    datagram::{Forwarder, Notice},
};

/// The first byte of every stream, by which the acceptor learns of it (mesh-protocol 7.1).
const HELLO: u8 = 0;

/// What endpoints need.
#[derive(Clone)]
pub(crate) struct Quic {
    /// The data way.
    pub(crate) forwarder: Arc<Forwarder>,
    /// For streams without named TLS settings.
    pub(crate) insecure: Insecure,
    /// Ends all connections.
    pub(crate) stop: CancellationToken,
    /// One task for each connection and each listening service.
    pub(crate) tasks: TaskTracker,
    /// How many connections there are, those that are being closed included.
    pub(crate) open: Arc<AtomicUsize>,
    /// How many streams have written so much that they share what may be kept for peers.
    pub(crate) writers: Arc<AtomicUsize>,
}

/// The built-in TLS.
#[derive(Clone)]
pub(crate) struct Insecure {
    pub(crate) client: Arc<rustls::ClientConfig>,
    pub(crate) server: Arc<rustls::ServerConfig>,
}

impl Quic {
    /// The longest packets to be tried on the way to a node.
    fn largest_packet(&self, node: u64) -> u16 {
        let message = self.forwarder.longest_message(node).unwrap_or(LARGEST_MESSAGE);
        u16::try_from(message.saturating_sub(HEADER_LENGTH)).unwrap_or(u16::MAX)
    }
}

/// The other end of a stream.
struct Remote {
    /// Its name.
    node: String,
    /// The hash of its name.
    hash: u64,
    service: ServiceName,
}

impl Remote {
    /// Whether a notice says that this service is no more.
    fn is_gone(&self, notice: &Notice) -> bool {
        let about = &notice.about;
        about.to_node == self.node && self.service.is(&about.to_service) && about.is(Problem::ServiceUnknown)
    }
}

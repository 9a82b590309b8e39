//! Datagrams: from a service of a node to a service of a node, with neither order nor certainty (mesh-protocol 3, 6).

mod drops;
mod forwarder;
mod inbox;
mod outbox;
mod service;

pub use drops::Dropped;
pub(crate) use forwarder::{Blocked, Forwarder, MOST_HOPS, Sent, Unsent, View};
pub(crate) use inbox::{Datagram, Inbox, Notice};
pub(crate) use outbox::{FlowKey, Outbox, Queued};
pub use service::ListenError;
pub(crate) use service::{PING, Service};

//! The control service: what clients say to this node and what it answers.
//!
//! [`listener`] accepts and bounds connections, [`session`] reads lines, [`access`] says who may do what, [`commands`] carries
//! them out. Three commands
//! take the connection over: `submit` (the payload follows), `results` and `connect`.

pub mod access;
pub mod commands;
pub mod listener;
mod prune;
mod records;
pub mod reload;
pub mod session;
pub mod spool;
pub mod status;
pub mod stream;
pub mod takeover;
pub mod unix_socket;

use std::sync::Arc;

use worknode_mesh::{MeshHandle, tls::Named};
use worknode_protocol::{config::model::ControlLimits, id::NodeId};

use crate::{
    runner::remote::RemoteKind,
    work::{file_events::FileEvents, signature::Signatures, units::Units},
};

/// What every session may use.
pub struct Context {
    /// The own node's id.
    pub node: NodeId,
    /// The other nodes.
    pub mesh: MeshHandle,
    /// The units of this node.
    pub units: Arc<Units>,
    /// Work on other nodes.
    pub remote: Arc<RemoteKind>,
    /// Notification of file growth.
    pub events: FileEvents,
    /// Whether requests are signed where they must be.
    pub signatures: Signatures,
    /// The named TLS settings.
    pub tls: Arc<Named>,
    /// Processors and memory of this machine, for `status`.
    pub machine: status::Machine,
    /// Reading the configuration again.
    pub reload: reload::Reload,
    /// The bound on connections.
    pub admission: listener::Admission,
    /// Other bounds.
    pub limits: ControlLimits,
}

impl Context {
    /// True if a `tls-client` of that name is configured; the empty name stands for none, and `default` always is.
    pub fn knows_tls_client(&self, name: &str) -> bool {
        name.is_empty() || self.tls.has_client(name)
    }
}

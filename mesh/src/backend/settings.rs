use std::sync::Arc;

use worknode_protocol::config::model::mesh::Backend;

use super::Redial;
use crate::tls;

/// A backend as configured, with its TLS settings looked up.
#[derive(Clone, Debug)]
pub struct BackendSettings {
    /// The configuration. Two settings with equal configurations are the same backend.
    pub backend: Backend,
    /// TLS, if any. A peer with a `wss` URL needs some: [`tls::Client::system`] where the configuration names none.
    pub tls: BackendTls,
    /// When a peer is dialled again.
    pub redial: Redial,
}

impl PartialEq for BackendSettings {
    fn eq(&self, other: &Self) -> bool {
        self.backend == other.backend
    }
}

/// TLS of a backend.
#[derive(Clone, Debug, Default)]
pub enum BackendTls {
    /// None.
    #[default]
    Off,
    /// For a listener.
    Server(Arc<tls::Server>),
    /// For a peer.
    Client(Arc<tls::Client>),
}

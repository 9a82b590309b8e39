//! What the mesh is given of a configuration: the node's name and rules, and its backends with their TLS settings.

use worknode_mesh::{
    Settings,
    backend::{BackendError, BackendSettings, BackendTls, Redial},
    tls::{DEFAULT, Named, TlsError},
};
use worknode_protocol::config::model::{
    NodeConfig, NodeSection,
    mesh::{Backend, Transport},
};

/// Why the backends cannot run. `Display` follows `Error: `, and in an answer to `reload` stands before the code.
#[derive(Debug, thiserror::Error)]
pub enum BackendsError {
    /// The authorities of the system, for a `wss` peer without settings of its own.
    #[error("error preparing tls client config: {0}")]
    Tls(#[from] TlsError),
    /// A name that no TLS settings have.
    #[error("unknown TLS config {0}")]
    UnknownTls(String),
    /// One cannot be started.
    #[error(transparent)]
    Start(#[from] BackendError),
}

/// What the mesh needs before it has any backend.
pub fn settings(node: &NodeSection) -> Settings {
    Settings { node: node.id.clone(), firewall: node.firewall_rules.clone(), idle: node.max_idle_connection_timeout }
}

/// The configured backends with their TLS settings. Blocks where a `wss` peer names none: the system's authorities are
/// read then.
///
/// # Errors
/// TLS settings that are not there or cannot be read.
pub fn of(config: &NodeConfig, named: &Named) -> Result<Vec<BackendSettings>, BackendsError> {
    let backends = config.mesh.backends.iter().map(|backend| {
        let tls = tls_of(backend, named)?;
        Ok(BackendSettings { backend: backend.clone(), tls, redial: Redial::default() })
    });
    backends.collect()
}

fn tls_of(backend: &Backend, named: &Named) -> Result<BackendTls, BackendsError> {
    let unknown = |name: &str| BackendsError::UnknownTls(name.to_owned());
    let client =
        |name: &str| Ok::<_, BackendsError>(BackendTls::Client(named.client(name)?.ok_or_else(|| unknown(name))?));
    Ok(match backend {
        Backend::Listener(listener) => match &listener.tls {
            None => BackendTls::Off,
            Some(name) => BackendTls::Server(named.server(name).ok_or_else(|| unknown(name))?),
        },
        Backend::Peer(peer) => match &peer.tls {
            Some(name) => client(name)?,
            None if peer.transport == Transport::WebSocket && peer.address.starts_with("wss:") => client(DEFAULT)?,
            None => BackendTls::Off,
        },
    })
}

//! All named TLS settings of a node.

use std::{collections::BTreeMap, sync::Arc};

use worknode_protocol::{
    config::model::{TlsClient, TlsServer},
    id::NodeId,
};

use super::{Client, Server, TlsError};

/// Named settings that cannot be used. `Display` follows `Error: ` (control-protocol 1.4).
#[derive(Debug, thiserror::Error)]
pub enum NamedError {
    /// A `tls-server`.
    #[error("error preparing tls server config: {0}")]
    Server(TlsError),
    /// A `tls-client`.
    #[error("error preparing tls client config: {0}")]
    Client(TlsError),
}

/// All named TLS settings of a node, their files read.
#[derive(Debug, Default)]
pub struct Named {
    servers: BTreeMap<String, Arc<Server>>,
    clients: BTreeMap<String, Arc<Client>>,
}

impl Named {
    /// Reads the files of all settings, used or not, as the reference does. Blocks; call it before anything is bound.
    ///
    /// # Errors
    /// The first settings that cannot be used.
    pub fn load(servers: &[TlsServer], clients: &[TlsClient], node: &NodeId) -> Result<Self, NamedError> {
        let mut named = Self::default();
        for settings in servers {
            let server = Server::load(settings.clone(), node).map_err(NamedError::Server)?;
            named.servers.insert(settings.name.clone(), Arc::new(server));
        }
        for settings in clients {
            let client = Client::load(settings.clone(), node).map_err(NamedError::Client)?;
            named.clients.insert(settings.name.clone(), Arc::new(client));
        }
        Ok(named)
    }

    /// The settings of the `tls-server` called `name`.
    #[must_use]
    pub fn server(&self, name: &str) -> Option<Arc<Server>> {
        self.servers.get(name).cloned()
    }

    /// The settings of the `tls-client` called `name`.
    #[must_use]
    pub fn client(&self, name: &str) -> Option<Arc<Client>> {
        self.clients.get(name).cloned()
    }

    /// The settings of a `wss` peer that names none: the `tls-client` called `default`, else the system's authorities
    /// ([`Client::system`]; reads files).
    ///
    /// # Errors
    /// Those of [`Client::system`].
    pub fn default_client(&self) -> Result<Arc<Client>, TlsError> {
        self.client("default").map_or_else(|| Client::system().map(Arc::new), Ok)
    }
}

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

/// Name of the settings of a `wss` peer that names none.
pub const DEFAULT: &str = "default";

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

    /// Whether there is a `tls-client` called `name`; `default` always is.
    #[must_use]
    pub fn has_client(&self, name: &str) -> bool {
        name == DEFAULT || self.clients.contains_key(name)
    }

    /// The settings of the `tls-client` called `name`. `default` without settings of that name stands for the system's
    /// authorities ([`Client::system`]; reads files, and so may block).
    ///
    /// # Errors
    /// Those of [`Client::system`].
    pub fn client(&self, name: &str) -> Result<Option<Arc<Client>>, TlsError> {
        match self.clients.get(name) {
            None if name == DEFAULT => Client::system().map(Arc::new).map(Some),
            found => Ok(found.cloned()),
        }
    }
}

//! Backends: what opens or accepts connections to peers and carries whole messages over them (mesh-protocol 1).
//!
//! A backend is a listener or a peer of the configuration. [`Running`] is one that was started: it has a task that
//! accepts or dials, and one task for each of its connections, in which [`Serve`] uses the connection until it ends.

mod connection;
mod frame;
mod listener;
mod manager;
mod peer;
mod proxy;
mod redial;
mod settings;
mod tcp;
mod udp;
mod websocket;

#[cfg(test)]
mod tests;

use std::{future::Future, io};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use worknode_protocol::config::model::mesh::{Backend, Transport};

#[cfg(test)]
pub(crate) use connection::Io;
pub(crate) use connection::{Connection, Reader, Writer};
pub use manager::Addresses;
pub(crate) use manager::{Order, manage};
pub use redial::Redial;
pub use settings::{BackendSettings, BackendTls};

/// No message may be longer, over whatever transport: that is what a TCP frame can hold (mesh-protocol 1.1).
pub(crate) const LARGEST_MESSAGE: usize = 65_535;

/// Uses connections.
pub(crate) trait Serve: Clone + Send + Sync + 'static {
    /// Uses one connection of the backend until the connection ends or `stop` is called, and closes it.
    /// Returns whether the peer was accepted and accepted us.
    fn serve(
        &self,
        connection: Connection,
        backend: &BackendSettings,
        stop: CancellationToken,
    ) -> impl Future<Output = bool> + Send;
}

/// A backend could not be started.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The address to listen on is in use, not ours, or forbidden. The words are the reference's (control-protocol 1.4).
    #[error("listen {network} {address}: bind: {}", words(.error))]
    Listen {
        /// `tcp` or `udp`.
        network: &'static str,
        /// Host and port.
        address: String,
        /// The system's words.
        error: io::Error,
    },
    /// The address of a peer cannot be understood.
    #[error("{address} is not an address of a peer: {why}")]
    Address {
        /// As configured.
        address: String,
        /// What is wrong.
        why: String,
    },
    /// The mesh has been shut down.
    #[error("the mesh has been shut down")]
    Stopped,
}

/// A system error as the reference prints it.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// A backend that was started. Dropping it stops it without waiting.
#[derive(Debug)]
pub(crate) struct Running {
    settings: BackendSettings,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Where it listens: tells the port where the system chose it.
    address: Option<std::net::SocketAddr>,
}

impl Running {
    /// Starts a backend. A listener is bound when this returns.
    ///
    /// # Errors
    /// It cannot be bound, or its settings make no sense. Nothing runs then.
    pub(crate) async fn start<S: Serve>(
        settings: BackendSettings,
        serve: S,
        stop: CancellationToken,
    ) -> Result<Self, BackendError> {
        let tasks = TaskTracker::new();
        let context = Context { settings: settings.clone(), serve, stop: stop.clone(), tasks: tasks.clone() };
        let address = match &settings.backend {
            Backend::Listener(listener) if listener.transport == Transport::Udp => {
                Some(udp::listen(listener, context).await?)
            }
            Backend::Listener(listener) => Some(listener::start(listener, context).await?),
            Backend::Peer(peer) => {
                peer::start(peer, context)?;
                None
            }
        };
        Ok(Self { settings, stop, tasks, address })
    }

    /// As what it was started.
    pub(crate) fn settings(&self) -> &BackendSettings {
        &self.settings
    }

    /// Where it listens; None for a peer.
    pub(crate) fn address(&self) -> Option<std::net::SocketAddr> {
        self.address
    }

    /// Begins to stop it.
    pub(crate) fn cancel(&self) {
        self.stop.cancel();
    }

    /// Stops it: no new connections, and the end of those it has. Returns when all is over.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What the tasks of a backend have in common.
#[derive(Clone)]
struct Context<S> {
    settings: BackendSettings,
    serve: S,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl<S: Serve> Context<S> {
    /// Uses a connection until it ends.
    async fn serve(&self, connection: Connection) -> bool {
        self.serve.serve(connection, &self.settings, self.stop.child_token()).await
    }
}

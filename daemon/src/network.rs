//! What this node can reach, and the seam that the mesh fills: a stream to a service of a node.
//!
//! [`Network`] is asked by the control commands `ping`, `traceroute`, `connect` and `status`. [`Services`] holds what this
//! node offers to others: a service is a queue of streams, whoever opened them. [`OwnNode`] is the network of a node that
//! has no links: it knows itself alone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::mpsc;
use worknode_protocol::control::{ConnectError, PingProblem};

use crate::{control::stream::Duplex, runner::BoxFuture};

/// Streams that may wait to be accepted by one service; a dialer beyond that waits.
const BACKLOG: usize = 16;
/// Bytes under way in each direction of a stream from this node to itself.
const LOCAL_PIPE: usize = 64 * 1024;

/// A probe that came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Echo {
    /// The node that answered.
    pub from: String,
    /// Why it was not the target's own answer.
    pub problem: Option<PingProblem>,
}

/// The neighbours and routes of this node, for `status`.
#[derive(Debug, Default, Clone)]
pub struct NetworkView {
    /// Neighbour and the cost of the link to it.
    pub connections: Vec<(String, f64)>,
}

/// Access to the services of all nodes that can be reached.
pub trait Network: Send + Sync + 'static {
    /// Sends a probe that may travel over `hops` links, and waits for what comes back.
    fn probe<'a>(&'a self, target: &'a str, hops: u8) -> BoxFuture<'a, Echo>;

    /// Opens a stream to a service. The name `localhost` is this node.
    ///
    /// # Errors
    /// The node or the service cannot be reached.
    fn dial<'a>(&'a self, node: &'a str, service: &'a str) -> BoxFuture<'a, Result<Box<dyn Duplex>, ConnectError>>;

    /// What is connected now.
    fn view(&self) -> NetworkView;
}

/// The stream services that this node offers.
#[derive(Default)]
pub struct Services {
    open: Mutex<HashMap<String, mpsc::Sender<Box<dyn Duplex>>>>,
}

/// Names that no service may have, and the longest one (control-protocol 2.1).
const RESERVED: [&str; 2] = ["ping", "unreach"];
const LONGEST_NAME: usize = 8;

/// Why a service name cannot be listened on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// Over eight bytes.
    #[error("service name {0} too long")]
    TooLong(String),
    /// Reserved, or in use.
    #[error("service {0} is already listening")]
    Taken(String),
}

impl Services {
    /// Offers a service: streams to it come out of the queue.
    ///
    /// # Errors
    /// The name cannot be used.
    pub fn listen(&self, name: &str) -> Result<mpsc::Receiver<Box<dyn Duplex>>, ListenError> {
        if name.len() > LONGEST_NAME {
            return Err(ListenError::TooLong(name.to_owned()));
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if RESERVED.contains(&name) || open.contains_key(name) {
            return Err(ListenError::Taken(name.to_owned()));
        }
        let (streams, accepted) = mpsc::channel(BACKLOG);
        open.insert(name.to_owned(), streams);
        Ok(accepted)
    }

    /// The names offered, sorted.
    pub fn names(&self) -> Vec<String> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<_> = open.keys().cloned().collect();
        names.sort();
        names
    }

    /// Opens a stream to a service of this node. None: there is no such service.
    pub async fn open(&self, name: &str) -> Option<Box<dyn Duplex>> {
        let service = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()?;
        let (near, far) = tokio::io::duplex(LOCAL_PIPE);
        service.send(Box::new(far)).await.ok()?;
        Some(Box::new(near))
    }
}

/// The network of a node without links.
pub struct OwnNode {
    id: String,
    services: Arc<Services>,
}

impl OwnNode {
    /// The network that holds the node `id` alone.
    pub fn new(id: String, services: Arc<Services>) -> Self {
        Self { id, services }
    }

    fn is_me(&self, node: &str) -> bool {
        node == self.id || node.eq_ignore_ascii_case("localhost")
    }
}

impl Network for OwnNode {
    fn probe<'a>(&'a self, target: &'a str, hops: u8) -> BoxFuture<'a, Echo> {
        let problem = match (self.is_me(target), hops) {
            (true, _) => None,
            (false, 0) => Some(PingProblem::MessageExpired),
            (false, _) => Some(PingProblem::NoRoute),
        };
        let from = self.id.clone();
        Box::pin(async move { Echo { from, problem } })
    }

    fn dial<'a>(&'a self, node: &'a str, service: &'a str) -> BoxFuture<'a, Result<Box<dyn Duplex>, ConnectError>> {
        Box::pin(async move {
            if !self.is_me(node) {
                return Err(ConnectError::NoRoute);
            }
            self.services.open(service).await.ok_or(ConnectError::OwnServiceUnknown)
        })
    }

    fn view(&self) -> NetworkView {
        NetworkView::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_name_is_checked_and_used_once() {
        let services = Services::default();
        assert_eq!(services.listen("toolongname").unwrap_err().to_string(), "service name toolongname too long");
        assert_eq!(services.listen("ping").unwrap_err().to_string(), "service ping is already listening");
        let _control = services.listen("control").unwrap();
        assert_eq!(services.listen("control").unwrap_err().to_string(), "service control is already listening");
        assert_eq!(services.names(), ["control"]);
    }

    #[tokio::test]
    async fn the_own_node_is_reached_by_id_and_as_localhost() {
        let services = Arc::new(Services::default());
        let mut control = services.listen("control").unwrap();
        let network = OwnNode::new("n1".into(), services);
        for name in ["n1", "localhost", "LOCALHOST"] {
            assert!(network.dial(name, "control").await.is_ok());
            assert!(control.recv().await.is_some());
            assert_eq!(network.probe(name, 0).await.problem, None);
        }
        assert!(matches!(network.dial("n2", "control").await, Err(ConnectError::NoRoute)));
        assert!(matches!(network.dial("n1", "nosuch").await, Err(ConnectError::OwnServiceUnknown)));
        assert_eq!(network.probe("n2", 0).await.problem, Some(PingProblem::MessageExpired));
        assert_eq!(network.probe("n2", 1).await.problem, Some(PingProblem::NoRoute));
    }
}

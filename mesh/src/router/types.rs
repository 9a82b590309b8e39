use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use worknode_protocol::control::WorkCommand;
use worknode_protocol::mesh::{ConnType, MAX_MESSAGE_LENGTH};

use super::routes::Routes;

/// A link: one session of a backend. Drawn by the driver, rising, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u64);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The time at which something happens.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Time since the start of the node; never runs back.
    pub clock: Duration,
    /// What the wall clock shows. May step in either direction; only advertisements carry it.
    pub wall: Timestamp,
}

/// What the configuration, and the certificate of the peer, say about a link.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkSettings {
    /// Cost of the link, more than 0.
    pub cost: f64,
    /// Costs for certain peers in place of it.
    pub node_costs: BTreeMap<String, f64>,
    /// Nodes that may be the peer; empty: all.
    pub allowed_peers: Vec<String>,
    /// Receptor names in the certificate of the peer, which must be one of them. `None`: not to be checked.
    pub certified: Option<Vec<String>>,
    /// Longest message that the link carries, in bytes.
    pub max_message: usize,
}

impl LinkSettings {
    /// Cost of the link if it leads to `peer` (mesh-protocol 2, 4).
    pub(super) fn cost_of(&self, peer: &str) -> f64 {
        self.node_costs.get(peer).copied().unwrap_or(self.cost)
    }
}

impl Default for LinkSettings {
    fn default() -> Self {
        Self {
            cost: 1.0,
            node_costs: BTreeMap::new(),
            allowed_peers: Vec::new(),
            certified: None,
            max_message: MAX_MESSAGE_LENGTH,
        }
    }
}

/// A service of this node that the others are told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnService {
    /// Name of the service.
    pub name: String,
    /// What it speaks.
    pub conn_type: ConnType,
    /// Tags such as `type`; `None` goes out as `null`.
    pub tags: Option<BTreeMap<String, String>>,
    /// Work types, only for the control service.
    pub work_commands: Option<Vec<WorkCommand>>,
}

/// What strangers can make a router hold at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Nodes known or mentioned.
    pub nodes: usize,
    /// Costs known, of all nodes together.
    pub costs: usize,
    /// Advertisements, withdrawn ones included.
    pub advertisements: usize,
    /// Bytes of all advertisements.
    pub advertisement_bytes: usize,
    /// Links to one peer.
    pub links_per_peer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { nodes: 32_768, costs: 262_144, advertisements: 32_768, advertisement_bytes: 8 << 20, links_per_peer: 8 }
    }
}

/// What a router wants done, in this order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Put a message on a link. Many may come at once, at most a few hundred in one go.
    Send {
        /// The link.
        link: LinkId,
        /// The message, whole.
        message: Bytes,
    },
    /// End a link, after what was sent before.
    Close {
        /// The link; the router knows it no longer.
        link: LinkId,
        /// Why.
        reason: CloseReason,
    },
    /// Forward by these routes from now on.
    Routes(Arc<Routes>),
    /// Something that others may want to know.
    Event(Event),
}

/// Why a link is ended (mesh-protocol 2). The texts are for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The peer gave our own node ID.
    #[error("it tried to connect using our own node ID")]
    OwnId,
    /// The peer is not one of those allowed.
    #[error("{0:?} is not in the allowed peers list")]
    NotAllowed(String),
    /// The peer's certificate is another node's.
    #[error("{0:?} is not a name in its certificate")]
    NotCertified(String),
    /// There is a link to that node, and the two do not share several.
    #[error("it connected using a node ID we are already connected to: {0:?}")]
    AlreadyConnected(String),
    /// What the peer gives as its name cannot be a node ID: it is too long, or `localhost`.
    #[error("what it gives as its node ID can be none")]
    BadName,
    /// With this peer too, the own routing update would be too long for any link.
    #[error("there are too many peers")]
    TooManyPeers,
    /// The peer calls itself differently now.
    #[error("the node ID changed unexpectedly from {0:?} to {1:?}")]
    IdChanged(String, String),
    /// The peer has given up the link.
    #[error("{0:?} no longer lists us as a connection")]
    NoLongerListed(String),
    /// The ends of the link are configured with different costs.
    #[error("we disagree about the connection cost with {peer:?}: {ours} here, {theirs} there")]
    CostDisagreement {
        /// The peer.
        peer: String,
        /// Cost of the link here.
        ours: String,
        /// Cost of the link there.
        theirs: String,
    },
    /// The peer sent a reject.
    #[error("the peer rejected the connection")]
    Rejected,
    /// The peer never said who it is.
    #[error("giving up on connection initialization")]
    NoGreeting,
    /// A newer process of the peer, certified to be it, has connected.
    #[error("{0:?} was restarted and has connected anew")]
    Replaced(String),
}

/// Something that has happened in the mesh.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A link is established: the peer has said who it is.
    LinkUp {
        /// The link.
        link: LinkId,
        /// The peer.
        peer: Arc<str>,
        /// Cost of the link.
        cost: f64,
    },
    /// The peer has listed us for the first time: datagrams to it do not get lost any more.
    LinkConfirmed {
        /// The link.
        link: LinkId,
        /// The peer.
        peer: Arc<str>,
    },
    /// An established link has ended.
    LinkDown {
        /// The link.
        link: LinkId,
        /// The peer.
        peer: Arc<str>,
    },
    /// Somebody else uses our node ID, or says so. Never acted on by ending: anybody can say so (mesh-protocol 12.1).
    Duplicate {
        /// Epoch of the other process.
        epoch: u64,
        /// Whether it takes *us* for the duplicate.
        accused: bool,
        /// The peer from which the word came.
        via: Arc<str>,
    },
    /// A message was dropped: malformed, or more than what is held at most.
    Dropped {
        /// The link it came on.
        link: LinkId,
        /// What was wrong.
        reason: String,
    },
}

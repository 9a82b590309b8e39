//! What connects this node to others: backends, bridges, firewall rules (control-protocol 1.4).

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Backends and bridges of the mesh, each list in the order of the file.
#[derive(Debug, Clone, Default)]
pub struct MeshConfig {
    /// Listeners and peers: the part that `reload` can change.
    pub backends: Vec<Backend>,
    /// Bridges between local sockets and services of the mesh.
    pub bridges: Vec<Bridge>,
    /// IP routers.
    pub ip_routers: Vec<IpRouter>,
}

/// A listener or a peer.
#[derive(Debug, Clone, PartialEq)]
pub enum Backend {
    /// Accepts connections.
    Listener(Listener),
    /// Opens a connection.
    Peer(Peer),
}

/// What carries a backend's messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// Framed messages over TCP.
    Tcp,
    /// One message per datagram.
    Udp,
    /// One message per WebSocket message.
    WebSocket,
}

/// A listener: `tcp-listener`, `udp-listener`, `ws-listener`.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// What carries its messages.
    pub transport: Transport,
    /// Address to bind.
    pub bind_addr: String,
    /// Port to bind; 0 lets the system choose.
    pub port: u16,
    /// Path of the WebSocket; `/` for the other transports.
    pub path: String,
    /// Name of TLS settings for listeners.
    pub tls: Option<String>,
    /// Cost of its connections, above zero.
    pub cost: f64,
    /// Costs for single peers, above zero.
    pub node_cost: BTreeMap<String, f64>,
    /// Peers that may connect; empty allows all.
    pub allowed_peers: Vec<String>,
}

/// A peer: `tcp-peer`, `udp-peer`, `ws-peer`.
#[derive(Debug, Clone, PartialEq)]
pub struct Peer {
    /// What carries its messages.
    pub transport: Transport,
    /// `host:port`, or a URL for a WebSocket.
    pub address: String,
    /// Whether a lost connection is opened again.
    pub redial: bool,
    /// Name of TLS settings for outgoing connections.
    pub tls: Option<String>,
    /// Header `key:value` sent when the WebSocket is opened.
    pub extra_header: Option<String>,
    /// Cost of the connection, above zero.
    pub cost: f64,
    /// Nodes that the peer may be; empty allows all.
    pub allowed_peers: Vec<String>,
}

/// A bridge between a local socket or command and a service of the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bridge {
    /// `command-service`: each connection runs a command.
    Command {
        /// Service offered on the mesh.
        service: String,
        /// Command line, to be split like a shell does.
        command: String,
        /// Name of TLS settings for listeners.
        tls: Option<String>,
    },
    /// `tcp-server` and `udp-server`: a local port to a service of the mesh.
    PortIn {
        /// Whether it is a UDP port.
        udp: bool,
        /// Address to bind.
        bind_addr: String,
        /// Port to bind.
        port: u16,
        /// Node of the service.
        remote_node: String,
        /// Service to reach.
        remote_service: String,
        /// Name of TLS settings for the local listener.
        tls_server: Option<String>,
        /// Name of TLS settings for the connection over the mesh.
        tls_client: Option<String>,
    },
    /// `tcp-client` and `udp-client`: a service of the mesh to a host and port.
    PortOut {
        /// Whether it is a UDP port.
        udp: bool,
        /// Service offered on the mesh.
        service: String,
        /// `host:port` to reach.
        address: String,
        /// Name of TLS settings for the service.
        tls_server: Option<String>,
        /// Name of TLS settings for the outgoing connection.
        tls_client: Option<String>,
    },
    /// `unix-socket-server`: a local socket to a service of the mesh.
    SocketIn {
        /// Path of the socket.
        filename: PathBuf,
        /// Its mode.
        permissions: u32,
        /// Node of the service.
        remote_node: String,
        /// Service to reach.
        remote_service: String,
        /// Name of TLS settings for the connection over the mesh.
        tls: Option<String>,
    },
    /// `unix-socket-client`: a service of the mesh to a local socket.
    SocketOut {
        /// Service offered on the mesh.
        service: String,
        /// Path of the socket.
        filename: PathBuf,
        /// Name of TLS settings for the service.
        tls: Option<String>,
    },
}

/// An IP router: the action `ip-router`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpRouter {
    /// Name of the network; equal names find each other.
    pub network_name: String,
    /// Name of the tunnel interface.
    pub interface: Option<String>,
    /// Local network in CIDR form.
    pub local_net: String,
    /// Networks advertised, separated by commas.
    pub routes: Option<String>,
}

/// One rule for datagrams. All conditions given must hold for it to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirewallRule {
    /// What is done.
    pub action: FirewallAction,
    /// Node the datagram comes from.
    pub from_node: Option<Pattern>,
    /// Node it goes to.
    pub to_node: Option<Pattern>,
    /// Service it comes from.
    pub from_service: Option<Pattern>,
    /// Service it goes to.
    pub to_service: Option<Pattern>,
}

/// What a firewall rule does with a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirewallAction {
    /// Let it pass.
    Accept,
    /// Drop it and tell the sender.
    Reject,
    /// Drop it in silence.
    Drop,
}

/// A condition of a firewall rule on one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// Equal to this.
    Exact(String),
    /// Matches `^` + this + `$`, which is known to compile. As in the original the two are put around the text, not around
    /// its alternatives: `a|b` matches what begins with `a` or ends with `b`.
    Regex(String),
}

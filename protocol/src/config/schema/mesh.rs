//! Backends and bridges of the mesh.

use super::{Action, Kind, Param, file, int, list, text};

const COST: Param = Param::new("cost", Kind::Float, "cost of the connection").default("1.0");
const NODE_COST: Param = Param::new("nodecost", Kind::Costs, "costs for single peers");
const BIND_ADDR: Param = text("bindaddr", "address to bind").default("0.0.0.0");
const PORT: Param = int("port", "port to bind").required().bare("Port");
const TLS_SERVER: Param = text("tls", "tls-server to use");
const TLS_CLIENT: Param = text("tls", "tls-client to use");
const ALLOWED_PEERS: Param = list("allowedpeers", "nodes that may be at the other end; all if not given");
const REDIAL: Param = Param::new("redial", Kind::Bool, "open a lost connection again").default("true");

pub(in crate::config) static TCP_LISTENER: Action = Action::new(
    "tcp-listener",
    "Accept peers over TCP",
    &[BIND_ADDR, PORT, TLS_SERVER, COST, NODE_COST, ALLOWED_PEERS],
);

pub(in crate::config) static UDP_LISTENER: Action =
    Action::new("udp-listener", "Accept peers over UDP", &[BIND_ADDR, PORT, COST, NODE_COST, ALLOWED_PEERS]);

pub(in crate::config) static WS_LISTENER: Action = Action::new(
    "ws-listener",
    "Accept peers over WebSocket",
    &[BIND_ADDR, PORT, text("path", "path of the WebSocket").default("/"), TLS_SERVER, COST, NODE_COST, ALLOWED_PEERS],
);

const ADDRESS: Param = text("address", "HOST:PORT to connect to").required().bare("Address");

pub(in crate::config) static TCP_PEER: Action =
    Action::new("tcp-peer", "Connect to a peer over TCP", &[ADDRESS, REDIAL, TLS_CLIENT, COST, ALLOWED_PEERS]);

pub(in crate::config) static UDP_PEER: Action =
    Action::new("udp-peer", "Connect to a peer over UDP", &[ADDRESS, REDIAL, COST, ALLOWED_PEERS]);

pub(in crate::config) static WS_PEER: Action = Action::new(
    "ws-peer",
    "Connect to a peer over WebSocket",
    &[
        text("address", "URL to connect to").required().bare("Address"),
        REDIAL,
        text("extraheader", "header KEY:VALUE to send"),
        TLS_CLIENT,
        COST,
        ALLOWED_PEERS,
    ],
);

const SERVICE: Param = text("service", "service to offer on the mesh").required();
const REMOTE_NODE: Param = text("remotenode", "node to connect to").required();
const REMOTE_SERVICE: Param = text("remoteservice", "service to connect to").required();

pub(in crate::config) static COMMAND_SERVICE: Action = Action::new(
    "command-service",
    "Run a command for each connection to a service",
    &[SERVICE, text("command", "command line to run").required(), TLS_SERVER],
);

pub(in crate::config) static TCP_SERVER: Action = Action::new(
    "tcp-server",
    "Bridge a local TCP port to a service of the mesh",
    &[
        int("port", "port to bind").required(),
        BIND_ADDR,
        REMOTE_NODE,
        REMOTE_SERVICE,
        text("tlsserver", "tls-server for the port"),
        text("tlsclient", "tls-client for the connection over the mesh"),
    ],
);

pub(in crate::config) static UDP_SERVER: Action = Action::new(
    "udp-server",
    "Bridge a local UDP port to a service of the mesh",
    &[int("port", "port to bind").required(), BIND_ADDR, REMOTE_NODE, REMOTE_SERVICE],
);

pub(in crate::config) static TCP_CLIENT: Action = Action::new(
    "tcp-client",
    "Bridge a service of the mesh to a TCP address",
    &[
        SERVICE,
        text("address", "HOST:PORT to connect to").required(),
        text("tlsserver", "tls-server for the service"),
        text("tlsclient", "tls-client for the connection"),
    ],
);

pub(in crate::config) static UDP_CLIENT: Action = Action::new(
    "udp-client",
    "Bridge a service of the mesh to a UDP address",
    &[SERVICE, text("address", "HOST:PORT to send to").required()],
);

pub(in crate::config) static UNIX_SOCKET_SERVER: Action = Action::new(
    "unix-socket-server",
    "Bridge a local Unix socket to a service of the mesh",
    &[
        file("filename", "path of the socket").required(),
        int("permissions", "mode of the socket").default("0600"),
        REMOTE_NODE,
        REMOTE_SERVICE,
        TLS_CLIENT,
    ],
);

pub(in crate::config) static UNIX_SOCKET_CLIENT: Action = Action::new(
    "unix-socket-client",
    "Bridge a service of the mesh to a local Unix socket",
    &[SERVICE, file("filename", "path of the socket").required(), TLS_SERVER],
);

pub(in crate::config) static IP_ROUTER: Action = Action::new(
    "ip-router",
    "Route IP packets over the mesh",
    &[
        text("networkname", "name of the network").required(),
        text("interface", "name of the tunnel interface"),
        text("localnet", "local network, as in 10.0.0.0/30").required(),
        text("routes", "networks to advertise, separated by commas"),
    ],
);

//! Bridges between local sockets or commands and services of the mesh (mesh-protocol 8.2): `tcp-server`, `tcp-client`,
//! `udp-server`, `udp-client`, `unix-socket-server`, `unix-socket-client`, `command-service`; and `ip-router` (8.3).
//!
//! [`Bridges::open`] binds everything, so that what cannot be had is told before the node serves; [`Bridges::serve`]
//! starts the tasks. A connection that ends in one direction goes on in the other; one that breaks is broken on the other
//! side, too, so that nobody takes half of something for the whole.

mod command;
mod flows;
mod inward;
mod ip_router;
mod join;
mod outward;
#[cfg(test)]
mod tests;
mod udp;

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};

use tokio::{
    net::{TcpListener, UdpSocket, UnixListener},
    task::spawn_blocking,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use worknode_mesh::{
    Advertised, DatagramSocket, ListenError, Listener, MeshHandle,
    tls::{Client, Named, Server, TlsError},
};
use worknode_protocol::{
    config::model::mesh::{Bridge, MeshConfig},
    shell,
};

use self::{
    inward::{Door, Inward, Target},
    ip_router::{IpRouter, IpRouterError},
    outward::{Outward, Way},
    udp::{UdpIn, UdpOut},
};
use crate::control::unix_socket::{UnixSocket, UnixSocketError};

/// Connections of one bridge at a time; more wait to be accepted.
const MOST_CONNECTIONS: usize = 4096;

/// Why a bridge cannot be opened. `Display` follows `Error: `.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// A local TCP port.
    #[error("error listening on TCP: listen tcp {address}: bind: {}", words(.fault))]
    Tcp {
        /// Address and port.
        address: String,
        /// The system's words.
        fault: io::Error,
    },
    /// A local UDP port.
    #[error("error listening on UDP: listen udp {address}: bind: {}", words(.fault))]
    Udp {
        /// Address and port.
        address: String,
        /// The system's words.
        fault: io::Error,
    },
    /// A Unix socket.
    #[error("error opening Unix socket: {0}")]
    Unix(#[from] UnixSocketError),
    /// A service name.
    #[error("error listening on Receptor network: {0}")]
    Service(#[from] ListenError),
    /// A command line that cannot be split, or is empty.
    #[error("error in command-service {service}: {why}")]
    Command {
        /// The service.
        service: String,
        /// What is wrong.
        why: String,
    },
    /// An IP router.
    #[error(transparent)]
    IpRouter(#[from] IpRouterError),
    /// A name that no TLS settings have.
    #[error("unknown TLS config {0}")]
    UnknownTls(String),
    /// The authorities of the system.
    #[error("error preparing tls client config: {0}")]
    Tls(#[from] TlsError),
    /// The system refused something else.
    #[error(transparent)]
    System(#[from] io::Error),
}

fn words(fault: &io::Error) -> String {
    let text = fault.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// Bridges whose local sockets are bound and whose services are offered; nobody is served yet.
#[derive(Default)]
pub struct Bridges {
    inward: Vec<Inward>,
    outward: Vec<Outward>,
    udp_in: Vec<UdpIn>,
    udp_out: Vec<UdpOut>,
    ip_routers: Vec<IpRouter>,
    /// Their files go when these are dropped.
    sockets: Vec<UnixSocket>,
}

impl Bridges {
    /// Opens the configured bridges and routers, in their order.
    ///
    /// # Errors
    /// The first that cannot be opened.
    pub async fn open(config: &MeshConfig, mesh: &MeshHandle, tls: &Arc<Named>) -> Result<Self, BridgeError> {
        let mut opened = Self::default();
        for bridge in &config.bridges {
            opened.add(bridge, mesh, tls).await?;
        }
        for router in &config.ip_routers {
            opened.ip_routers.push(IpRouter::open(router, mesh).await?);
        }
        Ok(opened)
    }

    async fn add(&mut self, bridge: &Bridge, mesh: &MeshHandle, tls: &Arc<Named>) -> Result<(), BridgeError> {
        match bridge {
            Bridge::PortIn { udp: true, bind_addr, port, remote_node, remote_service, .. } => {
                let socket = bind_udp(bind_addr, *port).await?;
                self.udp_in.push(UdpIn::new(socket, mesh.clone(), remote_node, remote_service));
            }
            Bridge::PortIn { bind_addr, port, remote_node, remote_service, tls_server, tls_client, .. } => {
                let (server, client) = (server(tls, tls_server)?, client(tls, tls_client).await?);
                let door = Door::Tcp(bind_tcp(bind_addr, *port).await?, server);
                let target = Target { node: remote_node.clone(), service: remote_service.clone(), tls: client };
                self.inward.push(Inward { door, target, mesh: mesh.clone() });
            }
            Bridge::SocketIn { filename, permissions, remote_node, remote_service, tls: name } => {
                let tls = client(tls, name).await?;
                let (listener, socket) = bind_unix(filename.clone(), *permissions).await?;
                self.sockets.push(socket);
                let target = Target { node: remote_node.clone(), service: remote_service.clone(), tls };
                self.inward.push(Inward { door: Door::Unix(listener), target, mesh: mesh.clone() });
            }
            Bridge::PortOut { udp: true, service, address, .. } => {
                let tags = tags("UDP Proxy", Some(("address", address.clone())));
                let socket: DatagramSocket = mesh.datagrams(service, Some(tags)).await?;
                self.udp_out.push(UdpOut::new(socket, address.clone()));
            }
            Bridge::PortOut { service, address, tls_server, tls_client, .. } => {
                let tags = tags("TCP Proxy", Some(("address", address.clone())));
                let (server, client) = (server(tls, tls_server)?, client(tls, tls_client).await?);
                let streams = mesh.listen(service, server, Some(tags)).await?;
                self.offer(streams, service, Way::Tcp(address.clone(), client));
            }
            Bridge::SocketOut { service, filename, tls: name } => {
                let tags = tags("Unix Proxy", Some(("filename", filename.display().to_string())));
                let streams = mesh.listen(service, server(tls, name)?, Some(tags)).await?;
                self.offer(streams, service, Way::Unix(filename.clone()));
            }
            Bridge::Command { service, command, tls: name } => {
                let wrong = |why: String| BridgeError::Command { service: service.clone(), why };
                let words = shell::split(command).map_err(|fault| wrong(fault.to_string()))?;
                if words.is_empty() {
                    return Err(wrong("the command is empty".to_owned()));
                }
                let streams = mesh.listen(service, server(tls, name)?, Some(tags("Command Service", None))).await?;
                self.offer(streams, service, Way::Command(words.into()));
            }
        }
        Ok(())
    }

    fn offer(&mut self, streams: Listener, service: &str, way: Way) {
        self.outward.push(Outward { streams, service: service.to_owned(), way: Arc::new(way) });
    }

    /// Serves until `stop`. The sockets' files are there until the answer is dropped.
    pub fn serve(self, tasks: &TaskTracker, stop: &CancellationToken) -> Vec<UnixSocket> {
        for bridge in self.inward {
            tasks.spawn(bridge.serve(tasks.clone(), stop.clone()));
        }
        for bridge in self.outward {
            tasks.spawn(bridge.serve(tasks.clone(), stop.clone()));
        }
        for bridge in self.udp_in {
            tasks.spawn(bridge.serve(tasks.clone(), stop.clone()));
        }
        for bridge in self.udp_out {
            tasks.spawn(bridge.serve(tasks.clone(), stop.clone()));
        }
        for router in self.ip_routers {
            tasks.spawn(router.serve(stop.clone()));
        }
        self.sockets
    }
}

/// What other nodes are told of a bridge (mesh-protocol 5).
fn tags(kind: &str, more: Option<(&str, String)>) -> Advertised {
    let kind = ("type".to_owned(), kind.to_owned());
    let tags = BTreeMap::from_iter([kind].into_iter().chain(more.map(|(name, value)| (name.to_owned(), value))));
    Advertised { tags, work_commands: None }
}

fn server(tls: &Named, name: &Option<String>) -> Result<Option<Arc<Server>>, BridgeError> {
    let Some(name) = name else { return Ok(None) };
    tls.server(name).map(Some).ok_or_else(|| BridgeError::UnknownTls(name.clone()))
}

/// `default` is always there: without settings of that name, the system's authorities, whose files are read.
async fn client(tls: &Arc<Named>, name: &Option<String>) -> Result<Option<Arc<Client>>, BridgeError> {
    let Some(name) = name else { return Ok(None) };
    let (tls, wanted) = (Arc::clone(tls), name.clone());
    let found = spawn_blocking(move || tls.client(&wanted)).await.map_err(io::Error::other)??;
    found.map(Some).ok_or_else(|| BridgeError::UnknownTls(name.clone()))
}

/// `host:port`, an IPv6 address in brackets.
fn joined(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

async fn bind_tcp(host: &str, port: u16) -> Result<TcpListener, BridgeError> {
    let address = joined(host, port);
    TcpListener::bind(&address).await.map_err(|fault| BridgeError::Tcp { address, fault })
}

async fn bind_udp(host: &str, port: u16) -> Result<UdpSocket, BridgeError> {
    let address = joined(host, port);
    UdpSocket::bind(&address).await.map_err(|fault| BridgeError::Udp { address, fault })
}

async fn bind_unix(path: PathBuf, mode: u32) -> Result<(UnixListener, UnixSocket), BridgeError> {
    let opening = spawn_blocking(move || UnixSocket::open(&path, mode));
    let mut socket = opening.await.map_err(io::Error::other)??;
    let listener = socket.take_listener().ok_or_else(|| io::Error::other("the listener was taken"))?;
    Ok((UnixListener::from_std(listener)?, socket))
}

//! Backends and bridges of the mesh.

use crate::config::error::{CheckError, Phase};
use crate::config::model::mesh::{Backend, Bridge, IpRouter, Listener, Peer, Transport};

use super::reader::Reader;

impl Reader<'_, '_> {
    pub(super) fn listener(&mut self) {
        let transport = self.transport();
        let listener = Listener {
            bind_addr: self.item.text("bindaddr").to_owned(),
            port: self.port(if transport == Transport::Udp { "udp" } else { "tcp" }).unwrap_or_default(),
            path: if transport == Transport::WebSocket { self.item.text("path").to_owned() } else { "/".to_owned() },
            tls: if transport == Transport::Udp { None } else { self.tls_server_name("tls") },
            cost: self.cost(),
            node_cost: self.item.costs("nodecost"),
            allowed_peers: self.item.list("allowedpeers").to_vec(),
            transport,
        };
        for (node, cost) in &listener.node_cost {
            if !is_cost(*cost) {
                self.refuse(Phase::Prepare, "nodecost", CheckError::NodeCost(node.clone()));
            }
        }
        self.builder.parts.mesh.backends.push(Backend::Listener(listener));
    }

    pub(super) fn peer(&mut self) {
        let transport = self.transport();
        let peer = Peer {
            address: self.item.text("address").to_owned(),
            redial: self.item.flag("redial"),
            tls: if transport == Transport::Udp { None } else { self.tls_client_name("tls") },
            extra_header: if transport == Transport::WebSocket { self.extra_header() } else { None },
            cost: self.cost(),
            allowed_peers: self.item.list("allowedpeers").to_vec(),
            transport,
        };
        let checked = match peer.transport {
            Transport::WebSocket => check_url(&peer.address).map_err(|error| (Phase::Prepare, error)),
            _ => check_host_port(&peer.address).map_err(|error| (Phase::Run, error)),
        };
        if let Err((phase, error)) = checked {
            self.refuse(phase, "address", error);
        }
        self.builder.parts.mesh.backends.push(Backend::Peer(peer));
    }

    fn transport(&self) -> Transport {
        match self.item.action.name.split('-').next() {
            Some("udp") => Transport::Udp,
            Some("ws") => Transport::WebSocket,
            _ => Transport::Tcp,
        }
    }

    fn port(&mut self, network: &'static str) -> Option<u16> {
        let given = self.item.int("port")?;
        let port = u16::try_from(given).ok();
        if port.is_none() {
            self.refuse(Phase::Run, "port", CheckError::Port { network, port: given });
        }
        port
    }

    fn cost(&mut self) -> f64 {
        let cost = self.item.float("cost").unwrap_or(1.0);
        if !is_cost(cost) {
            self.refuse(Phase::Prepare, "cost", CheckError::Cost);
        }
        cost
    }

    fn extra_header(&mut self) -> Option<String> {
        let header = self.item.filled("extraheader")?;
        if !header.contains(':') {
            self.refuse(Phase::Prepare, "extraheader", CheckError::ExtraHeader);
        }
        Some(header)
    }

    pub(super) fn bridge(&mut self) {
        let bridge = match self.item.action.name {
            "command-service" => Bridge::Command {
                service: self.owned("service"),
                command: self.owned("command"),
                tls: self.tls_server_name("tls"),
            },
            "tcp-server" => self.port_in(false),
            "udp-server" => self.port_in(true),
            "tcp-client" => self.port_out(false),
            "udp-client" => self.port_out(true),
            "unix-socket-server" => Bridge::SocketIn {
                filename: self.item.path("filename").unwrap_or_default(),
                permissions: self.socket_mode().unwrap_or(0o600),
                remote_node: self.owned("remotenode"),
                remote_service: self.owned("remoteservice"),
                tls: self.tls_client_name("tls"),
            },
            _ => Bridge::SocketOut {
                service: self.owned("service"),
                filename: self.item.path("filename").unwrap_or_default(),
                tls: self.tls_server_name("tls"),
            },
        };
        self.builder.parts.mesh.bridges.push(bridge);
    }

    fn port_in(&mut self, udp: bool) -> Bridge {
        Bridge::PortIn {
            udp,
            bind_addr: self.owned("bindaddr"),
            port: self.port(if udp { "udp" } else { "tcp" }).unwrap_or_default(),
            remote_node: self.owned("remotenode"),
            remote_service: self.owned("remoteservice"),
            tls_server: if udp { None } else { self.tls_server_name("tlsserver") },
            tls_client: if udp { None } else { self.tls_client_name("tlsclient") },
        }
    }

    fn port_out(&mut self, udp: bool) -> Bridge {
        let address = self.owned("address");
        if let Err(error) = check_host_port(&address) {
            self.refuse(Phase::Run, "address", error);
        }
        Bridge::PortOut {
            udp,
            service: self.owned("service"),
            address,
            tls_server: if udp { None } else { self.tls_server_name("tlsserver") },
            tls_client: if udp { None } else { self.tls_client_name("tlsclient") },
        }
    }

    fn owned(&self, key: &str) -> String {
        self.item.text(key).to_owned()
    }

    pub(super) fn ip_router(&mut self) {
        let router = IpRouter {
            network_name: self.item.text("networkname").to_owned(),
            interface: self.item.filled("interface"),
            local_net: self.item.text("localnet").to_owned(),
            routes: self.item.filled("routes"),
        };
        self.builder.parts.mesh.ip_routers.push(router);
    }
}

/// Costs are added up along a way, so that only finite ones above zero make sense.
fn is_cost(cost: f64) -> bool {
    cost > 0.0 && cost.is_finite()
}

/// Checks `host:port` and `[host]:port` as Go's `net.SplitHostPort` does.
fn check_host_port(address: &str) -> Result<(), CheckError> {
    let fault = |fault| Err(CheckError::Address { address: address.to_owned(), fault });
    let Some((host, _)) = address.rsplit_once(':') else {
        return fault("missing port in address");
    };
    if let Some(rest) = address.strip_prefix('[') {
        let Some((_, after)) = rest.split_once(']') else {
            return fault("missing ']' in address");
        };
        return match after.strip_prefix(':') {
            None => fault("missing port in address"),
            Some(port) if port.contains(':') => fault("too many colons in address"),
            Some(_) => Ok(()),
        };
    }
    if host.contains(':') { fault("too many colons in address") } else { Ok(()) }
}

/// Checks the URL of a WebSocket.
fn check_url(address: &str) -> Result<(), CheckError> {
    let fault = |fault| Err(CheckError::Url { address: address.to_owned(), fault });
    match address.split_once("://") {
        Some(("ws" | "wss", rest)) if rest.split('/').next().is_some_and(|host| !host.is_empty()) => Ok(()),
        Some(("ws" | "wss", _)) => fault("no host in URL"),
        Some(_) => fault("scheme must be ws or wss"),
        None if address.contains(':') => fault("first path segment in URL cannot contain colon"),
        None => fault("scheme must be ws or wss"),
    }
}

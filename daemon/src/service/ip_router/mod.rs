//! IP packets through the mesh: `ip-router` (mesh-protocol 8.3).
//!
//! Packets that the system routes to a tun device go, as they are, as datagrams to the cheapest node that advertises their
//! destination, and come out of its tun device. Every node of the network learns the others' networks from their
//! advertisements, and gives the system a route for each.

mod network;
mod route;
mod tun;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use worknode_mesh::{Advertised, DatagramSocket, ListenError, MeshHandle};
use worknode_protocol::{config::model::mesh::IpRouter as Settings, control::NodeStatus};

use self::{network::Network, route::Link, tun::Tun};

/// How often advertisements are looked at (mesh-protocol 8.3).
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Networks of other nodes that one router knows; more are left out.
const MOST_NETWORKS: usize = 4096;
/// Longest packet that a tun device gives.
const LONGEST: usize = 64 * 1024;
/// What an advertisement of a router says of itself.
const KIND: &str = "IP Router";

/// Why a router cannot be opened. `Display` follows `Error: `.
#[derive(Debug, thiserror::Error)]
pub enum IpRouterError {
    /// Not an address and a length.
    #[error("could not parse {0} as a CIDR address")]
    Cidr(String),
    /// The own network must be that of a link between two.
    #[error("local network {0} must be a /30 CIDR")]
    Length(String),
    /// The own network must be of the old kind.
    #[error("local network {0} must be IPv4")]
    Version(String),
    /// The device.
    #[error("error opening tun device: {0}")]
    Tun(io::Error),
    /// Its address, or the device's start.
    #[error("error adding IP address to link: {0}")]
    Link(io::Error),
    /// The service.
    #[error("error listening for service {0}: {1}")]
    Service(String, ListenError),
}

/// A router that is open; no packet has moved yet.
pub(super) struct IpRouter {
    name: String,
    mesh: MeshHandle,
    socket: DatagramSocket,
    tun: Tun,
    link: Arc<Link>,
    /// Networks of other nodes, each with the node that has it.
    known: Vec<(Network, String)>,
    /// What the system was told, and what it would not have.
    told: BTreeSet<Network>,
    refused: BTreeSet<Network>,
}

impl IpRouter {
    /// Makes the device, gives it its address and tells the other nodes.
    ///
    /// # Errors
    /// See [`IpRouterError`]; the device is gone then.
    pub(super) async fn open(settings: &Settings, mesh: &MeshHandle) -> Result<Self, IpRouterError> {
        let (own, peer, local) = link_addresses(&settings.local_net)?;
        let mut tags = BTreeMap::from([
            ("type".to_owned(), KIND.to_owned()),
            ("network".to_owned(), settings.network_name.clone()),
            ("route_local".to_owned(), local.to_string()),
        ]);
        let routes = settings.routes.as_deref().unwrap_or_default();
        for (number, text) in routes.split(',').filter(|text| !text.is_empty()).enumerate() {
            let network = Network::parse(text).ok_or_else(|| IpRouterError::Cidr(text.to_owned()))?;
            tags.insert(format!("route_{number}"), network.to_string());
        }
        let tun = Tun::open(settings.interface.as_deref()).map_err(IpRouterError::Tun)?;
        let link = Link::of(tun.name(), peer).map_err(IpRouterError::Link)?;
        link.set_up(own).map_err(IpRouterError::Link)?;
        let name = settings.network_name.clone();
        let socket = mesh.datagrams(&name, Some(Advertised { tags, work_commands: None })).await;
        let socket = socket.map_err(|fault| IpRouterError::Service(name.clone(), fault))?;
        let (known, told, refused) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        Ok(Self { name, mesh: mesh.clone(), socket, tun, link: Arc::new(link), known, told, refused })
    }

    /// Routes until told to stop. The device goes then, and the routes with it.
    pub(super) async fn serve(mut self, stop: CancellationToken) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut block = vec![0; LONGEST];
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = look.tick() => self.learn().await,
                read = self.tun.read(&mut block) => match read {
                    Ok(length) => self.send(block.get(..length).unwrap_or_default()),
                    Err(fault) => return warn!("ip-router {}: the tun device is gone: {fault}", self.name),
                },
                packet = self.socket.receive() => {
                    // The system checks packets itself; what it will not have is lost.
                    if let Err(fault) = self.tun.write(&packet.payload) {
                        debug!("packet from {} was lost: {fault}", packet.node);
                    }
                }
            }
        }
    }

    /// Sends a packet to the cheapest node that has its destination; of several networks there, to the narrowest.
    fn send(&self, packet: &[u8]) {
        let Some(destination) = network::destination(packet) else { return };
        let ways = self.known.iter().filter(|(network, _)| network.contains(destination));
        let ways = ways.filter_map(|(network, node)| Some((self.mesh.cost_to(node)?, network.length(), node)));
        let best = ways.min_by(|one, other| one.0.total_cmp(&other.0).then(other.1.cmp(&one.1)));
        if let Some((_, _, node)) = best
            && let Err(fault) = self.socket.send(node, &self.name, packet)
        {
            debug!("packet to {destination} by {node} was lost: {fault}");
        }
    }

    /// Looks at the advertisements, and tells the system what is new.
    async fn learn(&mut self) {
        self.known = networks_of(&self.mesh.status().await, &self.name, self.mesh.node());
        let wanted: BTreeSet<_> = self.known.iter().map(|(network, _)| *network).collect();
        self.refused.retain(|network| wanted.contains(network));
        let old: Vec<_> = self.told.difference(&wanted).copied().collect();
        let new: Vec<_> =
            wanted.iter().filter(|it| !self.told.contains(it) && !self.refused.contains(it)).copied().collect();
        if old.is_empty() && new.is_empty() {
            return;
        }
        let link = Arc::clone(&self.link);
        let telling = spawn_blocking(move || {
            let removed: Vec<_> = old.into_iter().map(|network| (network, link.remove_route(network))).collect();
            let added: Vec<_> = new.into_iter().map(|network| (network, link.add_route(network))).collect();
            (removed, added)
        });
        let Ok((removed, added)) = telling.await else { return };
        for (network, result) in removed {
            self.told.remove(&network);
            if let Err(fault) = result {
                warn!("ip-router {}: route to {network} not removed: {fault}", self.name);
            }
        }
        for (network, result) in added {
            match result {
                Ok(()) => {
                    self.told.insert(network);
                }
                Err(fault) => {
                    self.refused.insert(network);
                    warn!("ip-router {}: no route to {network}: {fault}", self.name);
                }
            }
        }
    }
}

/// The two addresses of the link, and its network: the first and the second after its own (mesh-protocol 8.3).
fn link_addresses(text: &str) -> Result<(Ipv4Addr, Ipv4Addr, Network), IpRouterError> {
    let local = Network::parse(text).ok_or_else(|| IpRouterError::Cidr(text.to_owned()))?;
    if local.length() != 30 {
        return Err(IpRouterError::Length(text.to_owned()));
    }
    let IpAddr::V4(first) = local.address() else { return Err(IpRouterError::Version(text.to_owned())) };
    let at = |offset| Ipv4Addr::from(u32::from(first).wrapping_add(offset));
    Ok((at(1), at(2), local))
}

/// The networks that other nodes advertise for `name` and that can be reached.
fn networks_of(status: &NodeStatus, name: &str, own: &str) -> Vec<(Network, String)> {
    let mut known = Vec::new();
    for ad in status.advertisements.iter().filter(|ad| ad.node_id != own) {
        let Some(tags) = &ad.tags else { continue };
        let is = |tag: &str, value: &str| tags.get(tag).is_some_and(|found| found == value);
        if !is("type", KIND) || !is("network", name) || !status.routing_table.contains_key(&ad.node_id) {
            continue;
        }
        let networks = tags.iter().filter(|(tag, _)| tag.starts_with("route"));
        known.extend(networks.filter_map(|(_, text)| Some((Network::parse(text)?, ad.node_id.clone()))));
    }
    known.truncate(MOST_NETWORKS);
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_has_the_two_addresses_of_its_network() {
        let (own, peer, local) = link_addresses("10.9.1.6/30").unwrap();
        assert_eq!((own.to_string(), peer.to_string()), ("10.9.1.5".to_owned(), "10.9.1.6".to_owned()));
        assert_eq!(local.to_string(), "10.9.1.4/30");
        let refused = |text: &str| link_addresses(text).unwrap_err().to_string();
        assert_eq!(refused("10.9.1.0"), "could not parse 10.9.1.0 as a CIDR address");
        assert_eq!(refused("10.9.1.0/29"), "local network 10.9.1.0/29 must be a /30 CIDR");
        assert_eq!(refused("fd00::/30"), "local network fd00::/30 must be IPv4");
    }
}

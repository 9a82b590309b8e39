//! Addresses and routes of a device, told to the system by rtnetlink. What is told goes with the device.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    os::fd::OwnedFd,
};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice::name_to_index, recv, send, socket_with,
};

use super::network::Network;

const ERROR: u16 = 2;
const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const REMOVE_ROUTE: u16 = 25;
/// A request that is answered.
const REQUEST: u16 = 0x1 | 0x4;
/// Something new; what is there already stays.
const CREATE: u16 = 0x200 | 0x400;
const IPV4: u8 = 2;
const IPV6: u8 = 10;
const UP: u32 = 1;
const MAIN_TABLE: u8 = 254;
const STATIC: u8 = 4;
const UNICAST: u8 = 1;
/// Attributes of addresses and of routes.
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const DESTINATION: u16 = 1;
const DEVICE: u16 = 4;
const GATEWAY: u16 = 5;
/// Length of a message's header.
const HEADER: usize = 16;

/// A device whose addresses and routes can be changed.
pub(super) struct Link {
    system: OwnedFd,
    index: u32,
    /// The address at its other end.
    peer: Ipv4Addr,
}

impl Link {
    /// The device of this name.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn of(name: &str, peer: Ipv4Addr) -> io::Result<Self> {
        let system = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        let any = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        Ok(Self { index: name_to_index(&any, name)?, system, peer })
    }

    /// Gives the device its own address and its peer's, and starts it.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn set_up(&self, own: Ipv4Addr) -> io::Result<()> {
        let mut address = vec![IPV4, 32, 0, 0];
        address.extend(self.index.to_ne_bytes());
        attribute(&mut address, LOCAL, &own.octets());
        attribute(&mut address, ADDRESS, &self.peer.octets());
        self.ask(NEW_ADDRESS, CREATE, &address)?;
        let mut link = vec![0; 4];
        link.extend(self.index.to_ne_bytes());
        link.extend(UP.to_ne_bytes());
        link.extend(UP.to_ne_bytes());
        self.ask(NEW_LINK, 0, &link)
    }

    /// Adds a route to a network, by the peer. A route to it that is there, by whatever device, stays as it is.
    ///
    /// # Errors
    /// The system's; mostly there is such a route.
    pub(super) fn add_route(&self, network: Network) -> io::Result<()> {
        self.ask(NEW_ROUTE, CREATE, &self.route(network))
    }

    /// Removes a route that was added.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn remove_route(&self, network: Network) -> io::Result<()> {
        self.ask(REMOVE_ROUTE, 0, &self.route(network))
    }

    fn route(&self, network: Network) -> Vec<u8> {
        let family = if network.address().is_ipv4() { IPV4 } else { IPV6 };
        let mut route = vec![family, network.length(), 0, 0, MAIN_TABLE, STATIC, 0, UNICAST, 0, 0, 0, 0];
        match network.address() {
            IpAddr::V4(address) => {
                attribute(&mut route, DESTINATION, &address.octets());
                attribute(&mut route, GATEWAY, &self.peer.octets());
            }
            // The peer has no address of this kind, and needs none: the device has two ends.
            IpAddr::V6(address) => attribute(&mut route, DESTINATION, &address.octets()),
        }
        attribute(&mut route, DEVICE, &self.index.to_ne_bytes());
        route
    }

    /// Asks the system for something and waits for its answer, which comes at once.
    fn ask(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(HEADER.saturating_add(body.len())).map_err(io::Error::other)?;
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend((REQUEST | flags).to_ne_bytes());
        // Number and sender: one request at a time, answered to this socket.
        message.extend([0; 8]);
        message.extend(body);
        send(&self.system, &message, SendFlags::empty())?;
        let mut answer = [0; 4096];
        let (length, _) = recv(&self.system, &mut answer, RecvFlags::empty())?;
        verdict(answer.get(..length).unwrap_or_default())
    }
}

/// Appends an attribute, whose length is a multiple of four here.
fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len().saturating_add(4)).unwrap_or_default();
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
}

/// What the system says to a request: a number, zero for yes.
fn verdict(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).and_then(|bytes| <[u8; 2]>::try_from(bytes).ok()).map(u16::from_ne_bytes);
    let number = answer.get(HEADER..20).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map(i32::from_ne_bytes);
    match (kind, number) {
        (Some(ERROR), Some(0)) => Ok(()),
        (Some(ERROR), Some(error)) => Err(io::Error::from_raw_os_error(error.wrapping_neg())),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the system's answer cannot be read")),
    }
}

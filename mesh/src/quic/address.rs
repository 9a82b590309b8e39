//! QUIC speaks to socket addresses. A node's hash and a service name are just as long as an IPv6 address: no table is
//! needed to get from one to the other, and so none can grow.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use worknode_protocol::mesh::ServiceName;

/// Any port will do, as it is never looked at; 0 is taken for a mistake.
const PORT: u16 = 1;

/// The address that stands for a service of a node, given by the hash of its name.
pub(super) fn of(node: u64, service: ServiceName) -> SocketAddr {
    let [a, b, c, d, e, f, g, h] = node.to_be_bytes();
    let [i, j, k, l, m, n, o, p] = service.to_wire();
    SocketAddr::new(IpAddr::V6(Ipv6Addr::from([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])), PORT)
}

/// The service of a node that an address stands for.
pub(super) fn parse(address: SocketAddr) -> Option<(u64, ServiceName)> {
    let IpAddr::V6(ip) = address.ip() else { return None };
    let octets = ip.octets();
    let (node, service) = (octets.first_chunk()?, octets.last_chunk()?);
    Some((u64::from_be_bytes(*node), ServiceName::from_wire(*service)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_service_of_each_node_has_its_address(node: u64, service: [u8; 8]) {
            let service = ServiceName::from_wire(service);
            prop_assert_eq!(parse(of(node, service)), Some((node, service)));
        }
    }
}

//! Networks of IP addresses, and where a packet wants to go.

use std::{fmt, net::IpAddr};

/// A network: an address and how many of its first bits matter; the others are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Network {
    address: IpAddr,
    length: u8,
}

impl Network {
    /// Reads `ADDRESS/LENGTH`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let length = length.parse().ok().filter(|length| length <= &bits(address))?;
        Some(Self { address: masked(address, length), length })
    }

    pub(super) fn address(self) -> IpAddr {
        self.address
    }

    pub(super) fn length(self) -> u8 {
        self.length
    }

    pub(super) fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && masked(address, self.length) == self.address
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(u32::from(32_u8.saturating_sub(length))).unwrap_or(0);
            IpAddr::from((u32::from(address) & mask).to_be_bytes())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(u32::from(128_u8.saturating_sub(length))).unwrap_or(0);
            IpAddr::from((u128::from(address) & mask).to_be_bytes())
        }
    }
}

/// The destination in a packet's header, IPv4 or IPv6.
pub(super) fn destination(packet: &[u8]) -> Option<IpAddr> {
    let address = |at: usize, length: usize| packet.get(at..at.checked_add(length)?);
    match packet.first()? >> 4 {
        4 => <[u8; 4]>::try_from(address(16, 4)?).map(IpAddr::from).ok(),
        6 => <[u8; 16]>::try_from(address(24, 16)?).map(IpAddr::from).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn networks_are_read_and_shown() {
        let shown = |text: &str| Network::parse(text).map(|network| network.to_string());
        assert_eq!(shown("10.1.2.3/8").unwrap(), "10.0.0.0/8");
        assert_eq!(shown("0.0.0.0/0").unwrap(), "0.0.0.0/0");
        assert_eq!(shown("fd00::1/64").unwrap(), "fd00::/64");
        for text in ["10.0.0.0", "10.0.0.0/33", "fd00::/129", "/8", "a/8", "10.0.0.0/-1", ""] {
            assert_eq!(shown(text), None, "{text}");
        }
        let network = Network::parse("10.9.0.0/16").unwrap();
        for (address, inside) in [("10.9.255.1", true), ("10.8.0.1", false), ("::ffff:10.9.0.1", false)] {
            assert_eq!(network.contains(address.parse().unwrap()), inside, "{address}");
        }
    }

    #[test]
    fn the_destination_stands_in_the_header() {
        let mut packet = [0; 40];
        packet[0] = 0x45;
        packet[16..20].copy_from_slice(&[10, 9, 2, 1]);
        assert_eq!(destination(&packet), Some([10, 9, 2, 1].into()));
        assert_eq!(destination(&packet[..19]), None);
        packet[0] = 0x60;
        packet[24..].copy_from_slice(&[0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(destination(&packet), Some("fd00::1".parse().unwrap()));
        assert_eq!(destination(&[0x55; 40]), None);
    }

    proptest! {
        #[test]
        fn any_text_and_any_packet_is_answered(text in ".{0,40}", packet in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(network) = Network::parse(&text) {
                prop_assert!(network.contains(network.address()));
                prop_assert_eq!(Network::parse(&network.to_string()), Some(network));
            }
            destination(&packet);
        }
    }
}

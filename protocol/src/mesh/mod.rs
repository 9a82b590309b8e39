//! The mesh on the wire, as receptor speaks it: message types, the data header, and the JSON of routing (mesh-protocol 3
//! to 6). Nothing here does I/O or keeps state.
//!
//! The first byte of a message is its [`MessageType`]. Data has a binary header ([`DataHeader`]); all else is JSON as Go
//! writes it, read with Go's tolerance: names in any case, unknown names passed over, `null` for what is left out.

mod advertisement;
mod hash;
mod header;
mod read;
mod service;
mod unreachable;
mod update;

pub use advertisement::{ConnType, ServiceAdvertisement};
pub use hash::name_hash;
pub use header::{DataHeader, HEADER_LENGTH, HeaderError, take_hop};
pub use read::MessageError;
pub use service::{SERVICE_NAME_LENGTH, ServiceName, ServiceNameError};
pub use unreachable::{Problem, Unreachable};
pub use update::{Extension, RoutingUpdate};

/// The reserved service that answers every datagram with an empty one (mesh-protocol 6).
pub const PING_SERVICE: &str = "ping";

/// The reserved service that takes notices about datagrams that did not arrive (mesh-protocol 6).
pub const UNREACHABLE_SERVICE: &str = "unreach";

/// With how many hops a message starts (mesh-protocol 3.2).
pub const MAX_HOPS: u8 = 30;

/// Longest message that every backend can carry, in bytes: one UDP datagram (mesh-protocol 1.2). A TCP frame could hold
/// 28 bytes more.
pub const MAX_MESSAGE_LENGTH: usize = 65_507;

/// What a call or a notice says when no way to a node is known (mesh-protocol 3.2).
pub const NO_ROUTE: &str = "no route to node";

/// A reject message, whole: the answer to a peer that is not wanted (mesh-protocol 2).
pub const REJECT: &[u8] = b"\x03[]";

/// What a message is, told by its first byte (mesh-protocol 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageType {
    /// A datagram: [`DataHeader`] and payload.
    Data,
    /// A [`RoutingUpdate`].
    Routing,
    /// A [`ServiceAdvertisement`].
    Advertisement,
    /// [`REJECT`].
    Reject,
}

impl MessageType {
    /// The type of `message`, `None` for an empty one and for types not known, which are ignored.
    pub fn of(message: &[u8]) -> Option<Self> {
        match message.first()? {
            0 => Some(Self::Data),
            1 => Some(Self::Routing),
            2 => Some(Self::Advertisement),
            3 => Some(Self::Reject),
            _ => None,
        }
    }

    /// The byte with which messages of this type begin.
    pub fn byte(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Routing => 1,
            Self::Advertisement => 2,
            Self::Reject => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of mesh-protocol 3.
    #[test]
    fn the_first_byte_is_the_type() {
        let types = [MessageType::Data, MessageType::Routing, MessageType::Advertisement, MessageType::Reject];
        for (byte, message_type) in (0..).zip(types) {
            assert_eq!(MessageType::of(&[byte, 9]), Some(message_type));
            assert_eq!(message_type.byte(), byte);
        }
        assert_eq!(MessageType::of(&[4]), None);
        assert_eq!(MessageType::of(&[]), None);
        assert_eq!(MessageType::of(REJECT), Some(MessageType::Reject));
    }
}

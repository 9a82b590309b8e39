use super::{MessageType, ServiceName};

/// Length of the header before the payload of a data message, in bytes (mesh-protocol 3).
pub const HEADER_LENGTH: usize = 36;

/// The header of a data message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataHeader {
    /// How many nodes may still forward the message.
    pub hops_to_live: u8,
    /// [`name_hash`](super::name_hash) of the node it comes from.
    pub from_node: u64,
    /// [`name_hash`](super::name_hash) of the node it goes to.
    pub to_node: u64,
    /// Service it comes from.
    pub from_service: ServiceName,
    /// Service it goes to.
    pub to_service: ServiceName,
}

/// Why bytes are no data message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Fewer than [`HEADER_LENGTH`] bytes.
    #[error("data too short to be a valid message")]
    TooShort,
    /// The first byte is another type's.
    #[error("not a data message")]
    NotData,
}

impl DataHeader {
    /// Reads the header of `message`, and gives the payload behind it.
    ///
    /// # Errors
    /// If `message` is too short or of another type.
    pub fn decode(message: &[u8]) -> Result<(Self, &[u8]), HeaderError> {
        if message.first().is_some_and(|byte| *byte != MessageType::Data.byte()) {
            return Err(HeaderError::NotData);
        }
        let parts = || {
            let (&[_, hops_to_live, _, _], rest) = message.split_first_chunk::<4>()?;
            let (&from_node, rest) = rest.split_first_chunk::<8>()?;
            let (&to_node, rest) = rest.split_first_chunk::<8>()?;
            let (&from_service, rest) = rest.split_first_chunk::<8>()?;
            let (&to_service, payload) = rest.split_first_chunk::<8>()?;
            let header = Self {
                hops_to_live,
                from_node: u64::from_be_bytes(from_node),
                to_node: u64::from_be_bytes(to_node),
                from_service: ServiceName::from_wire(from_service),
                to_service: ServiceName::from_wire(to_service),
            };
            Some((header, payload))
        };
        parts().ok_or(HeaderError::TooShort)
    }

    /// The header as it stands before the payload.
    pub fn encode(&self) -> [u8; HEADER_LENGTH] {
        let [a, b, c, d, e, f, g, h] = self.from_node.to_be_bytes();
        let [i, j, k, l, m, n, o, p] = self.to_node.to_be_bytes();
        let [q, r, s, t, u, v, w, x] = self.from_service.to_wire();
        let [y, z, aa, ab, ac, ad, ae, af] = self.to_service.to_wire();
        let hops = self.hops_to_live;
        #[rustfmt::skip]
        let bytes = [
            MessageType::Data.byte(), hops, 0, 0,
            a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p,
            q, r, s, t, u, v, w, x, y, z, aa, ab, ac, ad, ae, af,
        ];
        bytes
    }
}

/// Takes one hop from `message`, in place, as a node does that forwards it (mesh-protocol 3.2).
///
/// `false` if there is none left, or no header: then the message must not be forwarded.
#[must_use]
pub fn take_hop(message: &mut [u8]) -> bool {
    match message {
        [0, hops, ..] if *hops > 0 => {
            *hops -= 1;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mesh::name_hash;

    /// The table of mesh-protocol 3, with hashes of 3.1.
    fn example() -> (DataHeader, Vec<u8>) {
        let header = DataHeader {
            hops_to_live: 29,
            from_node: name_hash("gonode"),
            to_node: name_hash("node1"),
            from_service: ServiceName::parse("ping").unwrap(),
            to_service: ServiceName::parse("uWTAlgE3").unwrap(),
        };
        let mut bytes = vec![0, 29, 0, 0];
        bytes.extend(0xfc93_93bd_9ab3_4eba_u64.to_be_bytes());
        bytes.extend(0x6105_2d2b_582e_b15e_u64.to_be_bytes());
        bytes.extend(b"ping\0\0\0\0uWTAlgE3");
        (header, bytes)
    }

    #[test]
    fn the_header_stands_as_in_the_reference() {
        let (header, bytes) = example();
        assert_eq!(bytes.len(), HEADER_LENGTH);
        assert_eq!(header.encode(), *bytes);
        assert_eq!(DataHeader::decode(&bytes), Ok((header, &b""[..])));
        let with_payload = [bytes, b"payload".to_vec()].concat();
        assert_eq!(DataHeader::decode(&with_payload), Ok((header, &b"payload"[..])));
    }

    #[test]
    fn bytes_two_and_three_are_not_looked_at() {
        let (header, mut bytes) = example();
        bytes[2] = 7;
        bytes[3] = 9;
        assert_eq!(DataHeader::decode(&bytes), Ok((header, &b""[..])));
    }

    #[test]
    fn what_is_short_or_of_another_type_is_refused() {
        let (_, mut bytes) = example();
        for length in 0..HEADER_LENGTH {
            assert_eq!(DataHeader::decode(&bytes[..length]), Err(HeaderError::TooShort));
        }
        bytes[0] = 1;
        assert_eq!(DataHeader::decode(&bytes), Err(HeaderError::NotData));
    }

    #[test]
    fn a_hop_is_taken_until_none_is_left() {
        let (_, mut bytes) = example();
        bytes[1] = 1;
        assert!(take_hop(&mut bytes));
        assert_eq!(bytes[1], 0);
        assert!(!take_hop(&mut bytes));
        assert!(!take_hop(&mut []));
        assert!(!take_hop(&mut [0]));
        assert!(!take_hop(&mut [1, 5]));
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(mut message in proptest::collection::vec(any::<u8>(), 36..80)) {
            message[0] = 0;
            message[2] = 0;
            message[3] = 0;
            let (header, payload) = DataHeader::decode(&message).unwrap();
            prop_assert_eq!(&header.encode(), &message[..36]);
            prop_assert_eq!(payload, &message[36..]);
        }

        #[test]
        fn no_bytes_make_it_panic(mut message in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = DataHeader::decode(&message);
            let _ = take_hop(&mut message);
        }
    }
}

//! Any bytes as a message of the mesh: read without a panic, and what was read is read again from what is written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use worknode_protocol::mesh::{
    DataHeader, MAX_MESSAGE_LENGTH, MessageType, RoutingUpdate, ServiceAdvertisement, Unreachable, take_hop,
};

fuzz_target!(|message: &[u8]| {
    if let Ok((header, payload)) = DataHeader::decode(message) {
        assert_eq!(MessageType::of(message), Some(MessageType::Data));
        let mut written = [&header.encode()[..], payload].concat();
        assert_eq!(DataHeader::decode(&written), Ok((header, payload)));
        assert_eq!(take_hop(&mut written), header.hops_to_live > 0);
    }
    if let Ok(update) = RoutingUpdate::decode(message) {
        assert!(update.connections.values().all(|cost| *cost >= 0.0 && cost.is_finite()));
        if let Some(written) = update.encode() {
            assert!(written.len() <= MAX_MESSAGE_LENGTH);
            assert_eq!(RoutingUpdate::decode(&written), Ok(update));
        }
    }
    if let Ok(ad) = ServiceAdvertisement::decode(message)
        && let Some(written) = ad.encode()
    {
        assert_eq!(ServiceAdvertisement::decode(&written), Ok(ad));
    }
    if let Ok(notice) = Unreachable::decode(message) {
        assert_eq!(Unreachable::decode(&notice.encode()), Ok(notice));
    }
});

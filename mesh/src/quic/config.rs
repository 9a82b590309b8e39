//! The parameters of QUIC (mesh-protocol 7.2, 7.3, 13.2).

use std::{sync::Arc, time::Duration};

use quinn::{
    ClientConfig, EndpointConfig, MtuDiscoveryConfig, ServerConfig, TransportConfig, VarInt,
    congestion::CubicConfig,
    crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig},
};

/// The longest packets. Longer ones gain little, and a slow link is busy with each. A receptor node announces that it
/// takes 1452 bytes, and gets no more.
pub(super) const LARGEST_PACKET: u16 = 16_384;
/// What every node takes.
const SMALLEST_PACKET: u16 = 1200;
/// How many packets may be on their way before the first answer: the library's ten are of the smallest size, and one
/// long packet alone would have to wait.
const FIRST_PACKETS: u64 = 32;
/// What a way there and back is taken to last until one was measured. A first packet that is lost, as the other node does not
/// know the way back yet (mesh-protocol 3.1), is sent again after three times as long.
const FIRST_RTT: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_secs(30);
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What a peer may send before it is read.
const WINDOW: u32 = 6 * 1024 * 1024;

/// What is kept here of a stream until the peer has it, before it is known to write much.
const FIRST_SEND_WINDOW: u64 = 256 * 1024;
/// What one that writes much may at least use, if there are few.
const USEFUL_SEND_WINDOW: u64 = 512 * 1024;
/// What may be kept of a stream however many there are.
const SMALLEST_SEND_WINDOW: u64 = 128 * 1024;
/// What may be kept of all streams together, as long as each has more than the smallest window.
const SEND_WINDOWS: u64 = 32 * 1024 * 1024;

/// What is kept here of a stream until the peer has it: twice what may be on its way, so that there is always something to
/// send, and so that many streams over one slow link do not fill the memory. `writers` are the streams that share what all
/// may keep; one that has never written much is none, so that idle ones take nothing from those at work.
pub(super) fn send_window(congestion_window: u64, writers: usize) -> u64 {
    let wanted = congestion_window.saturating_mul(2).clamp(USEFUL_SEND_WINDOW, u64::from(WINDOW));
    let share = SEND_WINDOWS.checked_div(writers.try_into().unwrap_or(u64::MAX)).unwrap_or(SEND_WINDOWS);
    wanted.min(share.max(SMALLEST_SEND_WINDOW))
}

/// The side of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Dialer,
    Acceptor,
}

/// What all endpoints have in common. `max_udp_payload_size` is what the peer learns: a receptor node does not look at
/// it, one of ours sends packets up to it where the links on the way carry them.
pub(super) fn endpoint() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    // Refused only where it is less than what every node takes.
    let _ = config.max_udp_payload_size(LARGEST_PACKET);
    config
}

/// `largest`: the longest packets to be tried.
fn transport(side: Side, largest: u16) -> TransportConfig {
    let largest = largest.clamp(SMALLEST_PACKET, LARGEST_PACKET);
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(largest);
    let mut congestion = CubicConfig::default();
    congestion.initial_window(FIRST_PACKETS * u64::from(largest));
    let mut config = TransportConfig::default();
    config
        .initial_rtt(FIRST_RTT)
        .initial_mtu(SMALLEST_PACKET)
        .min_mtu(SMALLEST_PACKET)
        .mtu_discovery_config(Some(discovery))
        .max_idle_timeout(Some(VarInt::from_u32(u32::try_from(IDLE.as_millis()).unwrap_or(u32::MAX)).into()))
        .keep_alive_interval((side == Side::Dialer).then_some(KEEP_ALIVE))
        .max_concurrent_bidi_streams(VarInt::from_u32(u32::from(side == Side::Acceptor)))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .congestion_controller_factory(Arc::new(congestion))
        .stream_receive_window(VarInt::from_u32(WINDOW))
        .receive_window(VarInt::from_u32(WINDOW))
        .send_window(FIRST_SEND_WINDOW)
        .datagram_receive_buffer_size(None)
        .enable_segmentation_offload(false);
    config
}

/// For one connection that is opened.
pub(super) fn client(tls: Arc<rustls::ClientConfig>, largest: u16) -> Result<ClientConfig, NoInitialCipherSuite> {
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport(Side::Dialer, largest)));
    Ok(config)
}

/// For one connection that is accepted.
pub(super) fn server(tls: Arc<rustls::ServerConfig>, largest: u16) -> Result<ServerConfig, NoInitialCipherSuite> {
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport(Side::Acceptor, largest))).migration(false);
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;

    #[test]
    fn one_stream_may_keep_what_its_way_can_use() {
        assert_eq!(send_window(20 * KIB, 1), 512 * KIB);
        assert_eq!(send_window(MIB, 1), 2 * MIB);
        assert_eq!(send_window(100 * MIB, 5), 6 * MIB);
        assert_eq!(send_window(100 * MIB, 0), 6 * MIB);
    }

    #[test]
    fn many_streams_together_keep_no_more_than_the_node_can_spare() {
        assert_eq!(send_window(100 * MIB, 32), MIB);
        for writers in [6, 200, 256] {
            let all = send_window(100 * MIB, writers) * u64::try_from(writers).unwrap();
            assert!(all <= SEND_WINDOWS, "{writers}: {all}");
        }
        assert_eq!(send_window(100 * MIB, 4_096), 128 * KIB);
    }
}

//! Links over a pipe, with made-up time.

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::watch,
    task::JoinHandle,
};
use worknode_protocol::config::model::mesh::{Peer, Transport};

use super::*;
use crate::{
    backend::{BackendTls, Io, Redial},
    datagram::View,
};

/// A link that is used, the peer's end of its pipe, and what the driver is told.
struct Used {
    peer: DuplexStream,
    commands: mpsc::Receiver<Command>,
    shared: Arc<Link>,
    stop: CancellationToken,
    served: JoinHandle<bool>,
}

fn settings() -> BackendSettings {
    let backend = Backend::Peer(Peer {
        transport: Transport::Tcp,
        address: String::new(),
        redial: true,
        tls: None,
        extra_header: None,
        cost: 3.0,
        allowed_peers: vec!["peer".to_owned()],
    });
    BackendSettings { backend, tls: BackendTls::Off, redial: Redial::default() }
}

async fn use_link() -> Used {
    let (_, view) = watch::channel(View::default());
    let (driver, mut commands) = mpsc::channel(8);
    let forwarder = Arc::new(Forwarder::new("own".to_owned(), None, view));
    let links = Links { forwarder, driver, idle: IDLE, next: Arc::new(AtomicU64::new(7)) };
    let (near, peer) = tokio::io::duplex(1 << 20);
    let connection = Connection::frames(Io::Tls(Box::new(near)), "a pipe".to_owned(), Some(vec!["peer".to_owned()]));
    let stop = CancellationToken::new();
    let token = stop.clone();
    let served = tokio::spawn(async move { links.serve(connection, &settings(), token).await });
    let Some(Command::Opened { link, settings, shared }) = commands.recv().await else { panic!("not opened") };
    assert_eq!((link, settings.cost), (LinkId(7), 3.0));
    assert_eq!(settings.allowed_peers, ["peer"]);
    assert_eq!(settings.certified, Some(vec!["peer".to_owned()]));
    Used { peer, commands, shared, stop, served }
}

/// mesh-protocol 4.5: 21 s, checked each 5 s.
#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_given_up() {
    let mut used = use_link().await;
    let began = Instant::now();
    assert!(matches!(used.commands.recv().await, Some(Command::Closed { link: LinkId(7) })));
    let took = began.elapsed().as_secs_f64();
    assert!((21.0..26.0).contains(&took), "{took}");
    assert!(!used.served.await.unwrap(), "the peer never accepted us");
}

#[tokio::test(start_paused = true)]
async fn any_message_keeps_a_link_alive() {
    let mut used = use_link().await;
    let began = Instant::now();
    // Of a type that nobody knows: it is ignored, and yet the peer is there.
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(15)).await;
        used.peer.write_all(b"\x01\0\x63").await.unwrap();
    }
    assert!(matches!(used.commands.recv().await, Some(Command::Closed { .. })));
    assert!(began.elapsed() >= Duration::from_secs(75 + 20));
}

#[tokio::test(start_paused = true)]
async fn routing_goes_to_the_driver_and_data_waits_for_the_peers_name() {
    let mut used = use_link().await;
    let inbox = |used: &Used| used.shared.up.load(Ordering::Relaxed);
    assert!(!inbox(&used));
    // Too short to be data, empty, unknown, and then a routing update that cannot be read either: the router's business.
    used.peer.write_all(b"\x01\0\0\0\0\x01\0\x77\x02\0\x01{").await.unwrap();
    let Some(Command::Received { message, .. }) = used.commands.recv().await else { panic!("nothing came") };
    assert_eq!(message, "\x01{");
    used.shared.confirmed.store(true, Ordering::Relaxed);
    drop(used.peer);
    assert!(matches!(used.commands.recv().await, Some(Command::Closed { .. })));
    assert!(used.served.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_sent_before_a_link_is_ended() {
    for by_router in [true, false] {
        let mut used = use_link().await;
        used.shared.outbox.push_routing(Bytes::from_static(b"\x03[]"));
        if by_router {
            used.shared.outbox.close();
        } else {
            used.stop.cancel();
        }
        let mut sent = Vec::new();
        used.peer.read_to_end(&mut sent).await.unwrap();
        assert_eq!(sent, b"\x03\0\x03[]");
        drop(used.peer);
        used.served.await.unwrap();
    }
}

/// A peer that takes nothing cannot keep a link from ending.
#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_not_waited_for() {
    let used = use_link().await;
    let flow = [0; 32];
    while used.shared.outbox.push_flow(&flow, Bytes::from(vec![0; 60_000])) == crate::datagram::Queued::Yes {}
    used.stop.cancel();
    let began = Instant::now();
    used.served.await.unwrap();
    assert!(began.elapsed() <= Duration::from_secs(2));
}

//! Backends against each other and against raw sockets. Each connection echoes.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use worknode_protocol::config::model::mesh::{Backend, Listener, Peer, Transport};

use super::*;

const LONG: Duration = Duration::from_secs(10);

/// A listener on a free port.
fn listener(transport: Transport) -> BackendSettings {
    settings(Backend::Listener(Listener {
        transport,
        bind_addr: "127.0.0.1".to_owned(),
        port: 0,
        path: "/".to_owned(),
        tls: None,
        cost: 1.0,
        node_cost: Default::default(),
        allowed_peers: Vec::new(),
    }))
}

/// A peer at an address.
fn peer(transport: Transport, address: SocketAddr) -> BackendSettings {
    let address = if transport == Transport::WebSocket { format!("ws://{address}/") } else { address.to_string() };
    let (tls, extra_header) = (None, None);
    settings(Backend::Peer(Peer {
        transport,
        address,
        redial: true,
        tls,
        extra_header,
        cost: 1.0,
        allowed_peers: Vec::new(),
    }))
}

fn settings(backend: Backend) -> BackendSettings {
    let redial = Redial { first: Duration::from_millis(10), factor: 1.5, longest: Duration::from_millis(50) };
    BackendSettings { backend, tls: BackendTls::Off, redial }
}

/// Sends back what comes.
#[derive(Clone)]
struct Echo;

impl Serve for Echo {
    async fn serve(&self, mut connection: Connection, _: &BackendSettings, stop: CancellationToken) -> bool {
        while let Some(Ok(Some(message))) = stop.run_until_cancelled(connection.reader.next()).await {
            connection.writer.send(&[message.freeze()]).await.unwrap();
        }
        let _ = connection.writer.close().await;
        true
    }
}

/// Gives connections to the test.
#[derive(Clone)]
struct Give(mpsc::Sender<Connection>);

impl Serve for Give {
    async fn serve(&self, connection: Connection, _: &BackendSettings, _: CancellationToken) -> bool {
        self.0.send(connection).await.is_ok()
    }
}

async fn start<S: Serve>(settings: BackendSettings, serve: S) -> Running {
    Running::start(settings, serve, CancellationToken::new()).await.unwrap()
}

async fn next(connection: &mut Connection) -> Option<bytes::BytesMut> {
    timeout(LONG, connection.reader.next()).await.unwrap().unwrap()
}

/// A connection of a peer to an echoing listener.
async fn connected(transport: Transport) -> (Running, Running, mpsc::Receiver<Connection>, Connection) {
    let hub = start(listener(transport.clone()), Echo).await;
    let (give, mut given) = mpsc::channel(1);
    let leaf = start(peer(transport, hub.address().unwrap()), Give(give)).await;
    let connection = timeout(LONG, given.recv()).await.unwrap().unwrap();
    (hub, leaf, given, connection)
}

#[tokio::test]
async fn messages_of_all_sizes_pass_over_each_transport() {
    for transport in [Transport::Tcp, Transport::Udp, Transport::WebSocket] {
        let (hub, _leaf, _given, mut connection) = connected(transport.clone()).await;
        let longest = connection.writer.longest();
        for size in [1, 2, 1_000, 40_000, longest] {
            // The UDP listener knows a peer by its first routing update.
            let message = Bytes::from(vec![1_u8; size]);
            connection.writer.send(std::slice::from_ref(&message)).await.unwrap();
            assert_eq!(next(&mut connection).await.unwrap(), message, "{transport:?} {size}");
        }
        let batch: Vec<Bytes> = (1..=40_u8).map(|i| Bytes::from(vec![i; usize::from(i) * 10])).collect();
        connection.writer.send(&batch).await.unwrap();
        for message in &batch {
            assert_eq!(next(&mut connection).await.unwrap(), message, "{transport:?}");
        }
        timeout(LONG, hub.stop()).await.unwrap();
    }
}

#[tokio::test]
async fn a_stopped_listener_ends_its_connections_and_frees_its_port() {
    for transport in [Transport::Tcp, Transport::WebSocket] {
        let (hub, leaf, _given, mut connection) = connected(transport.clone()).await;
        timeout(LONG, hub.stop()).await.unwrap();
        assert_eq!(next(&mut connection).await, None, "{transport:?}");
        timeout(LONG, leaf.stop()).await.unwrap();
        let mut again = listener(transport);
        if let Backend::Listener(listener) = &mut again.backend {
            listener.port = hub.address().unwrap().port();
        }
        start(again, Echo).await;
    }
}

#[tokio::test]
async fn a_lost_peer_is_dialled_again() {
    let (_hub, _leaf, mut given, first) = connected(Transport::Tcp).await;
    drop(first);
    let mut second = timeout(LONG, given.recv()).await.unwrap().unwrap();
    second.writer.send(&[Bytes::from_static(b"x")]).await.unwrap();
    assert_eq!(next(&mut second).await.unwrap(), "x");
}

#[tokio::test]
async fn a_peer_that_is_not_there_is_dialled_until_it_is() {
    let first = start(listener(Transport::Tcp), Echo).await;
    let address = first.address().unwrap();
    first.stop().await;
    let (give, mut given) = mpsc::channel(1);
    let _leaf = start(peer(Transport::Tcp, address), Give(give)).await;
    let mut second = listener(Transport::Tcp);
    if let Backend::Listener(listener) = &mut second.backend {
        listener.port = address.port();
    }
    let _second = start(second, Echo).await;
    assert!(timeout(LONG, given.recv()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_port_in_use_is_told() {
    let hub = start(listener(Transport::Tcp), Echo).await;
    let mut other = listener(Transport::Tcp);
    if let Backend::Listener(listener) = &mut other.backend {
        listener.port = hub.address().unwrap().port();
    }
    let error = Running::start(other, Echo, CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().starts_with("listen tcp 127.0.0.1:"), "{error}");
    assert!(error.to_string().ends_with(": bind: address already in use"), "{error}");
}

/// A connection that breaks the rules ends alone.
#[tokio::test]
async fn garbage_ends_at_most_its_own_connection() {
    let (hub, _leaf, _given, mut good) = connected(Transport::Tcp).await;
    let mut bad = TcpStream::connect(hub.address().unwrap()).await.unwrap();
    bad.write_all(b"\0\0\xff\xffabc").await.unwrap();
    bad.shutdown().await.unwrap();
    let mut rest = Vec::new();
    timeout(LONG, bad.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.is_empty());
    good.writer.send(&[Bytes::from_static(b"still here")]).await.unwrap();
    assert_eq!(next(&mut good).await.unwrap(), "still here");
}

#[tokio::test]
async fn a_request_from_a_foreign_page_is_answered_with_403() {
    let hub = start(listener(Transport::WebSocket), Echo).await;
    let mut socket = TcpStream::connect(hub.address().unwrap()).await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: hub\r\nOrigin: http://evil\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(LONG, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
}

#[tokio::test]
async fn udp_takes_no_stranger_that_does_not_begin_with_a_routing_update() {
    let hub = start(listener(Transport::Udp), Echo).await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(hub.address().unwrap()).await.unwrap();
    let mut buffer = [0; 10];
    for message in [&b""[..], b"garbage", b"\x01update", b"", b"data"] {
        socket.send(message).await.unwrap();
    }
    for answer in [&b"\x01update"[..], b"data"] {
        let length = timeout(LONG, socket.recv(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(&buffer[..length], answer);
    }
}

//! Nodes for tests.

use std::{future::Future, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};
use worknode_mesh::{
    Echo, Listener, MeshHandle, Settings, Stream,
    backend::{BackendSettings, BackendTls, Redial},
};
use worknode_protocol::{
    config::model::mesh::{self, Backend, Peer, Transport},
    id::NodeId,
};

/// No wait in these tests is longer, unless the time itself is what is tested.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// How long one of several probes is waited for, and when the next one is sent.
const ANSWER: Duration = Duration::from_millis(500);
const AGAIN: Duration = Duration::from_millis(5);

/// A mesh of one node, without links.
pub(crate) fn node(name: &str) -> MeshHandle {
    let node: NodeId = name.parse().unwrap();
    worknode_mesh::start(Settings { node, firewall: Vec::new(), idle: Duration::ZERO }).unwrap()
}

/// What is waited for must come in time.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(LONG, future).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

pub(crate) fn backend(backend: Backend) -> BackendSettings {
    let redial = Redial { first: Duration::from_millis(50), factor: 1.5, longest: Duration::from_millis(200) };
    BackendSettings { backend, tls: BackendTls::Off, redial }
}

/// A listener on a free port.
pub(crate) fn listener(transport: Transport) -> BackendSettings {
    backend(Backend::Listener(mesh::Listener {
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
pub(crate) fn peer(transport: Transport, address: SocketAddr) -> BackendSettings {
    let address = match transport {
        Transport::WebSocket => format!("ws://{address}/"),
        Transport::Tcp | Transport::Udp => address.to_string(),
    };
    let (tls, extra_header) = (None, None);
    backend(Backend::Peer(Peer {
        transport,
        address,
        redial: true,
        tls,
        extra_header,
        cost: 1.0,
        allowed_peers: Vec::new(),
    }))
}

/// Has a node listen.
pub(crate) async fn listen(node: &MeshHandle, transport: Transport) -> SocketAddr {
    soon("a listener", node.set_backends(vec![listener(transport)])).await.unwrap()[0].unwrap()
}

/// Has a node dial.
pub(crate) async fn connect(node: &MeshHandle, transport: Transport, address: SocketAddr) {
    soon("a peer", node.set_backends(vec![peer(transport, address)])).await.unwrap();
}

/// Two nodes, a and b, and a link between them.
pub(crate) async fn pair(transport: Transport) -> (MeshHandle, MeshHandle) {
    let (a, b) = (node("a"), node("b"));
    let address = listen(&a, transport.clone()).await;
    connect(&b, transport, address).await;
    reaches(&b, "a").await;
    reaches(&a, "b").await;
    (a, b)
}

/// Waits until a node can send to another, and has an answer.
pub(crate) async fn reaches(from: &MeshHandle, to: &str) {
    soon(&format!("a way from {} to {to}", from.node()), async {
        // The first ones may be lost: a node that knows the way here is not bound to know the way back.
        while !matches!(timeout(ANSWER, from.ping(to, MeshHandle::MOST_HOPS)).await, Ok(Echo { problem: None, .. })) {
            sleep(AGAIN).await;
        }
    })
    .await;
}

/// Echoes every stream of a service, and closes its half when the other is closed.
pub(crate) fn echo(mut listener: Listener) {
    tokio::spawn(async move {
        while let Some((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(stream);
                if tokio::io::copy(&mut read, &mut write).await.is_ok() {
                    let _ = write.shutdown().await;
                }
            });
        }
    });
}

/// Sends bytes, closes, and reads to the end.
pub(crate) async fn exchange(stream: &mut Stream, bytes: &[u8]) -> Vec<u8> {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut answer = Vec::new();
    let (sent, received) = soon("an exchange", async {
        tokio::join!(
            async {
                write.write_all(bytes).await?;
                write.shutdown().await
            },
            read.read_to_end(&mut answer)
        )
    })
    .await;
    sent.unwrap();
    received.unwrap();
    answer
}

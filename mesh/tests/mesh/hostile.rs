//! Peers that keep to no rules. Whatever they send ends at most their own link.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use worknode_mesh::MeshHandle;
use worknode_protocol::{
    config::model::mesh::Transport,
    mesh::{DataHeader, MessageType, RoutingUpdate, ServiceName, name_hash},
};

use crate::nodes::*;

/// The service of the first probes.
const READY: &str = "ready";

/// A peer that knows the rules, and keeps to those it wants to.
struct Raw {
    socket: TcpStream,
    name: &'static str,
    sequence: u64,
}

impl Raw {
    async fn connect(address: SocketAddr, name: &'static str) -> Self {
        Self { socket: TcpStream::connect(address).await.unwrap(), name, sequence: 0 }
    }

    /// A peer that the node has accepted, and that has accepted the node.
    async fn join(address: SocketAddr, name: &'static str) -> Self {
        let mut raw = Self::connect(address, name).await;
        raw.send_update(BTreeMap::new()).await;
        raw.send_update([("a".to_owned(), 1.0)].into()).await;
        loop {
            let message = raw.receive().await;
            let listed = |update: &RoutingUpdate| update.node_id == "a" && update.connections.contains_key(name);
            if RoutingUpdate::decode(&message).is_ok_and(|update| listed(&update)) {
                break;
            }
        }
        // Until the node knows the way back, it answers nothing.
        loop {
            raw.send_data((name, READY), ("a", "ping"), b"").await;
            if let Ok(data) = timeout(Duration::from_millis(200), raw.next_data()).await {
                assert_eq!(data.1, READY);
                return raw;
            }
        }
    }

    async fn send_update(&mut self, connections: BTreeMap<String, f64>) {
        self.sequence += 1;
        let update = RoutingUpdate {
            node_id: self.name.to_owned(),
            update_id: format!("{:>8}", self.sequence),
            update_epoch: 1 << 54,
            update_sequence: self.sequence,
            connections,
            forwarding_node: self.name.to_owned(),
            ..RoutingUpdate::default()
        };
        self.send(&update.encode().unwrap()).await;
    }

    async fn send(&mut self, message: &[u8]) {
        let length = u16::try_from(message.len()).unwrap().to_le_bytes();
        self.socket.write_all(&length).await.unwrap();
        self.socket.write_all(message).await.unwrap();
    }

    async fn receive(&mut self) -> Vec<u8> {
        let length = soon("a frame", self.socket.read_u16_le()).await.unwrap();
        let mut message = vec![0; usize::from(length)];
        soon("a message", self.socket.read_exact(&mut message)).await.unwrap();
        message
    }

    async fn send_data(&mut self, from: (&str, &str), to: (&str, &str), payload: &[u8]) {
        let header = DataHeader {
            hops_to_live: 9,
            from_node: name_hash(from.0),
            to_node: name_hash(to.0),
            from_service: ServiceName::parse(from.1).unwrap(),
            to_service: ServiceName::parse(to.1).unwrap(),
        };
        self.send(&[&header.encode(), payload].concat()).await;
    }

    /// The next datagram for this peer that is no late answer to the first probes.
    async fn receive_data(&mut self) -> (String, String, Vec<u8>) {
        loop {
            let data = self.next_data().await;
            if data.1 != READY {
                return data;
            }
        }
    }

    /// The next datagram for this peer: from which service, to which, and what it carries.
    async fn next_data(&mut self) -> (String, String, Vec<u8>) {
        loop {
            let message = self.receive().await;
            if MessageType::of(&message) == Some(MessageType::Data) {
                let (header, payload) = DataHeader::decode(&message).unwrap();
                return (header.from_service.to_string(), header.to_service.to_string(), payload.to_vec());
            }
        }
    }
}

/// Two nodes with a link; the address is that of a listener of `a`.
async fn victims() -> (MeshHandle, MeshHandle, SocketAddr) {
    let (a, b) = (node("a"), node("b"));
    let address = listen(&a, Transport::Tcp).await;
    connect(&b, Transport::Tcp, address).await;
    reaches(&b, "a").await;
    reaches(&a, "b").await;
    echo(a.listen("echo", None, None).await.unwrap());
    (a, b, address)
}

/// The others can still use their link.
async fn unharmed(a: &MeshHandle, b: &MeshHandle) {
    let mut stream = soon("a dial", b.dial("a", "echo", None)).await.unwrap();
    assert_eq!(exchange(&mut stream, b"hello").await, b"hello");
    assert_eq!(a.status().await.routing_table["b"], "b");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_from_a_stranger_harms_nobody() {
    let (a, b, address) = victims().await;
    let nested = [b"\x01{\"NodeID\":".as_slice(), &[b'['; 60_000]].concat();
    let long_name = format!("\u{1}{{\"NodeID\":\"{0}\",\"ForwardingNode\":\"{0}\"}}", "x".repeat(30_000));
    let messages: [&[u8]; 12] = [
        b"",
        b"\0",
        b"\0\x1e\0\0short",
        b"\x01",
        b"\x01{}",
        b"\x01{\"NodeID\":\"x\"",
        b"\x01{\"NodeID\":7,\"ForwardingNode\":[]}",
        b"\x02null",
        b"\x63whatever",
        &[0xff; 65_535],
        &nested,
        long_name.as_bytes(),
    ];
    for message in messages {
        let mut raw = Raw::connect(address, "raw").await;
        raw.send(message).await;
        // After a greeting, too.
        raw.send_update(BTreeMap::new()).await;
        let length = u16::try_from(message.len()).unwrap().to_le_bytes();
        // The node may have ended the link by now.
        let _ = raw.socket.write_all(&[&length, message].concat()).await;
    }
    let mut raw = Raw::connect(address, "raw").await;
    raw.send(b"\x03[]").await;
    // A rejected link is ended: the rest of what it had to say, then the end.
    soon("its end", raw.socket.read_to_end(&mut Vec::new())).await.unwrap();
    unharmed(&a, &b).await;
}

/// Two nodes would answer each other for ever.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_probe_is_not_answered() {
    let (a, _b, address) = victims().await;
    let mut raw = Raw::join(address, "raw").await;
    raw.send_data(("raw", "ping"), ("a", "ping"), b"").await;
    raw.send_data(("raw", "unreach"), ("a", "ping"), b"").await;
    raw.send_data(("raw", "unreach"), ("a", "nothere"), b"").await;
    raw.send_data(("raw", "unreach"), ("a", "unreach"), b"{}").await;
    raw.send_data(("raw", "probe"), ("a", "ping"), b"").await;
    assert_eq!(raw.receive_data().await, ("ping".to_owned(), "probe".to_owned(), Vec::new()));
    let none = timeout(Duration::from_millis(300), raw.receive_data()).await;
    assert!(none.is_err(), "{none:?}");
    assert_eq!(a.dropped().no_service, 1);
}

/// mesh-protocol 6
#[tokio::test(flavor = "multi_thread")]
async fn a_datagram_to_a_service_that_is_not_there_is_told() {
    let (_a, _b, address) = victims().await;
    let mut raw = Raw::join(address, "raw").await;
    raw.send_data(("raw", "mine"), ("a", "nothere"), b"x").await;
    let (from, to, payload) = raw.receive_data().await;
    assert_eq!((from.as_str(), to.as_str()), ("unreach", "unreach"));
    assert_eq!(
        String::from_utf8(payload).unwrap(),
        r#"{"FromNode":"raw","ToNode":"a","FromService":"mine","ToService":"nothere","Problem":"service unknown"}"#
    );
}

/// QUIC packets that are none, and some that come in the name of another node.
#[tokio::test(flavor = "multi_thread")]
async fn forged_packets_harm_no_stream() {
    let (a, b, address) = victims().await;
    let mut raw = Raw::join(address, "raw").await;
    let mut service = a.listen("svc", None, None).await.unwrap();
    let mut near = soon("a dial", b.dial("a", "svc", None)).await.unwrap();
    let (mut far, _) = soon("a stream", service.accept()).await.unwrap();
    for i in 0..3000_u32 {
        let first = i.to_le_bytes()[0];
        let payload: Vec<u8> = (0..i % 1500).map(|j| if j == 0 { first } else { (i * 31 + j * 17) as u8 }).collect();
        let from = [("raw", "mine"), ("b", "mine"), ("nobody", "mine")][i as usize % 3];
        raw.send_data(from, ("a", ["svc", "echo", "ping"][i as usize % 3]), &payload).await;
    }
    near.write_all(b"not disturbed").await.unwrap();
    near.shutdown().await.unwrap();
    let mut text = String::new();
    soon("the text", far.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "not disturbed");
    unharmed(&a, &b).await;
}

/// What a peer sends faster than its target takes it is dropped, and nobody else waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_dropped_and_counted() {
    let (a, b, address) = victims().await;
    let mut raw = Raw::join(address, "raw").await;
    let _slow = a.datagrams("slow", None).await.unwrap();
    for _ in 0..1000 {
        raw.send_data(("raw", "mine"), ("a", "slow"), &[0; 30_000]).await;
    }
    soon("drops", async {
        while a.dropped().no_room == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    unharmed(&a, &b).await;
}

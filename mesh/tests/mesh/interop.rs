//! With a real Go node, over each transport and in both roles.

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use worknode_mesh::MeshHandle;
use worknode_protocol::config::model::mesh::Transport;

use crate::{
    go::{self, Go},
    nodes::*,
};

const TRANSPORTS: [(Transport, &str, &str); 3] =
    [(Transport::Tcp, "tcp", ""), (Transport::Udp, "udp", ""), (Transport::WebSocket, "ws", "ws://")];

/// A port that nobody listens on at present.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What a neighbour of a Go node must be able to do.
async fn use_each_other(ours: &MeshHandle, go: &Go) {
    reaches(ours, "go").await;
    go.reaches("ours").await;

    let stream = soon("Go's control service", ours.dial("go", "control", None)).await.unwrap();
    let mut control = BufReader::new(stream);
    assert_eq!(go::line(&mut control).await, "Receptor Control, node go\n");
    control.write_all(b"status\n").await.unwrap();
    let status = go::line(&mut control).await;
    assert!(status.contains("\"KnownConnectionCosts\":{\"go\":{\"ours\":1},\"ours\":{\"go\":1}}"), "{status}");
    control.shutdown().await.unwrap();
    soon("its end", control.read_to_end(&mut Vec::new())).await.unwrap();
    assert!(control.get_ref().packet_size() <= 1452, "Go takes no more");

    echo(ours.listen("echo", None, None).await.unwrap());
    let bytes: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
    assert!(go.exchange("ours", "echo", &bytes).await == bytes);
    let refused = soon("a refusal", ours.dial("go", "nothere", None)).await.unwrap_err();
    assert_eq!(refused.to_string(), "context canceled");

    let status = ours.status().await;
    assert_eq!(status.routing_table.get("go").map(String::as_str), Some("go"));
    assert_eq!(status.known_connection_costs["go"]["ours"], 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn go_listens() {
    for (transport, name, scheme) in TRANSPORTS {
        let port = free_port();
        let listener = format!("{{{name}-listener: {{port: {port}, bindaddr: 127.0.0.1}}}}");
        let Some(go) = Go::start("go", &[listener]).await else { return };
        let ours = node("ours");
        connect(&ours, transport, ([127, 0, 0, 1], port).into()).await;
        use_each_other(&ours, &go).await;
        println!("{name}: Go listens, {scheme} works");
        soon("the end", ours.shutdown()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn go_dials() {
    for (transport, name, scheme) in TRANSPORTS {
        let ours = node("ours");
        let address = listen(&ours, transport).await;
        let Some(go) = Go::start("go", &[format!("{{{name}-peer: {{address: '{scheme}{address}'}}}}")]).await else {
            return;
        };
        use_each_other(&ours, &go).await;
        println!("{name}: Go dials, works");
        soon("the end", ours.shutdown()).await;
    }
}

/// Two nodes of ours with a Go node between them, and two Go nodes with one of ours between them.
#[tokio::test(flavor = "multi_thread")]
async fn streams_go_through_nodes_of_the_other_kind() {
    let port = free_port();
    let listener = format!("{{tcp-listener: {{port: {port}, bindaddr: 127.0.0.1}}}}");
    let Some(go) = Go::start("go", &[listener]).await else { return };
    let (ours, other) = (node("ours"), node("other"));
    for node in [&ours, &other] {
        connect(node, Transport::Tcp, ([127, 0, 0, 1], port).into()).await;
    }
    reaches(&ours, "other").await;
    reaches(&other, "ours").await;
    echo(other.listen("echo", None, None).await.unwrap());
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let mut stream = soon("a dial", ours.dial("other", "echo", None)).await.unwrap();
    assert!(exchange(&mut stream, &bytes).await == bytes);
    assert!(stream.packet_size() > 1452, "Go forwards what it would not take itself: {}", stream.packet_size());
    let hops = [("ours", 0), ("go", 1), ("other", 2)];
    for (from, hops) in hops {
        assert_eq!(soon("an echo", ours.ping("other", hops)).await.from, from);
    }
    drop(go);

    let hub = node("hub");
    let at = listen(&hub, Transport::Tcp).await;
    let actions = [format!("{{tcp-peer: {{address: '{at}'}}}}")];
    let Some(one) = Go::start("one", &actions).await else { return };
    let Some(two) = Go::start("two", &actions).await else { return };
    one.reaches("two").await;
    two.reaches("one").await;
    let answer = one.exchange("two", "control", b"ping one\n").await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("Receptor Control, node two\n"), "{answer}");
    assert!(answer.contains("\"Success\":true"), "{answer}");
    let hops = one.ask("traceroute two").await;
    for (line, node) in [("0", "one"), ("1", "hub"), ("2", "two")] {
        let place = hops.find(&format!("\"{line}\":")).unwrap();
        assert!(hops[place..].split('}').next().unwrap().contains(&format!("\"From\":\"{node}\"")), "{hops}");
    }
}

/// Go's `connect` never closes its connection and keeps it alive (mesh-protocol 12.3): we do.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_go_forgets_are_closed() {
    let ours = node("ours");
    let at = listen(&ours, Transport::Tcp).await;
    let Some(go) = Go::start("go", &[format!("{{tcp-peer: {{address: '{at}'}}}}")]).await else { return };
    go.reaches("ours").await;
    echo(ours.listen("echo", None, None).await.unwrap());
    for _ in 0..3 {
        assert_eq!(go.exchange("ours", "echo", b"hello").await, b"hello");
    }
    assert_eq!(ours.open_streams(), 3);
    let closed = async {
        while ours.open_streams() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(45), closed).await.expect("they linger for 30 s");
}

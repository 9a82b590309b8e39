//! More than two nodes.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
    time::{sleep, timeout},
};
use worknode_mesh::MeshHandle;
use worknode_protocol::{
    config::model::mesh::{Backend, Transport},
    control::PingProblem,
};

use crate::nodes::*;

/// a - b - c
async fn chain() -> [MeshHandle; 3] {
    let [a, b, c] = ["a", "b", "c"].map(node);
    let address = listen(&b, Transport::Tcp).await;
    connect(&a, Transport::Tcp, address).await;
    connect(&c, Transport::Tcp, address).await;
    reaches(&a, "c").await;
    reaches(&c, "a").await;
    [a, b, c]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_through_a_node() {
    let [a, _b, c] = chain().await;
    echo(c.listen("echo", None, None).await.unwrap());
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let mut stream = soon("a dial", a.dial("c", "echo", None)).await.unwrap();
    assert!(exchange(&mut stream, &bytes).await == bytes);
    let refused = soon("a refusal", a.dial("c", "nothere", None)).await.unwrap_err();
    assert_eq!(refused.to_string(), "context canceled");
}

/// mesh-protocol 6: line 0 is the own node.
#[tokio::test(flavor = "multi_thread")]
async fn probes_with_few_hops_tell_the_nodes_on_the_way() {
    let [a, _b, _c] = chain().await;
    let expired = Some(PingProblem::MessageExpired);
    for (hops, from, problem) in
        [(0, "a", expired.clone()), (1, "b", expired), (2, "c", None), (MeshHandle::MOST_HOPS, "c", None)]
    {
        let echo = soon("an echo", a.ping("c", hops)).await;
        assert_eq!((echo.from.as_str(), echo.problem), (from, problem), "{hops}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_the_whole_mesh() {
    let [a, b, c] = chain().await;
    let tags = [("type".to_owned(), "Control Service".to_owned())].into();
    let advertised = worknode_mesh::Advertised { tags, work_commands: None };
    let _control = c.listen("control", None, Some(advertised)).await.unwrap();
    soon("the advertisement", async {
        while a.status().await.advertisements.is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let status = a.status().await;
    assert_eq!(status.node_id, "a");
    assert_eq!(status.connections.len(), 1);
    assert_eq!(status.routing_table, [("b", "b"), ("c", "b")].map(|(to, by)| (to.to_owned(), by.to_owned())).into());
    assert_eq!(status.known_connection_costs["b"].len(), 2);
    let ad = &status.advertisements[0];
    assert_eq!((ad.node_id.as_str(), ad.service.as_str(), ad.conn_type), ("c", "control", 1));
    assert_eq!(b.status().await.connections.len(), 2);
    // An orderly end takes the advertisement back.
    soon("the end", c.shutdown()).await;
    soon("no advertisement", async {
        while !a.status().await.advertisements.is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_over_another_way_when_a_link_is_cut() {
    // A ring: b dials a, c dials both.
    let [a, b, c] = ["a", "b", "c"].map(node);
    let at_a = listen(&a, Transport::Tcp).await;
    let at_b = b.set_backends(vec![listener(Transport::Tcp), peer(Transport::Tcp, at_a)]).await.unwrap()[0].unwrap();
    let (direct, detour) = (peer(Transport::Tcp, at_a), peer(Transport::Tcp, at_b));
    c.set_backends(vec![direct, detour.clone()]).await.unwrap();
    soon("a ring", async {
        for node in [&a, &b, &c] {
            while node.status().await.connections.len() < 2 {
                sleep(Duration::from_millis(10)).await;
            }
        }
    })
    .await;
    reaches(&a, "c").await;
    assert_eq!(a.status().await.routing_table["c"], "c");

    let mut service = c.listen("svc", None, None).await.unwrap();
    let mut near = soon("a dial", a.dial("c", "svc", None)).await.unwrap();
    let (mut far, _) = soon("a stream", service.accept()).await.unwrap();
    let mut text = [0; 5];
    near.write_all(b"first").await.unwrap();
    soon("the first", far.read_exact(&mut text)).await.unwrap();
    soon("a cut", c.set_backends(vec![detour])).await.unwrap();
    near.write_all(b"other").await.unwrap();
    soon("the other", far.read_exact(&mut text)).await.unwrap();
    assert_eq!(&text, b"other");
    assert_eq!(a.status().await.routing_table["c"], "b");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_links_to_one_node_stand_in_for_each_other() {
    let (a, b) = (node("a"), node("b"));
    let addresses = a.set_backends(vec![listener(Transport::Tcp), listener(Transport::WebSocket)]).await.unwrap();
    let both = [peer(Transport::Tcp, addresses[0].unwrap()), peer(Transport::WebSocket, addresses[1].unwrap())];
    b.set_backends(both.to_vec()).await.unwrap();
    reaches(&b, "a").await;
    reaches(&a, "b").await;
    for kept in both {
        b.set_backends(vec![kept]).await.unwrap();
        reaches(&b, "a").await;
        reaches(&a, "b").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_not_allowed_is_kept_out() {
    let (a, b) = (node("a"), node("b"));
    let mut closed = listener(Transport::Tcp);
    if let Backend::Listener(listener) = &mut closed.backend {
        listener.allowed_peers = vec!["c".to_owned()];
    }
    let address = a.set_backends(vec![closed]).await.unwrap()[0].unwrap();
    connect(&b, Transport::Tcp, address).await;
    assert!(timeout(Duration::from_secs(1), reaches(&b, "a")).await.is_err());
    assert!(a.status().await.connections.is_empty());
    let c = node("c");
    connect(&c, Transport::Tcp, address).await;
    reaches(&c, "a").await;
}

/// Passes datagrams on between whoever sends to it and `to`, and loses each tenth.
async fn lossy(to: SocketAddr) -> SocketAddr {
    let (front, back) = (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let address = front.local_addr().unwrap();
    back.connect(to).await.unwrap();
    tokio::spawn(async move {
        let (mut there, mut here) = (vec![0; 65_536], vec![0; 65_536]);
        let mut from = None;
        for count in 0_u64.. {
            let lost = count % 10 == 3;
            tokio::select! {
                received = front.recv_from(&mut there) => {
                    let (length, sender) = received.unwrap();
                    from = Some(sender);
                    if !lost {
                        let _ = back.send(&there[..length]).await;
                    }
                }
                received = back.recv(&mut here) => {
                    let Ok(length) = received else { continue };
                    if let Some(from) = from.filter(|_| !lost) {
                        let _ = front.send_to(&here[..length], from).await;
                    }
                }
            }
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_link_loses_no_stream_loses() {
    let (a, b) = (node("a"), node("b"));
    let address = lossy(listen(&a, Transport::Udp).await).await;
    connect(&b, Transport::Udp, address).await;
    reaches(&b, "a").await;
    echo(a.listen("echo", None, None).await.unwrap());
    let bytes: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
    let mut stream = soon("a dial", b.dial("a", "echo", None)).await.unwrap();
    assert!(exchange(&mut stream, &bytes).await == bytes);
}

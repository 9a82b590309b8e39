//! Two nodes with one link.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use worknode_mesh::MeshHandle;
use worknode_protocol::{
    config::model::mesh::Transport,
    control::{ConnectError, PingProblem},
};

use crate::nodes::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_both_ways_over_each_transport() {
    for transport in [Transport::Tcp, Transport::Udp, Transport::WebSocket] {
        let (a, b) = pair(transport.clone()).await;
        echo(a.listen("echo", None, None).await.unwrap());
        echo(b.listen("echo", None, None).await.unwrap());
        let bytes: Vec<u8> = (0..2_000_000_u32).map(|i| (i % 251) as u8).collect();
        for (from, to) in [(&a, "b"), (&b, "a"), (&a, "a")] {
            let mut stream = soon("a dial", from.dial(to, "echo", None)).await.unwrap();
            assert!(exchange(&mut stream, &bytes).await == bytes, "{transport:?} {} {to}", from.node());
        }
        soon("the end", async { tokio::join!(a.shutdown(), b.shutdown()) }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_tell_who_answers_and_what_is_wrong() {
    let (a, _b) = pair(Transport::Tcp).await;
    let told = |echo: worknode_mesh::Echo| (echo.from, echo.problem);
    assert_eq!(told(a.ping("b", 30).await), ("b".to_owned(), None));
    assert_eq!(told(a.ping("b", 1).await), ("b".to_owned(), None));
    assert_eq!(told(a.ping("b", 0).await), ("a".to_owned(), Some(PingProblem::MessageExpired)));
    for own in ["a", "localhost", "LocalHost"] {
        assert_eq!(told(a.ping(own, 0).await), ("a".to_owned(), None));
    }
    assert_eq!(told(a.ping("nobody", 30).await), ("a".to_owned(), Some(PingProblem::NoRoute)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_that_cannot_succeed_fails_at_once_and_with_words() {
    let (a, _b) = pair(Transport::Tcp).await;
    let dial = async |node: &str, service: &str| soon("a refusal", a.dial(node, service, None)).await.unwrap_err();
    let started = std::time::Instant::now();
    assert_eq!(dial("nobody", "echo").await, ConnectError::NoRoute);
    assert_eq!(dial("b", "nothere").await, ConnectError::ServiceUnknown);
    assert_eq!(dial("a", "nothere").await, ConnectError::OwnServiceUnknown);
    assert!(started.elapsed() < std::time::Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn halves_are_closed_one_by_one() {
    let (a, b) = pair(Transport::Tcp).await;
    let mut service = a.listen("svc", None, None).await.unwrap();
    let mut near = soon("a dial", b.dial("a", "svc", None)).await.unwrap();
    let (mut far, peer) = soon("a stream", service.accept()).await.unwrap();
    assert_eq!((peer.as_str(), near.peer()), ("b", "a"));
    near.write_all(b"question").await.unwrap();
    near.shutdown().await.unwrap();
    let mut text = String::new();
    soon("the question", far.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "question");
    far.write_all(b"answer").await.unwrap();
    // Dropped without a shutdown: what was written arrives all the same.
    drop(far);
    text.clear();
    soon("the answer", near.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_stream_does_not_look_complete() {
    let (a, b) = pair(Transport::Tcp).await;
    let mut service = a.listen("svc", None, None).await.unwrap();
    let mut near = soon("a dial", b.dial("a", "svc", None)).await.unwrap();
    let (far, _) = soon("a stream", service.accept()).await.unwrap();
    far.abort("the disk is full");
    let error = soon("an error", near.read_to_string(&mut String::new())).await.unwrap_err();
    assert_eq!(error.to_string(), "Application error 0x1f4 (remote): the disk is full");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_closes_streams_with_words() {
    let (a, b) = pair(Transport::Tcp).await;
    let mut service = a.listen("svc", None, None).await.unwrap();
    let mut near = soon("a dial", b.dial("a", "svc", None)).await.unwrap();
    let (_far, _) = soon("a stream", service.accept()).await.unwrap();
    soon("the end", a.shutdown()).await;
    let error = soon("an error", near.read_to_string(&mut String::new())).await.unwrap_err();
    assert_eq!(error.to_string(), "Application error 0x0 (remote): normal close");
    assert!(soon("no more streams", service.accept()).await.is_none());
    assert!(a.dial("b", "svc", None).await.is_err());
}

/// Nodes of ours know from each other what their links carry.
#[tokio::test(flavor = "multi_thread")]
async fn packets_grow_between_nodes_of_ours() {
    for (transport, size) in [(Transport::Tcp, 16_384), (Transport::WebSocket, 16_384), (Transport::Udp, 1416)] {
        let (a, b) = pair(transport).await;
        echo(a.listen("echo", None, None).await.unwrap());
        let mut stream = soon("a dial", b.dial("a", "echo", None)).await.unwrap();
        exchange(&mut stream, &vec![1; 3_000_000]).await;
        assert_eq!(stream.packet_size(), size);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_carry_their_sender() {
    let (a, b) = pair(Transport::Tcp).await;
    let service = a.datagrams("dgram", None).await.unwrap();
    let own = b.ephemeral_datagrams();
    own.send("a", "dgram", b"hello").unwrap();
    let received = soon("a datagram", service.receive()).await;
    assert_eq!((received.node.as_str(), received.payload.as_ref()), ("b", &b"hello"[..]));
    service.send(&received.node, &received.service, b"back").unwrap();
    assert_eq!(soon("a datagram", own.receive()).await.payload, "back");
    assert_eq!(own.send("nobody", "dgram", b"x").unwrap_err().to_string(), "no route to node");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_link_comes_back() {
    let (a, b) = pair(Transport::Tcp).await;
    let address = listen(&a, Transport::Tcp).await;
    connect(&b, Transport::Tcp, address).await;
    reaches(&b, "a").await;
    a.set_backends(Vec::new()).await.unwrap();
    soon("no way", async { while b.ping("a", MeshHandle::MOST_HOPS).await.problem != Some(PingProblem::NoRoute) {} })
        .await;
    let mut again = listener(Transport::Tcp);
    if let worknode_protocol::config::model::mesh::Backend::Listener(listener) = &mut again.backend {
        listener.port = address.port();
    }
    a.set_backends(vec![again]).await.unwrap();
    reaches(&b, "a").await;
}

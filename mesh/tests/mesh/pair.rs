//! Two nodes with one link.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};
use worknode_mesh::MeshHandle;
use worknode_protocol::{
    config::model::mesh::{Backend, Transport},
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
    assert!(started.elapsed() < Duration::from_secs(2));
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
        // The size is searched for as long as there is something to send.
        assert!((size / 10 * 9..=size).contains(&stream.packet_size()), "{}", stream.packet_size());
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
    if let Backend::Listener(listener) = &mut again.backend {
        listener.port = address.port();
    }
    a.set_backends(vec![again]).await.unwrap();
    reaches(&b, "a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_streams_at_once_are_all_right() {
    let (a, b) = pair(Transport::Tcp).await;
    echo(a.listen("echo", None, None).await.unwrap());
    let mut running = tokio::task::JoinSet::new();
    for i in 0..100_u8 {
        let b = b.clone();
        running.spawn(async move {
            let bytes = vec![i; 100_000];
            let mut stream = soon("a dial", b.dial("a", "echo", None)).await.unwrap();
            exchange(&mut stream, &bytes).await == bytes
        });
    }
    while let Some(right) = running.join_next().await {
        assert!(right.unwrap());
    }
    // Nothing is left of them: the dialers close, and the acceptors see it.
    soon("no streams", async {
        while a.open_streams() + b.open_streams() > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_transfer_does_not_hold_up_probes_and_dials() {
    let (a, b) = pair(Transport::Tcp).await;
    let mut sink = a.listen("sink", None, None).await.unwrap();
    echo(a.listen("echo", None, None).await.unwrap());
    let mut bulk = soon("a dial", b.dial("a", "sink", None)).await.unwrap();
    let sending = tokio::spawn(async move { while bulk.write_all(&[0; 64 * 1024]).await.is_ok() {} });
    let (mut far, _) = soon("a stream", sink.accept()).await.unwrap();
    let reading = tokio::spawn(async move { tokio::io::copy(&mut far, &mut tokio::io::sink()).await });
    for _ in 0..10 {
        let echo = b.ping("a", MeshHandle::MOST_HOPS).await;
        assert_eq!(echo.problem, None);
        assert!(echo.time < Duration::from_secs(1), "{:?}", echo.time);
        let mut stream = soon("a dial", b.dial("a", "echo", None)).await.unwrap();
        assert_eq!(exchange(&mut stream, b"hello").await, b"hello");
    }
    sending.abort();
    reading.abort();
}

/// A stopped reader fills what there is room for, and then the writer waits; others go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_reads_stops_its_writer_alone() {
    let (a, b) = pair(Transport::Tcp).await;
    let mut sink = a.listen("sink", None, None).await.unwrap();
    echo(a.listen("echo", None, None).await.unwrap());
    let mut stuck = soon("a dial", b.dial("a", "sink", None)).await.unwrap();
    let (_far, _) = soon("a stream", sink.accept()).await.unwrap();
    let mut written = 0;
    while let Ok(result) = tokio::time::timeout(Duration::from_secs(1), stuck.write(&[0; 64 * 1024])).await {
        written += result.unwrap();
    }
    assert!(written <= 13 * 1024 * 1024, "{written}");
    let bytes = vec![1; 1_000_000];
    let mut stream = soon("a dial", b.dial("a", "echo", None)).await.unwrap();
    assert!(exchange(&mut stream, &bytes).await == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_come_and_go_without_touching_the_others() {
    let (a, b) = pair(Transport::Tcp).await;
    let mut service = a.listen("svc", None, None).await.unwrap();
    let mut near = soon("a dial", b.dial("a", "svc", None)).await.unwrap();
    let (mut far, _) = soon("a stream", service.accept()).await.unwrap();
    let kept = listener(Transport::Tcp);
    let ports = a.set_backends(vec![kept.clone(), listener(Transport::Udp)]).await.unwrap();
    assert!(ports.iter().all(Option::is_some));
    // One that cannot be started leaves all as it was.
    let mut taken = listener(Transport::Tcp);
    if let Backend::Listener(listener) = &mut taken.backend {
        listener.port = ports[0].unwrap().port();
    }
    let error = a.set_backends(vec![kept.clone(), taken]).await.unwrap_err();
    assert!(error.to_string().starts_with("listen tcp 127.0.0.1:"), "{error}");
    assert_eq!(a.set_backends(vec![kept]).await.unwrap(), ports[..1]);
    near.write_all(b"still the same link").await.unwrap();
    near.shutdown().await.unwrap();
    let mut text = String::new();
    soon("the text", far.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "still the same link");
}

/// However much waits to be sent, the end is told at once.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_busy_stream_is_told_at_once() {
    for by_shutdown in [false, true] {
        let (a, b) = pair(Transport::Tcp).await;
        let mut service = a.listen("svc", None, None).await.unwrap();
        let mut near = soon("a dial", b.dial("a", "svc", None)).await.unwrap();
        let (mut far, _) = soon("a stream", service.accept()).await.unwrap();
        // Nobody reads: at last neither window has room.
        while let Ok(result) = tokio::time::timeout(Duration::from_millis(300), far.write(&[0; 64 * 1024])).await {
            result.unwrap();
        }
        let started = std::time::Instant::now();
        if by_shutdown {
            soon("the end", a.shutdown()).await;
        } else {
            far.abort("the disk is full");
        }
        let error = soon("an error", tokio::io::copy(&mut near, &mut tokio::io::sink())).await.unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        let words = if by_shutdown { "0x0 (remote): normal close" } else { "0x1f4 (remote): the disk is full" };
        assert_eq!(error.to_string(), format!("Application error {words}"));
    }
}

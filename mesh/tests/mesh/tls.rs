//! TLS of links and of streams, between nodes of ours and with a real Go node.

use std::time::Duration;

use tokio::{io::AsyncWriteExt, io::BufReader, time::timeout};
use worknode_mesh::{
    MeshHandle,
    backend::{BackendSettings, BackendTls},
};
use worknode_protocol::config::model::mesh::{Backend, Transport};

use crate::{
    go::{self, Go},
    interop::free_port,
    nodes::*,
    pki::Pki,
};

fn tls_listener(transport: Transport, pki: &Pki, node: &str) -> BackendSettings {
    BackendSettings { tls: BackendTls::Server(pki.server(node)), ..listener(transport) }
}

/// A peer that shows the certificate of `node`.
fn tls_peer(transport: Transport, address: std::net::SocketAddr, pki: &Pki, node: &str) -> BackendSettings {
    let mut settings = BackendSettings { tls: BackendTls::Client(pki.client(node)), ..peer(transport, address) };
    if let Backend::Peer(peer) = &mut settings.backend {
        peer.address = peer.address.replace("ws://", "wss://");
        peer.tls = Some(node.to_owned());
    }
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn links_with_certificates_carry_streams() {
    let pki = Pki::new(&["a", "b"]);
    for transport in [Transport::Tcp, Transport::WebSocket] {
        let (a, b) = (node("a"), node("b"));
        let at = a.set_backends(vec![tls_listener(transport.clone(), &pki, "a")]).await.unwrap()[0].unwrap();
        b.set_backends(vec![tls_peer(transport.clone(), at, &pki, "b")]).await.unwrap();
        reaches(&b, "a").await;
        echo(a.listen("echo", None, None).await.unwrap());
        let bytes: Vec<u8> = (0..2_000_000_u32).map(|i| (i % 251) as u8).collect();
        let mut stream = soon("a dial", b.dial("a", "echo", None)).await.unwrap();
        assert!(exchange(&mut stream, &bytes).await == bytes, "{transport:?}");
    }
}

/// Better than the reference (mesh-protocol 12.4): the certificate says who the peer may be.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_the_certificate_of_another_is_kept_out() {
    let pki = Pki::new(&["a", "b", "c"]);
    let (a, b) = (node("a"), node("b"));
    let at = a.set_backends(vec![tls_listener(Transport::Tcp, &pki, "a")]).await.unwrap()[0].unwrap();
    b.set_backends(vec![tls_peer(Transport::Tcp, at, &pki, "c")]).await.unwrap();
    assert!(timeout(Duration::from_secs(1), reaches(&b, "a")).await.is_err());
    // Without TLS nobody gets in at all.
    b.set_backends(vec![peer(Transport::Tcp, at)]).await.unwrap();
    assert!(timeout(Duration::from_secs(1), reaches(&b, "a")).await.is_err());
    assert!(a.status().await.connections.is_empty());
    b.set_backends(vec![tls_peer(Transport::Tcp, at, &pki, "b")]).await.unwrap();
    reaches(&b, "a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_check_both_ends() {
    let (pki, other) = (Pki::new(&["a", "b", "c"]), Pki::new(&["b"]));
    let (a, b) = pair(Transport::Tcp).await;
    echo(a.listen("secure", Some(pki.server("a")), None).await.unwrap());
    echo(a.listen("wrong", Some(pki.server("c")), None).await.unwrap());
    echo(a.listen("plain", None, None).await.unwrap());
    let client = pki.client("b");
    let mut stream = soon("a dial", b.dial("a", "secure", Some(&client))).await.unwrap();
    assert_eq!(exchange(&mut stream, b"hello").await, b"hello");

    let refused = async |service: &str, client: Option<&worknode_mesh::tls::Client>| {
        soon("a refusal", b.dial("a", service, client)).await.unwrap_err().to_string()
    };
    for (service, client) in [("wrong", Some(&*client)), ("plain", Some(&*client)), ("secure", None)] {
        let words = refused(service, client).await;
        assert!(words.starts_with("CRYPTO_ERROR 0x1"), "{service}: {words}");
    }
    // A server that does not take the client's certificate says so after the dial has succeeded (mesh-protocol 13.3).
    let trusting = &pki;
    for (pki, node) in [(&other, "b"), (&pki, "c")] {
        // It has its own authority or its own name, but trusts ours: so it is the server that refuses.
        let untrusted = trusting.client_of(pki, node);
        let words = match soon("a dial", b.dial("a", "secure", Some(&untrusted))).await {
            Err(error) => error.to_string(),
            Ok(mut stream) => read_error(&mut stream).await,
        };
        assert!(words.starts_with("CRYPTO_ERROR 0x1"), "{words}");
    }
}

async fn read_error(stream: &mut worknode_mesh::Stream) -> String {
    let mut byte = [0; 1];
    soon("an error", tokio::io::AsyncReadExt::read(stream, &mut byte)).await.unwrap_err().to_string()
}

async fn use_with_tls(ours: &MeshHandle, go: &Go, pki: &Pki) {
    reaches(ours, "go").await;
    go.reaches("ours").await;
    let client = pki.client("ours");
    let stream = soon("Go's service", ours.dial("go", "secure", Some(&client))).await.unwrap();
    let mut control = BufReader::new(stream);
    assert_eq!(go::line(&mut control).await, "Receptor Control, node go\n");
    control.shutdown().await.unwrap();
    echo(ours.listen("secure", Some(pki.server("ours")), None).await.unwrap());
    let bytes = vec![3; 100_000];
    assert!(go.exchange("ours", "secure client", &bytes).await == bytes);
    let insecure = soon("a refusal", ours.dial("go", "secure", None)).await.unwrap_err().to_string();
    assert!(insecure.starts_with("CRYPTO_ERROR 0x1"), "{insecure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn go_and_ours_trust_each_other_by_certificates() {
    let pki = Pki::new(&["go", "ours"]);
    for (transport, name, scheme) in [(Transport::Tcp, "tcp", ""), (Transport::WebSocket, "ws", "wss://")] {
        let service = "{control-service: {service: secure, tls: server}}".to_owned();
        let [server, client] = pki.actions("go");
        let port = free_port();
        let listener = format!("{{{name}-listener: {{port: {port}, bindaddr: 127.0.0.1, tls: server}}}}");
        let actions = [server.clone(), client.clone(), service.clone(), listener];
        let Some(go) = Go::start("go", &actions).await else { return };
        let ours = node("ours");
        let address = ([127, 0, 0, 1], port).into();
        ours.set_backends(vec![tls_peer(transport.clone(), address, &pki, "ours")]).await.unwrap();
        use_with_tls(&ours, &go, &pki).await;
        soon("the end", ours.shutdown()).await;
        drop(go);

        let ours = node("ours");
        let at = ours.set_backends(vec![tls_listener(transport, &pki, "ours")]).await.unwrap()[0].unwrap();
        let peer = format!("{{{name}-peer: {{address: '{scheme}{at}', tls: client}}}}");
        let Some(go) = Go::start("go", &[server, client, service, peer]).await else { return };
        use_with_tls(&ours, &go, &pki).await;
        soon("the end", ours.shutdown()).await;
    }
}

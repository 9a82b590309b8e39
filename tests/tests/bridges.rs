//! Bridges between local sockets and the mesh, from outside: between two nodes of ours, and between ours and a Go node.
#![allow(clippy::indexing_slicing, reason = "an index out of range fails the test, as it should")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use worknode_tests::wait::{Deadline, PATIENCE, Watch};
use worknode_tests::{Harness, Node, Program, Session, certificates, skipped};

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Two nodes with a link: what the first and the second are given.
fn linked(
    first: &Program,
    second: &Program,
    one: impl FnOnce(Harness) -> Harness,
    other: impl FnOnce(Harness) -> Harness,
) -> Result<(Node, Node)> {
    let port = free_port()?;
    let listener = json!({"bindaddr": "127.0.0.1", "port": port});
    let one = one(Harness::of(first.clone())?.id("one").action("tcp-listener", listener)).start()?;
    let peer = json!({"address": format!("127.0.0.1:{port}")});
    let other = other(Harness::of(second.clone())?.id("other").action("tcp-peer", peer)).start()?;
    let known = || -> Result<Option<()>> {
        let both = [("one", "other"), ("other", "one")];
        for (node, (_, far)) in [&one, &other].into_iter().zip(both) {
            let mut session = node.connect()?;
            let status: serde_json::Value = serde_json::from_str(&session.ask("status")?)?;
            if status["RoutingTable"].get(far).is_none() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    };
    Watch::new(one.root())?.until(Deadline::default(), "a link between the nodes", known)?;
    Ok((one, other))
}

/// All pairs of programs that can be had; ours with ours first.
fn pairs() -> Result<Vec<(Program, Program)>> {
    let ours = Program::worknoded()?;
    let mut pairs = vec![(ours.clone(), ours.clone())];
    match Program::receptor() {
        Some(go) => pairs.extend([(ours.clone(), go.clone()), (go, ours)]),
        None => skipped("RECEPTOR_BIN is not set"),
    }
    Ok(pairs)
}

/// Serves one connection: reads all, then answers how much that was.
fn count(mut stream: impl Read + Write) -> Result<()> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    stream.write_all(format!("{} bytes", all.len()).as_bytes())?;
    Ok(())
}

fn is_go(program: &Program) -> bool {
    program.kind == worknode_tests::Kind::Receptor
}

/// `tcp-server` on one node, `tcp-client` on the other. (A Go node loses the answer where it is `tcp-client`, so there one
/// line is asked and answered while both directions are open: mesh-protocol 12, point 6.)
#[test]
fn tcp_through_the_mesh() -> Result<()> {
    for (enters, leaves) in pairs()? {
        let behind = TcpListener::bind("127.0.0.1:0")?;
        let (port, address) = (free_port()?, behind.local_addr()?.to_string());
        let into = json!({"port": port, "bindaddr": "127.0.0.1", "remotenode": "other", "remoteservice": "tcp"});
        let out = json!({"service": "tcp", "address": address});
        let (_one, _other) =
            linked(&enters, &leaves, |one| one.action("tcp-server", into), |other| other.action("tcp-client", out))?;
        let half_close = !is_go(&leaves);
        let serving = thread::spawn(move || -> Result<()> {
            let (mut stream, _) = behind.accept()?;
            if half_close {
                return count(stream);
            }
            let mut question = [0; 9];
            stream.read_exact(&mut question)?;
            ensure!(&question == b"question\n");
            Ok(stream.write_all(b"answer\n")?)
        });
        let mut client = TcpStream::connect(("127.0.0.1", port))?;
        client.set_read_timeout(Some(PATIENCE))?;
        let mut answer = String::new();
        if half_close {
            client.write_all(&vec![1; 2_000_000])?;
            client.shutdown(Shutdown::Write)?;
            client.read_to_string(&mut answer)?;
            assert_eq!(answer, "2000000 bytes");
        } else {
            client.write_all(b"question\n")?;
            let mut bytes = [0; 7];
            client.read_exact(&mut bytes)?;
            assert_eq!(&bytes, b"answer\n");
        }
        serving.join().map_err(|_| anyhow::anyhow!("the server panicked"))??;
    }
    Ok(())
}

/// `unix-socket-server` on one node, `unix-socket-client` on the other.
#[test]
fn unix_sockets_through_the_mesh() -> Result<()> {
    for (enters, leaves) in pairs()? {
        if is_go(&leaves) {
            continue;
        }
        let directory = tempfile::tempdir()?;
        let (inside, outside) = (directory.path().join("in"), directory.path().join("out"));
        let behind = UnixListener::bind(&outside)?;
        let into = json!({"filename": inside, "remotenode": "other", "remoteservice": "unix"});
        let out = json!({"service": "unix", "filename": outside});
        let (_one, _other) = linked(
            &enters,
            &leaves,
            |one| one.action("unix-socket-server", into),
            |other| other.action("unix-socket-client", out),
        )?;
        let serving = thread::spawn(move || count(behind.accept()?.0));
        let mut client = UnixStream::connect(&inside)?;
        client.set_read_timeout(Some(PATIENCE))?;
        client.write_all(&vec![1; 300_000])?;
        client.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;
        assert_eq!(answer, "300000 bytes");
        serving.join().map_err(|_| anyhow::anyhow!("the server panicked"))??;
    }
    Ok(())
}

/// `udp-server` on one node, `udp-client` on the other.
#[test]
fn datagrams_through_the_mesh() -> Result<()> {
    for (enters, leaves) in pairs()? {
        let behind = UdpSocket::bind("127.0.0.1:0")?;
        behind.set_read_timeout(Some(PATIENCE))?;
        let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        let into = json!({"port": port, "bindaddr": "127.0.0.1", "remotenode": "other", "remoteservice": "udp"});
        let out = json!({"service": "udp", "address": behind.local_addr()?.to_string()});
        let (_one, _other) =
            linked(&enters, &leaves, |one| one.action("udp-server", into), |other| other.action("udp-client", out))?;
        let client = UdpSocket::bind("127.0.0.1:0")?;
        client.connect(("127.0.0.1", port))?;
        client.set_read_timeout(Some(PATIENCE))?;
        let (question, mut block) = (vec![7; 9000], [0; 10_000]);
        client.send(&question)?;
        let (length, from) = behind.recv_from(&mut block)?;
        assert_eq!(block[..length], question);
        behind.send_to(b"answer", from)?;
        let length = client.recv(&mut block)?;
        assert_eq!(&block[..length], b"answer");
    }
    Ok(())
}

/// `command-service`, reached by the control command `connect` of the other node.
#[test]
fn a_command_on_another_node() -> Result<()> {
    for (asks, runs) in pairs()? {
        let service =
            json!({"service": "cmd", "command": "sh -c 'stty -echo; echo ready; read line; echo \"heard: $line\"'"});
        let (one, _other) = linked(&asks, &runs, |one| one, |other| other.action("command-service", service))?;
        let mut session = one.connect()?;
        session.send(b"connect other cmd\n")?;
        assert_eq!(session.line()?, "Connecting");
        assert_eq!(session.line()?, "ready\r");
        session.send(b"a line\n")?;
        assert_eq!(session.line()?, "heard: a line\r");
        session.half_close()?;
        ensure!(session.line_or_end()?.is_none(), "the command has ended");
    }
    Ok(())
}

/// TLS at all four places: the client's connection to the port, the stream through the mesh (both ends named), and the
/// connection to what is behind.
#[test]
fn tcp_with_tls_all_the_way() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = |name: &str| directory.path().join(name);
    certificates::of_nodes(directory.path(), &["one", "other", "behind"])?;
    let server = |name: &str, node: &str| {
        json!({"name": name, "cert": file(&format!("{node}.crt")), "key": file(&format!("{node}.key")),
               "clientcas": file("ca.crt"), "requireclientcert": true})
    };
    let client = |node: &str| json!({"name": "out", "cert": file(&format!("{node}.crt")), "key": file(&format!("{node}.key")), "rootcas": file("ca.crt")});
    // What is behind: the control service of a third node, over TLS.
    let behind = Harness::new()?.id("behind").action("tls-server", server("in", "behind")).tcp();
    let behind = behind.control("tcptls", json!("in")).start()?;
    let port = free_port()?;
    let into = json!({"port": port, "bindaddr": "127.0.0.1", "remotenode": "other", "remoteservice": "tls",
                      "tlsserver": "in", "tlsclient": "out"});
    let out =
        json!({"service": "tls", "address": behind.tcp_address()?.to_string(), "tlsserver": "in", "tlsclient": "out"});
    let ours = Program::worknoded()?;
    let (_one, _other) = linked(
        &ours,
        &ours,
        |one| {
            one.action("tls-server", server("in", "one")).action("tls-client", client("one")).action("tcp-server", into)
        },
        |other| {
            let other = other.action("tls-server", server("in", "other")).action("tls-client", client("other"));
            other.action("tcp-client", out)
        },
    )?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("ca.crt"))?)?;
    let certificate = vec![CertificateDer::from_pem_file(file("one.crt"))?];
    let key = PrivateKeyDer::from_pem_file(file("one.key"))?;
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(certificate, key)?;
    let name = ServerName::try_from("127.0.0.1")?;
    let mut session = Session::tls(([127, 0, 0, 1], port).into(), name, Arc::new(config))?;
    assert_eq!(session.line()?, "Receptor Control, node behind");
    assert_eq!(session.ask("work list")?, "{}");
    session.half_close()?;
    ensure!(session.line_or_end()?.is_none());
    Ok(())
}

/// A service that is not there: the client sees a refusal, not an empty answer.
#[test]
fn nobody_behind_the_bridge() -> Result<()> {
    let ours = Program::worknoded()?;
    let port = free_port()?;
    let into = json!({"port": port, "bindaddr": "127.0.0.1", "remotenode": "other", "remoteservice": "missing"});
    let (_one, _other) = linked(&ours, &ours, |one| one.action("tcp-server", into), |other| other)?;
    let mut client = TcpStream::connect(("127.0.0.1", port))?;
    client.set_read_timeout(Some(PATIENCE))?;
    let refused = client.read(&mut [0; 1]).err().context("an answer from nobody")?;
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionReset);
    Ok(())
}

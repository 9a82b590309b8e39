//! Who may do what: the rules `allow` of a control service, on each of its three listeners. The node runs
//! `config-examples/allow.yml` with other paths, ports and numbers.

#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use worknode_mesh::tls::RECEPTOR_NAME_OID;
use worknode_tests::wait::Deadline;
use worknode_tests::work::{answer, created, submit_line};
use worknode_tests::{Harness, Node, Session, binaries};

/// An authority, in whose directory nodes find their files.
struct Authority<'a> {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: &'a Path,
}

impl<'a> Authority<'a> {
    fn new(directory: &'a Path) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        fs::write(directory.join("ca.crt"), issuer.pem())?;
        Ok(Self { issuer, directory })
    }

    /// A certificate with these DNS names and node IDs, and a common name that nobody has vouched for.
    fn issue(&self, hosts: &[&str], node: Option<&str>) -> Result<(CertificateDer<'static>, KeyPair)> {
        let mut params = CertificateParams::new(hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>())?;
        params.distinguished_name.push(DnType::CommonName, "deploy.example.org");
        params.subject_alt_names.extend(node.map(|id| SanType::OtherName((RECEPTOR_NAME_OID.to_vec(), id.into()))));
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        if let Some(id) = node {
            fs::write(self.directory.join(format!("{id}.crt")), certificate.pem())?;
            fs::write(self.directory.join(format!("{id}.key")), key.serialize_pem())?;
        }
        Ok((certificate.der().clone(), key))
    }

    /// A session over TLS with a certificate for this host.
    fn session(&self, address: SocketAddr, host: &str) -> Result<Session> {
        let (certificate, key) = self.issue(&[host], None)?;
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone())?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)?;
        let mut session = Session::tls(address, ServerName::try_from("localhost")?, Arc::new(config))?;
        ensure!(session.line()? == "Receptor Control, node hub");
        Ok(session)
    }
}

/// The node of the example, and where it listens.
struct Hub {
    node: Node,
    tcp: SocketAddr,
    mesh: SocketAddr,
}

/// What stands in the example instead of the numbers that a test chooses.
struct Ids {
    administrator: u32,
    group: u32,
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn hub(directory: &Path, authority: &Authority<'_>, ids: &Ids) -> Result<Hub> {
    authority.issue(&["localhost"], Some("hub"))?;
    let (tcp, mesh) = (free_address()?, free_address()?);
    let mut text = fs::read_to_string(binaries::workspace().join("config-examples/allow.yml"))?;
    for (from, to) in [
        ("/etc/worknode/tls/", &format!("{}/", directory.display())),
        ("/run/worknode/worknode.sock", &"@SOCKET@".to_owned()),
        ("/var/lib/worknode", &"@DATA@".to_owned()),
        ("0.0.0.0:2223", &tcp.to_string()),
        ("bindaddr: 0.0.0.0, port: 27199", &format!("bindaddr: 127.0.0.1, port: {}", mesh.port())),
        ("uid: 0,", &format!("uid: {},", ids.administrator)),
        ("gid: 1500,", &format!("gid: {},", ids.group)),
    ] {
        ensure!(text.contains(from), "the example no longer has {from}");
        text = text.replace(from, to);
    }
    let node = Harness::new()?.id("hub").config_text(&text).start()?;
    Ok(Hub { node, tcp, mesh })
}

fn own_ids() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// Submits on a session of any kind, which is used up.
fn submit(mut session: Session, worktype: &str) -> Result<String> {
    let id = created(&session.ask(&submit_line(worktype, &[]))?)?;
    session.send(b"hello")?;
    session.half_close()?;
    ensure!(session.line()?.contains("Job Started"));
    Ok(id)
}

/// Each request is refused with these words on one line, and the session goes on.
fn refused(session: &mut Session, requests: &[(&str, &str)]) -> Result<()> {
    for (request, words) in requests {
        let answer = session.ask(request)?;
        ensure!(answer == format!("ERROR: permission denied: {words}"), "{request}: {answer}");
    }
    Ok(())
}

#[test]
fn the_administrator_may_do_everything() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let authority = Authority::new(directory.path())?;
    let (uid, gid) = own_ids();
    let Hub { node, .. } = hub(directory.path(), &authority, &Ids { administrator: uid, group: gid + 1 })?;
    let unit = node.submit("sleep", b"")?;
    let mut session = node.connect()?;
    assert_eq!(session.ask(&format!("work cancel {unit}"))?, format!("{{\"cancelled\":\"{unit}\"}}"));
    assert_eq!(session.ask(&format!("work release {unit}"))?, format!("{{\"released\":\"{unit}\"}}"));
    assert_eq!(session.ask("reload")?, "{\"Success\":true}");
    answer(&session.ask(r#"{"command":"work","subcommand":"prune"}"#)?)?;
    Ok(())
}

#[test]
fn a_group_does_one_thing_and_a_refusal_changes_nothing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let authority = Authority::new(directory.path())?;
    let (uid, gid) = own_ids();
    let Hub { mut node, tcp, .. } = hub(directory.path(), &authority, &Ids { administrator: uid + 1, group: gid })?;
    let mut session = node.connect()?;
    refused(
        &mut session,
        &[
            ("work submit localhost sleep", "submit of work type sleep"),
            ("work submit hub sleep", "submit of work type sleep"),
            ("work submit edge7 cat", "submit to node edge7"),
            (r#"{"command":"work","subcommand":"submit","node":"a\nb","worktype":"cat"}"#, "submit to node a b"),
            ("connect edge7 control", "connect to node edge7"),
            ("connect localhost control", "connect to node localhost"),
            ("reload", "reload"),
            (r#"{"command":"work","subcommand":"prune"}"#, "work prune"),
        ],
    )?;
    assert_eq!(node.list()?.len(), 0, "nothing was made");
    assert_eq!(fs::read_dir(node.data().join("hub"))?.count(), 0);

    // What it has submitted itself is its own, also after a restart.
    let unit = node.submit("cat", b"hello")?;
    assert_eq!(node.results(&unit)?, b"hello");
    node.crash_and_restart()?;
    assert_eq!(node.results(&unit)?, b"hello");

    // A client with a certificate may look, and may not touch it.
    let mut monitor = authority.session(tcp, "monitor.example.org")?;
    ensure!(answer(&monitor.ask("work list")?)?[&unit]["State"] == 2);
    refused(
        &mut monitor,
        &[
            (&format!("work results {unit}"), &format!("results of unit {unit}")),
            (&format!("work describe {unit}"), &format!("describe of unit {unit}")),
            (&format!("work cancel {unit}"), &format!("cancel of unit {unit}")),
            (&format!("work release {unit}"), &format!("release of unit {unit}")),
            (&format!("work force-release {unit}"), &format!("force-release of unit {unit}")),
            ("work submit localhost cat", "submit of work type cat"),
            ("work cancel nosuch", "cancel of unit nosuch"),
        ],
    )?;
    let mut session = node.connect()?;
    assert_eq!(session.ask("work cancel nosuch")?, "ERROR: unknown work unit nosuch");
    assert_eq!(session.ask(&format!("work release {unit}"))?, format!("{{\"released\":\"{unit}\"}}"));
    Ok(())
}

/// The owner is in a file beside the status, of which no answer tells; one that is gone makes the unit nobody's.
#[test]
fn a_unit_whose_owner_is_not_known_is_nobodys() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let authority = Authority::new(directory.path())?;
    let (uid, gid) = own_ids();
    let Hub { node, .. } = hub(directory.path(), &authority, &Ids { administrator: uid + 1, group: gid })?;
    let unit = node.submit("cat", b"hello")?;
    let owner = node.unit_directory(&unit).join("owner.json");
    assert_eq!(fs::read_to_string(&owner)?, json!({"from": "unix", "uid": uid}).to_string());
    ensure!(!node.connect()?.ask(&format!("work status {unit}"))?.contains("uid"));
    let mut session = node.connect()?;
    for content in [json!({"from": "unix", "uid": uid + 1}).to_string(), "junk".to_owned()] {
        fs::write(&owner, content)?;
        refused(&mut session, &[(&format!("work results {unit}"), &format!("results of unit {unit}"))])?;
    }
    fs::remove_file(&owner)?;
    refused(&mut session, &[(&format!("work release {unit}"), &format!("release of unit {unit}"))])
}

#[test]
fn certificates_are_told_apart_by_the_names_that_the_authority_vouched_for() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let authority = Authority::new(directory.path())?;
    let (uid, gid) = own_ids();
    // The whole of it: a node that is dropped ends.
    let hub = hub(directory.path(), &authority, &Ids { administrator: uid, group: gid })?;
    let tcp = hub.tcp;
    // Its common name is deploy.example.org.
    let mut stranger = authority.session(tcp, "elsewhere.example.org")?;
    refused(&mut stranger, &[("status", "status"), ("ping hub", "ping"), ("traceroute hub", "traceroute")])?;
    refused(&mut stranger, &[("work list", "work list"), ("work status a", "work status"), ("reload", "reload")])?;
    let mut monitor = authority.session(tcp, "monitor.example.org")?;
    answer(&monitor.ask("status")?)?;
    refused(&mut monitor, &[("reload", "reload")])?;
    let mut deploy = authority.session(tcp, "deploy.example.org")?;
    assert_eq!(deploy.ask("reload")?, "{\"Success\":true}");
    Ok(())
}

/// A node of the mesh that dials the hub, with a certificate of its own.
fn leaf(directory: &Path, authority: &Authority<'_>, hub: &Hub, id: &str) -> Result<Node> {
    authority.issue(&[], Some(id))?;
    let file = |name: &str| json!(directory.join(name));
    let (cert, key) = (format!("{id}.crt"), format!("{id}.key"));
    let tls = json!({"name": "mesh", "cert": file(&cert), "key": file(&key), "rootcas": file("ca.crt")});
    let peer = json!({"address": hub.mesh.to_string().replace("127.0.0.1", "localhost"), "tls": "mesh"});
    let node = Harness::new()?.id(id).action("tls-client", tls).action("tcp-peer", peer).start()?;
    let deadline = Deadline::default();
    while answer(&node.connect()?.ask("status")?)?["RoutingTable"]["hub"] == Value::Null {
        deadline.left("a way to the hub")?;
    }
    Ok(node)
}

/// A session on the hub from a node of the mesh.
fn through(node: &Node, tls: &str) -> Result<Session> {
    let mut session = node.connect()?;
    session.send(format!("connect hub control {tls}\n").as_bytes())?;
    let first = session.line()?;
    ensure!(first == "Connecting", "{first}");
    ensure!(session.line()? == "Receptor Control, node hub");
    Ok(session)
}

#[test]
fn nodes_of_the_mesh_have_what_their_proven_name_gives_them() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let authority = Authority::new(directory.path())?;
    let (uid, gid) = own_ids();
    let hub = hub(directory.path(), &authority, &Ids { administrator: uid, group: gid })?;
    let controller = leaf(directory.path(), &authority, &hub, "controller")?;
    let unit = submit(through(&controller, "mesh")?, "cat")?;
    hub.node.wait_ended(&unit)?;
    let owner: Value = serde_json::from_str(&fs::read_to_string(hub.node.unit_directory(&unit).join("owner.json"))?)?;
    assert_eq!(owner, json!({"from": "mesh", "node": "controller", "names": ["controller"]}));
    let theirs = hub.node.submit("cat", b"")?;
    let mut session = through(&controller, "mesh")?;
    refused(
        &mut session,
        &[
            (&format!("work release {theirs}"), &format!("release of unit {theirs}")),
            ("connect controller control", "connect to node controller"),
            ("work submit edge8 cat", "submit to node edge8"),
            ("reload", "reload"),
        ],
    )?;
    ensure!(session.ask("connect edge7 control")?.contains("no route to node"));
    assert_eq!(session.ask(&format!("work release {unit}"))?, format!("{{\"released\":\"{unit}\"}}"));

    let other = leaf(directory.path(), &authority, &hub, "other")?;
    let without = other.connect()?.ask("connect hub control")?;
    ensure!(without.starts_with("ERROR: "), "a name that is not proven: {without}");
    refused(
        &mut through(&other, "mesh")?,
        &[("status", "status"), ("work submit localhost cat", "submit of work type cat")],
    )?;
    Ok(())
}

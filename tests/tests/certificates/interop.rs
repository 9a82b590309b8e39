//! TLS between a Go node and ours, over links and over streams, with certificates of both programs' making.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};
use worknode_mesh::backend::{BackendSettings, BackendTls, Redial};
use worknode_mesh::tls::{Client, Server};
use worknode_mesh::{MeshHandle, Settings, Stream};
use worknode_protocol::config::model::mesh::{Backend, Listener, Peer, Transport};
use worknode_protocol::config::model::tls::TlsIdentity;
use worknode_protocol::config::model::{TlsClient, TlsServer};
use worknode_protocol::control::ConnectError;
use worknode_protocol::id::NodeId;
use worknode_tests::wait::PATIENCE;
use worknode_tests::{Program, Session, skipped};

use super::{certify, init};

/// A Go node that ends with the test.
struct Go(Child);

impl Drop for Go {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Go {
    /// Starts a Go node `go1` with these actions and a control service under named TLS.
    fn start(program: &Program, directory: &Path, actions: &str) -> Result<Self> {
        let config = format!(
            "- node: {{id: go1, datadir: data}}\n\
             - log-level: debug\n\
             - tls-server: {{name: s, cert: go1.crt, key: go1.key, clientcas: ca.crt, requireclientcert: true}}\n\
             - tls-server: {{name: s13, cert: go1.crt, key: go1.key, clientcas: ca.crt, requireclientcert: true, mintls13: true}}\n\
             - tls-client: {{name: c, cert: go1.crt, key: go1.key, rootcas: ca.crt}}\n\
             - control-service: {{service: control, filename: go1.sock, tls: s}}\n{actions}"
        );
        fs::write(directory.join("go1.yml"), config)?;
        let log = fs::File::create(directory.join("go1.log"))?;
        let mut command = Command::new(&program.path);
        command
            .current_dir(directory)
            .args(["-c", "go1.yml"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(Self(command.spawn()?))
    }
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn server(directory: &Path, min_tls13: bool) -> Result<Arc<Server>> {
    let settings = TlsServer {
        name: "s".to_owned(),
        cert: directory.join("wn1.crt"),
        key: directory.join("wn1.key"),
        require_client_cert: true,
        client_cas: Some(directory.join("ca.crt")),
        pinned_client_cert: Vec::new(),
        skip_receptor_names_check: false,
        min_tls13,
    };
    Ok(Arc::new(Server::load(settings, &NodeId::parse("wn1")?)?))
}

fn client(directory: &Path, min_tls13: bool) -> Result<Arc<Client>> {
    let identity = TlsIdentity { cert: directory.join("wn1.crt"), key: directory.join("wn1.key") };
    let settings = TlsClient {
        name: "c".to_owned(),
        identity: Some(identity),
        root_cas: Some(directory.join("ca.crt")),
        insecure_skip_verify: false,
        pinned_server_cert: Vec::new(),
        skip_receptor_names_check: false,
        min_tls13,
    };
    Ok(Arc::new(Client::load(settings, &NodeId::parse("wn1")?)?))
}

fn mesh() -> Result<MeshHandle> {
    let settings = Settings { node: NodeId::parse("wn1")?, firewall: Vec::new(), idle: Duration::from_secs(21) };
    Ok(worknode_mesh::start(settings)?)
}

fn peer(port: u16, tls: Arc<Client>) -> BackendSettings {
    let peer = Peer {
        transport: Transport::Tcp,
        address: format!("127.0.0.1:{port}"),
        redial: true,
        tls: Some("c".to_owned()),
        extra_header: None,
        cost: 1.0,
        allowed_peers: Vec::new(),
    };
    // A Go node takes a moment to listen.
    let redial = Redial { first: Duration::from_millis(50), ..Redial::default() };
    BackendSettings { backend: Backend::Peer(peer), tls: BackendTls::Client(tls), redial }
}

fn listener(tls: Arc<Server>) -> BackendSettings {
    let listener = Listener {
        transport: Transport::Tcp,
        bind_addr: "127.0.0.1".to_owned(),
        port: 0,
        path: "/".to_owned(),
        tls: Some("s".to_owned()),
        cost: 1.0,
        node_cost: Default::default(),
        allowed_peers: Vec::new(),
    };
    BackendSettings { backend: Backend::Listener(listener), tls: BackendTls::Server(tls), redial: Redial::default() }
}

/// Opens a stream to the Go node's control service as soon as there is a way to it, and reads the banner.
async fn control(mesh: &MeshHandle, tls: Option<&Client>) -> Result<String> {
    let end = Instant::now() + PATIENCE;
    let mut stream = loop {
        match mesh.dial("go1", "control", tls).await {
            Ok(stream) => break stream,
            Err(ConnectError::NoRoute) if Instant::now() < end => sleep(Duration::from_millis(20)).await,
            Err(fault) => bail!("{fault:?}"),
        }
    };
    line(&mut stream).await
}

async fn line(stream: &mut Stream) -> Result<String> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.push(timeout(PATIENCE, stream.read_u8()).await.context("no line")??);
    }
    Ok(String::from_utf8(line)?.trim_end().to_owned())
}

/// Asks the Go node by its socket to open a stream to us with its named client, and answers what it shows us.
async fn opened_by_go(mesh: &MeshHandle, directory: &Path, tls: Arc<Server>) -> Result<()> {
    let mut service = mesh.listen("svc", Some(tls), None).await?;
    let socket = directory.join("go1.sock");
    let asking = tokio::task::spawn_blocking(move || {
        let mut session = Session::unix(&socket)?;
        session.line()?;
        session.send(b"connect wn1 svc c\n")?;
        ensure!(session.line()? == "Connecting");
        session.line()
    });
    let (mut stream, from) = timeout(PATIENCE, service.accept()).await?.context("no stream")?;
    assert_eq!(from, "go1");
    stream.write_all(b"hello from wn1\n").await?;
    assert_eq!(asking.await??, "hello from wn1");
    Ok(())
}

/// Both roles, both minima of the version, certificates made by each program for each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_go_node_and_ours_trust_each_other() -> Result<()> {
    let Some(go) = Program::receptor() else {
        skipped("RECEPTOR_BIN is not set");
        return Ok(());
    };
    let ours = Program::worknoded()?;
    for (authority, asks) in [(&ours, &go), (&go, &ours), (&ours, &ours)] {
        let directory = tempfile::tempdir()?;
        let path = directory.path();
        init(path, authority)?;
        certify(path, "go1", asks, authority)?;
        certify(path, "wn1", asks, authority)?;
        for min_tls13 in [false, true] {
            let name = if min_tls13 { "s13" } else { "s" };
            dialled_by_us(&go, path, name, min_tls13).await.with_context(|| log(path))?;
            dialled_by_go(&go, path, min_tls13).await.with_context(|| log(path))?;
        }
    }
    Ok(())
}

fn log(directory: &Path) -> String {
    fs::read_to_string(directory.join("go1.log")).unwrap_or_default()
}

async fn dialled_by_us(go: &Program, directory: &Path, name: &str, min_tls13: bool) -> Result<()> {
    let port = free_port()?;
    let actions = format!("- tcp-listener: {{bindaddr: 127.0.0.1, port: {port}, tls: {name}}}\n");
    let _go = Go::start(go, directory, &actions)?;
    let (mesh, tls) = (mesh()?, client(directory, min_tls13)?);
    mesh.set_backends(vec![peer(port, tls.clone())]).await?;
    assert_eq!(control(&mesh, Some(&tls)).await?, "Receptor Control, node go1");
    let refused = control(&mesh, None).await.err().context("served without a certificate")?;
    ensure!(refused.to_string().contains("insecure connection to secure service"), "{refused}");
    opened_by_go(&mesh, directory, server(directory, min_tls13)?).await?;
    mesh.shutdown().await;
    Ok(())
}

async fn dialled_by_go(go: &Program, directory: &Path, min_tls13: bool) -> Result<()> {
    let mesh = mesh()?;
    let addresses = mesh.set_backends(vec![listener(server(directory, min_tls13)?)]).await?;
    let address = addresses[0].context("our listener has no address")?;
    let _go = Go::start(go, directory, &format!("- tcp-peer: {{address: '{address}', tls: c}}\n"))?;
    assert_eq!(control(&mesh, Some(&*client(directory, min_tls13)?)).await?, "Receptor Control, node go1");
    mesh.shutdown().await;
    Ok(())
}

/// A certificate that is good, but for another node, opens no link to us. (To a Go node it does: mesh-protocol 1.4.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_go_node_with_a_certificate_of_another_is_refused() -> Result<()> {
    let Some(go) = Program::receptor() else {
        skipped("RECEPTOR_BIN is not set");
        return Ok(());
    };
    let directory = tempfile::tempdir()?;
    let (path, ours) = (directory.path(), Program::worknoded()?);
    init(path, &ours)?;
    for node in ["wn1", "go1", "other"] {
        certify(path, node, &ours, &ours)?;
    }
    let mesh = mesh()?;
    let addresses = mesh.set_backends(vec![listener(server(path, false)?)]).await?;
    let address = addresses[0].context("our listener has no address")?;
    let actions = format!(
        "- tls-client: {{name: forged, cert: other.crt, key: other.key, rootcas: ca.crt, skipreceptornamescheck: true}}\n\
         - tcp-peer: {{address: '{address}', tls: forged}}\n"
    );
    let _go = Go::start(&go, path, &actions)?;
    let end = Instant::now() + PATIENCE;
    // The link comes up on its side and is ended by ours.
    while !log(path).contains("Backend connection exited") {
        ensure!(Instant::now() < end, "{}", log(path));
        ensure!(mesh.status().await.connections.is_empty(), "{}", log(path));
        sleep(Duration::from_millis(20)).await;
    }
    assert!(mesh.status().await.connections.is_empty());
    mesh.shutdown().await;
    Ok(())
}

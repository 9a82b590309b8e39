//! Addresses, sockets and TLS (control-protocol 6.1).

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use crate::fake_node::{Conversation, Ctl, DEADLINE, FakeNode, Step, asks, converse, hear, play, say, status, streams};

const RELOADED: &str = "Reload successful\n";

fn reload() -> Vec<Step> {
    asks("reload", r#"{"Success":true}"#)
}

#[test]
fn addresses_that_lead_nowhere() {
    let outcome = |socket: &str| Ctl::new(&["--socket", socket, "status"]).run();
    outcome("/nope").assert(1, "", "ERROR: Socket path does not exist: /nope");
    outcome("unix:///nope").assert(1, "", "ERROR: Socket path does not exist: /nope");
    outcome("tcp://host").assert(1, "", "ERROR: Invalid socket address tcp://host");
    let port = free_port();
    let told = format!("ERROR: Could not connect to host 127.0.0.1 port {port}");
    outcome(&format!("tcp://127.0.0.1:{port}")).assert(1, "", &told);
    let told = "ERROR: TLS: /nonexistent: I/O error: No such file or directory (os error 2)";
    outcome(&format!("tls://127.0.0.1:{port}")).assert(1, "", told);
}

/// A port on which nobody listens, for the moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn without_an_address_there_is_advice() {
    if Path::new("/run/worknode/worknode.sock").exists() || Path::new("/run/receptor/receptor.sock").exists() {
        // A node of this machine would be found, as it should be.
        return;
    }
    let outcome = Ctl::new(&["status"]).run();
    outcome.assert(1, "", "ERROR: Missing parameter: socket");
    assert!(outcome.stderr.contains("\n\nhint: ") && outcome.stderr.contains("WORKNODE_CTL_SOCKET"));
}

#[test]
fn a_socket_that_nobody_serves() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("n1.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let outcome = Ctl::new(&["--socket", socket.to_str().unwrap(), "status"]).run();
    let told = format!("ERROR: Could not connect to socket {}: Connection refused (os error 111)", socket.display());
    outcome.assert(1, "", &told);
    assert!(outcome.stderr.contains("hint: nobody listens"));
}

#[test]
fn what_is_no_control_service_is_told_as_by_the_original() {
    for greeting in ["HTTP/1.1 400 Bad Request\n", "", "Receptor Control, node \n"] {
        let outcome = play(&["reload"], vec![vec![say(greeting)]]);
        outcome.assert(1, "", "ERROR: Failed to connect to Receptor socket");
    }
    let busy = play(&["reload"], vec![vec![say("ERROR: too many connections, at most 1 are served at once\n")]]);
    busy.assert(1, "", "ERROR: too many connections, at most 1 are served at once");
}

#[test]
fn unix_sockets_in_all_spellings() {
    let node = FakeNode::start(vec![reload(), reload(), reload()]);
    let path = node.socket();
    let path = path.to_str().unwrap();
    for address in [path.to_owned(), format!("unix:{path}"), format!("unix://{path}")] {
        Ctl::new(&["reload", "--socket", &address]).run().assert(0, RELOADED, "");
    }
    node.finish();
}

/// An authority, certificates made by it, and their files.
struct Pki {
    directory: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test authority");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
        Self { directory, authority }
    }

    fn file(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes `NAME.pem` and `NAME.key` for a host name.
    fn issue(&self, name: &str, host: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        (vec![certificate.der().clone()], key)
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap()).unwrap();
        Arc::new(roots)
    }

    /// The configuration of a server called `host`, with or without certificates of clients.
    fn server(&self, host: &str, ask_clients: bool) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.unwrap();
        let (chain, key) = self.issue("server", host);
        let builder = if ask_clients {
            let verifier = WebPkiClientVerifier::builder_with_provider(self.roots(), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    }
}

/// A node on a TCP port with TLS that plays connections one after the other.
struct TlsNode {
    port: u16,
    served: JoinHandle<Result<(), String>>,
}

impl TlsNode {
    fn start(config: Arc<ServerConfig>, connections: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = std::thread::spawn(move || {
            for steps in connections {
                let (stream, _) = listener.accept().map_err(|error| error.to_string())?;
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                let connection = ServerConnection::new(config.clone()).unwrap();
                converse(&mut TlsStream(StreamOwned::new(connection, stream)), steps)?;
            }
            Ok(())
        });
        Self { port, served }
    }

    fn finish(self) {
        self.served.join().unwrap().unwrap();
    }

    fn ctl(&self, host: &str, words: &[&str]) -> Ctl {
        let socket = format!("tls://{host}:{}", self.port);
        Ctl::new(&[&["--socket", &socket], words].concat())
    }
}

struct TlsStream(StreamOwned<ServerConnection, TcpStream>);

impl Read for TlsStream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for TlsStream {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.0.write(buffer)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl AsFd for TlsStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.sock.as_fd()
    }
}

impl Conversation for TlsStream {
    fn close_sending(&mut self) {
        self.0.conn.send_close_notify();
        // The client may have closed already.
        let _ = self.0.flush();
    }
}

#[test]
fn tls_with_an_authority_of_ones_own() {
    let pki = Pki::new();
    let node = TlsNode::start(pki.server("localhost", false), vec![reload()]);
    node.ctl("localhost", &["--rootcas", &pki.file("ca.pem"), "reload"]).run().assert(0, RELOADED, "");
    node.finish();
    // The same bundle as the system's.
    let node = TlsNode::start(pki.server("localhost", false), vec![reload()]);
    let outcome = node.ctl("localhost", &["reload"]).variable("SSL_CERT_FILE", &pki.file("ca.pem")).run();
    outcome.assert(0, RELOADED, "");
}

#[test]
fn a_certificate_for_another_host_is_refused_unless_asked_otherwise() {
    let pki = Pki::new();
    let rootcas = pki.file("ca.pem");
    let node = TlsNode::start(pki.server("elsewhere", false), vec![reload()]);
    let outcome = node.ctl("localhost", &["--rootcas", &rootcas, "reload"]).run();
    outcome.assert(1, "", &format!("ERROR: Could not connect to host localhost port {}", node.port));
    assert!(outcome.stderr.contains("hint: TLS: "), "{}", outcome.stderr);

    let node = TlsNode::start(pki.server("elsewhere", false), vec![reload()]);
    let words = ["--rootcas", &rootcas, "--insecureskipverify", "true", "reload"];
    node.ctl("localhost", &words).run().assert(0, RELOADED, "");
}

#[test]
fn an_unknown_issuer_is_refused_whatever_is_asked() {
    let (pki, other) = (Pki::new(), Pki::new());
    let node = TlsNode::start(pki.server("localhost", false), vec![reload()]);
    let words = ["--rootcas", &other.file("ca.pem"), "--insecureskipverify", "reload"];
    let outcome = node.ctl("localhost", &words).run();
    outcome.assert(1, "", &format!("ERROR: Could not connect to host localhost port {}", node.port));
}

#[test]
fn a_client_proves_itself_with_files_or_with_a_section_of_a_configuration() {
    let pki = Pki::new();
    pki.issue("client", "client");
    let (rootcas, cert, key) = (pki.file("ca.pem"), pki.file("client.pem"), pki.file("client.key"));
    let node = TlsNode::start(pki.server("localhost", true), vec![reload()]);
    let words = ["--rootcas", &rootcas, "--cert", &cert, "--key", &key, "reload"];
    node.ctl("localhost", &words).run().assert(0, RELOADED, "");

    let config = pki.file("node.yml");
    let section = format!("- local-only\n- tls-client: {{name: me, rootcas: {rootcas}, cert: {cert}, key: {key}}}\n");
    std::fs::write(&config, section).unwrap();
    let node = TlsNode::start(pki.server("localhost", true), vec![reload()]);
    node.ctl("localhost", &["-c", &config, "--tls-client", "me", "reload"]).run().assert(0, RELOADED, "");
    let told = format!("ERROR: there is no tls-client you in {config}");
    node.ctl("localhost", &["-c", &config, "--tls-client", "you", "reload"]).run().assert(1, "", &told);
}

#[test]
fn a_payload_ends_over_tls_and_the_answer_still_comes() {
    let pki = Pki::new();
    let steps = vec![
        say("Receptor Control, node n1\n"),
        Step::HearCommand(serde_json::json!({
            "command": "work", "subcommand": "submit", "node": "localhost", "worktype": "cat",
        })),
        say("Work unit created with ID K8ouomSS. Send stdin data and EOF.\n"),
        hear("x".repeat(1 << 20) + "\n"),
        Step::HearEnd,
        say("{\"result\":\"Job Started\",\"unitid\":\"K8ouomSS\"}\n"),
    ];
    let node = TlsNode::start(pki.server("localhost", false), vec![steps]);
    let words = ["--rootcas", &pki.file("ca.pem"), "work", "submit", "cat", "-p", "-"];
    let outcome = node.ctl("localhost", &words).stdin("x".repeat(1 << 20) + "\n").run();
    outcome.assert(0, "Result: Job Started\nUnit ID: K8ouomSS\n", "");
    node.finish();
}

#[test]
fn results_that_are_cut_over_tls_are_not_taken_for_whole() {
    let pki = Pki::new();
    let mut cut = streams("work results a 0", "a", "first\n");
    // Whoever cuts the connection cannot announce its end as the node would.
    cut.push(Step::Cut);
    let connections = vec![
        cut,
        asks("work status a", &status(1, "Running: PID 7", 6)),
        streams("work results a 6", "a", "second\n"),
        asks("work status a", &status(2, "exit status 0", 13)),
    ];
    let node = TlsNode::start(pki.server("localhost", false), connections);
    let words = ["--rootcas", &pki.file("ca.pem"), "work", "results", "a"];
    node.ctl("localhost", &words).run().assert(0, "first\nsecond\n", "");
    node.finish();
}

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::{Instant, sleep, timeout},
};
use worknode_mesh::Settings;
use worknode_protocol::id::NodeId;

use super::*;
use crate::control::stream::Duplex;

const PATIENCE: Duration = Duration::from_secs(30);

/// A node by itself, with bridges that lead from it to it.
struct World {
    mesh: MeshHandle,
    tasks: TaskTracker,
    stop: CancellationToken,
    dir: TempDir,
    _sockets: Vec<UnixSocket>,
}

impl World {
    fn mesh() -> MeshHandle {
        let settings = Settings { node: NodeId::parse("n").unwrap(), firewall: Vec::new(), idle: Duration::ZERO };
        worknode_mesh::start(settings).unwrap()
    }

    async fn with(bridges: impl FnOnce(&TempDir) -> Vec<Bridge>) -> Self {
        let (mesh, dir) = (Self::mesh(), TempDir::new().unwrap());
        let config = MeshConfig { bridges: bridges(&dir), ..MeshConfig::default() };
        let opened = Bridges::open(&config, &mesh, &Arc::default()).await.unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let _sockets = opened.serve(&tasks, &stop);
        Self { mesh, tasks, stop, dir, _sockets }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Everything comes to rest.
    async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        timeout(PATIENCE, self.tasks.wait()).await.unwrap();
        self.mesh.shutdown().await;
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn tcp_in(port: u16, service: &str) -> Bridge {
    Bridge::PortIn {
        udp: false,
        bind_addr: "127.0.0.1".to_owned(),
        port,
        remote_node: "localhost".to_owned(),
        remote_service: service.to_owned(),
        tls_server: None,
        tls_client: None,
    }
}

fn tcp_out(service: &str, address: SocketAddr) -> Bridge {
    Bridge::PortOut {
        udp: false,
        service: service.to_owned(),
        address: address.to_string(),
        tls_server: None,
        tls_client: None,
    }
}

async fn in_time<T>(event: impl Future<Output = T>) -> T {
    timeout(PATIENCE, event).await.expect("nothing happened in time")
}

/// Reads all, and only then answers what it has read.
async fn answer_at_the_end(mut stream: impl Duplex) {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    stream.write_all(format!("{} bytes", all.len()).as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
}

async fn ask(mut stream: impl Duplex, bytes: usize) -> String {
    stream.write_all(&vec![7; bytes]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    in_time(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

/// The reference loses this answer: mesh-protocol 12, point 6.
#[tokio::test]
async fn the_answer_after_a_half_close_arrives() {
    let behind = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, address) = (free_port(), behind.local_addr().unwrap());
    let world = World::with(|_| vec![tcp_out("tcp", address), tcp_in(port, "tcp")]).await;
    for bytes in [0, 1, 3_000_000] {
        let asking =
            tokio::spawn(async move { ask(TcpStream::connect(("127.0.0.1", port)).await.unwrap(), bytes).await });
        let (stream, _) = in_time(behind.accept()).await.unwrap();
        answer_at_the_end(stream).await;
        assert_eq!(asking.await.unwrap(), format!("{bytes} bytes"));
    }
    world.end().await;
}

/// The side behind the bridge speaks first, closes, and still hears.
#[tokio::test]
async fn a_half_close_works_in_the_other_direction_too() {
    let behind = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, address) = (free_port(), behind.local_addr().unwrap());
    let world = World::with(|_| vec![tcp_out("tcp", address), tcp_in(port, "tcp")]).await;
    let answering = tokio::spawn(async move {
        answer_at_the_end(TcpStream::connect(("127.0.0.1", port)).await.unwrap()).await;
    });
    let (stream, _) = in_time(behind.accept()).await.unwrap();
    assert_eq!(ask(stream, 100_000).await, "100000 bytes");
    answering.await.unwrap();
    world.end().await;
}

#[tokio::test]
async fn unix_sockets_lead_through_the_mesh() {
    let dir = TempDir::new().unwrap();
    let behind = UnixListener::bind(dir.path().join("behind")).unwrap();
    let world = World::with(|own| {
        vec![
            Bridge::SocketOut { service: "unix".to_owned(), filename: dir.path().join("behind"), tls: None },
            Bridge::SocketIn {
                filename: own.path().join("in"),
                permissions: 0o640,
                remote_node: "n".to_owned(),
                remote_service: "unix".to_owned(),
                tls: None,
            },
        ]
    })
    .await;
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(world.path("in")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o640);
    let path = world.path("in");
    let asking = tokio::spawn(async move { ask(UnixStream::connect(path).await.unwrap(), 200_000).await });
    let (stream, _) = in_time(behind.accept()).await.unwrap();
    answer_at_the_end(stream).await;
    assert_eq!(asking.await.unwrap(), "200000 bytes");
    world.end().await;
}

fn is_broken(read: io::Result<usize>) -> bool {
    read.is_err_and(|fault| fault.kind() == io::ErrorKind::ConnectionReset)
}

/// Half of an answer does not look like the whole.
#[tokio::test]
async fn what_breaks_on_one_side_is_broken_on_the_other() {
    let behind = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, address) = (free_port(), behind.local_addr().unwrap());
    let world = World::with(|_| vec![tcp_out("tcp", address), tcp_in(port, "tcp")]).await;
    let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut server, _) = in_time(behind.accept()).await.unwrap();
    server.write_all(b"half").await.unwrap();
    let mut half = [0; 4];
    in_time(client.read_exact(&mut half)).await.unwrap();
    rustix::net::sockopt::set_socket_linger(&server, Some(Duration::ZERO)).unwrap();
    drop(server);
    assert!(is_broken(in_time(client.read(&mut half)).await));
    world.end().await;
}

#[tokio::test]
async fn where_nothing_is_behind_the_connection_is_refused() {
    let (port, nobody) = (free_port(), SocketAddr::from(([127, 0, 0, 1], free_port())));
    let (missing, other) = (free_port(), free_port());
    let world = World::with(|_| {
        let far = Bridge::PortIn {
            udp: false,
            bind_addr: "127.0.0.1".to_owned(),
            port: other,
            remote_node: "elsewhere".to_owned(),
            remote_service: "tcp".to_owned(),
            tls_server: None,
            tls_client: None,
        };
        vec![tcp_out("tcp", nobody), tcp_in(port, "tcp"), tcp_in(missing, "missing"), far]
    })
    .await;
    for port in [port, missing, other] {
        let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        assert!(is_broken(in_time(client.read(&mut [0; 1])).await), "{port}");
    }
    world.end().await;
}

#[tokio::test]
async fn open_connections_end_with_the_node() {
    let behind = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, address) = (free_port(), behind.local_addr().unwrap());
    let world = World::with(|_| vec![tcp_out("tcp", address), tcp_in(port, "tcp")]).await;
    let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut server, _) = in_time(behind.accept()).await.unwrap();
    server.write_all(b"x").await.unwrap();
    in_time(client.read_exact(&mut [0; 1])).await.unwrap();
    world.end().await;
    assert!(is_broken(in_time(client.read(&mut [0; 1])).await));
    assert!(is_broken(in_time(server.read(&mut [0; 1])).await));
}

#[tokio::test]
async fn datagrams_find_their_way_and_back() {
    let behind = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = behind.local_addr().unwrap().to_string();
    let port = free_port();
    let world = World::with(|_| {
        let out = Bridge::PortOut { udp: true, service: "udp".to_owned(), address, tls_server: None, tls_client: None };
        let Bridge::PortIn { bind_addr, remote_node, .. } = tcp_in(port, "udp") else { unreachable!() };
        let service = "udp".to_owned();
        let into = Bridge::PortIn {
            udp: true,
            bind_addr,
            port,
            remote_node,
            remote_service: service,
            tls_server: None,
            tls_client: None,
        };
        vec![out, into]
    })
    .await;
    let mut block = [0; 2000];
    let mut senders = Vec::new();
    for name in ["one", "two"] {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(("127.0.0.1", port)).await.unwrap();
        client.send(name.as_bytes()).await.unwrap();
        let (length, from) = in_time(behind.recv_from(&mut block)).await.unwrap();
        assert_eq!(&block[..length], name.as_bytes());
        senders.push((client, from, name));
    }
    assert_ne!(senders[0].1, senders[1].1, "each sender has a port of its own behind");
    for (client, from, name) in &senders {
        behind.send_to(format!("answer to {name}").as_bytes(), from).await.unwrap();
        behind.send_to(b"", from).await.unwrap();
        let length = in_time(client.recv(&mut block)).await.unwrap();
        assert_eq!(&block[..length], format!("answer to {name}").as_bytes());
        assert_eq!(in_time(client.recv(&mut block)).await.unwrap(), 0, "an empty datagram is one, too");
    }
    world.end().await;
}

fn command(command: &str) -> Vec<Bridge> {
    vec![Bridge::Command { service: "cmd".to_owned(), command: command.to_owned(), tls: None }]
}

/// Client to command and back; a line feed of the command is one of a terminal.
#[tokio::test]
async fn a_command_runs_on_a_terminal_and_hears_the_end() {
    let world = World::with(|_| command("sh -c 'tty; stty -echo; echo ready; wc -c; echo done'")).await;
    let mut stream = world.mesh.dial("n", "cmd", None).await.unwrap();
    let mut said = String::new();
    while !said.contains("ready\r\n") {
        said.push(char::from(in_time(stream.read_u8()).await.unwrap()));
    }
    assert!(said.starts_with("/dev/"), "{said}");
    stream.write_all(b"two\nlines, the second without an end").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = String::new();
    in_time(stream.read_to_string(&mut rest)).await.unwrap();
    assert_eq!(rest.split_whitespace().collect::<Vec<_>>(), ["36", "done"]);
    world.end().await;
}

/// Whether a process is there and has not ended.
fn lives(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_command_goes_with_its_client() {
    let world = World::with(|_| command("sh -c 'echo $$; exec sleep 1000'")).await;
    for half_closed in [false, true] {
        let mut stream = world.mesh.dial("n", "cmd", None).await.unwrap();
        let mut pid = String::new();
        while !pid.ends_with("\r\n") {
            pid.push(char::from(in_time(stream.read_u8()).await.unwrap()));
        }
        let pid = pid.trim();
        assert!(lives(pid));
        if half_closed {
            stream.shutdown().await.unwrap();
        }
        stream.abort("the client has gone");
        let end = Instant::now() + PATIENCE;
        while lives(pid) {
            assert!(Instant::now() < end, "the command lives on");
            sleep(Duration::from_millis(10)).await;
        }
    }
    world.end().await;
}

#[tokio::test]
async fn what_cannot_be_opened_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let cases = [
        (
            tcp_in(port, "tcp"),
            format!("error listening on TCP: listen tcp 127.0.0.1:{port}: bind: address already in use"),
        ),
        (
            Bridge::SocketOut { service: "toolongname".to_owned(), filename: PathBuf::new(), tls: None },
            "error listening on Receptor network: service name toolongname too long".to_owned(),
        ),
        (
            Bridge::SocketOut { service: "s".to_owned(), filename: PathBuf::new(), tls: Some("no".to_owned()) },
            "unknown TLS config no".to_owned(),
        ),
        (command("''\"").remove(0), "error in command-service cmd: EOF found when expecting closing quote".to_owned()),
        (command(" # nothing").remove(0), "error in command-service cmd: the command is empty".to_owned()),
    ];
    for (bridge, text) in cases {
        let config = MeshConfig { bridges: vec![bridge], ..MeshConfig::default() };
        let refused = Bridges::open(&config, &World::mesh(), &Arc::default()).await.err().unwrap();
        assert_eq!(refused.to_string(), text);
    }
}

/// Other nodes see what is offered (mesh-protocol 5).
#[tokio::test]
async fn services_are_advertised_with_their_tags() {
    let world = World::with(|_| {
        let mut bridges = command("cat");
        bridges.push(tcp_out("tcp", ([127, 0, 0, 1], 80).into()));
        bridges.push(Bridge::SocketOut { service: "unix".to_owned(), filename: "/run/s".into(), tls: None });
        bridges
    })
    .await;
    let status = world.mesh.status().await;
    let mut told: Vec<_> = status.advertisements.iter().map(|ad| (ad.service.clone(), ad.tags.clone())).collect();
    told.sort_by(|one, other| one.0.cmp(&other.0));
    let tags = |list: &[(&str, &str)]| {
        Some(list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>())
    };
    let expected = [
        ("cmd".to_owned(), tags(&[("type", "Command Service")])),
        ("tcp".to_owned(), tags(&[("address", "127.0.0.1:80"), ("type", "TCP Proxy")])),
        ("unix".to_owned(), tags(&[("filename", "/run/s"), ("type", "Unix Proxy")])),
    ];
    assert_eq!(told, expected);
    world.end().await;
}

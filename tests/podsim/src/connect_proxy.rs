//! An HTTP proxy that knows CONNECT alone and leads every tunnel to one address, whatever name is asked for.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A tunnel that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// `HOST:PORT`.
    pub target: String,
    /// `Proxy-Authorization`.
    pub authorization: Option<String>,
}

/// A proxy on a loopback port. Its threads end with the connections that they serve, and with the test.
#[derive(Debug)]
pub struct ConnectProxy {
    address: SocketAddr,
    tunnels: Arc<Mutex<Vec<Tunnel>>>,
}

impl ConnectProxy {
    /// A proxy whose tunnels all end at `to`.
    pub fn start(to: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let tunnels = Arc::new(Mutex::new(Vec::new()));
        let known = Arc::clone(&tunnels);
        thread::Builder::new().name("connect-proxy".to_owned()).spawn(move || {
            for client in listener.incoming().flatten() {
                let known = Arc::clone(&known);
                // A client that breaks off is its own affair.
                thread::spawn(move || serve(client, to, &known));
            }
        })?;
        Ok(Self { address, tunnels })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The tunnels so far.
    pub fn tunnels(&self) -> Vec<Tunnel> {
        self.tunnels.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(client: TcpStream, to: SocketAddr, tunnels: &Mutex<Vec<Tunnel>>) -> io::Result<()> {
    // The client waits for the answer, so nothing of the tunnel is read too early.
    let mut reader = BufReader::new(client.try_clone()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut client = reader.into_inner();
    let first = lines.first().map(String::as_str).unwrap_or_default();
    let Some(target) = first.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()) else {
        return client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n");
    };
    let authorization = lines.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("proxy-authorization").then(|| value.trim().to_owned())
    });
    let tunnel = Tunnel { target: target.to_owned(), authorization };
    tunnels.lock().unwrap_or_else(PoisonError::into_inner).push(tunnel);
    let server = TcpStream::connect(to)?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (from_server, to_client) = (server.try_clone()?, client.try_clone()?);
    let back = thread::spawn(move || copy(from_server, to_client));
    let there = copy(client, server);
    let _ = back.join();
    there
}

/// Copies until the end, and hands that on.
fn copy(mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    let copied = io::copy(&mut from, &mut to).map(drop);
    to.shutdown(Shutdown::Write).and(copied)
}

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use super::{Address, Target};
use crate::failure::Failure;

/// How long one address of a host may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the TLS handshake may take: as long as the original's server allows.
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// An open connection, of which the two directions end apart.
pub(crate) enum Connection {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Connection {
    pub(crate) fn open(target: &Target) -> Result<Self, Failure> {
        match &target.address {
            Address::Unix(path) => {
                if !path.exists() {
                    return Err(Failure::NoSuchSocket(path.clone()));
                }
                let stream = UnixStream::connect(path);
                stream.map(Self::Unix).map_err(|error| Failure::Socket { path: path.clone(), error })
            }
            Address::Tcp { host, port } => Ok(Self::Tcp(open_tcp(host, *port)?)),
            Address::Tls { host, port } => {
                let mut client = target.tls.client(host)?;
                let mut stream = open_tcp(host, *port)?;
                // A failed handshake is told as the original does: the host cannot be connected to.
                shake_hands(&mut client, &mut stream).map_err(|error| Failure::Host {
                    host: host.clone(),
                    port: *port,
                    why: Some(format!("TLS: {error}")),
                })?;
                Ok(Self::Tls(Box::new(StreamOwned::new(client, stream))))
            }
        }
    }

    /// Ends the direction from us to the server: what it reads comes to its end, what it writes still arrives.
    pub(crate) fn close_sending(&mut self) -> io::Result<()> {
        let closed = match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush().and_then(|()| stream.sock.shutdown(Shutdown::Write))
            }
        };
        match closed {
            // The server was faster and has closed altogether.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            closed => closed,
        }
    }

    /// Lets a read end with `WouldBlock` after `timeout`; `None` waits for ever.
    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        // Zero is refused by the system; the shortest wait there is comes closest.
        let timeout = timeout.map(|timeout| timeout.max(Duration::from_micros(1)));
        match self {
            Self::Unix(stream) => stream.set_read_timeout(timeout),
            Self::Tcp(stream) => stream.set_read_timeout(timeout),
            Self::Tls(stream) => stream.sock.set_read_timeout(timeout),
        }
    }

    /// Lets reads and writes end with `WouldBlock` at once.
    pub(crate) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_nonblocking(nonblocking),
            Self::Tcp(stream) => stream.set_nonblocking(nonblocking),
            Self::Tls(stream) => stream.sock.set_nonblocking(nonblocking),
        }
    }

    /// Whether bytes wait to be sent that a write has already taken: TLS encrypts before it sends.
    pub(crate) fn wants_write(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.conn.wants_write())
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(buffer),
            Self::Tcp(stream) => stream.write(buffer),
            Self::Tls(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.flush(),
            Self::Tcp(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(stream) => stream.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
            Self::Tls(stream) => stream.sock.as_fd(),
        }
    }
}

/// Tries the addresses of the host one after the other.
fn open_tcp(host: &str, port: u16) -> Result<TcpStream, Failure> {
    let failure = |error: io::Error| Failure::Host { host: host.to_owned(), port, why: Some(error.to_string()) };
    let mut last = io::Error::other("the host has no address");
    for address in (host, port).to_socket_addrs().map_err(failure)? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(failure)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(failure(last))
}

fn shake_hands(client: &mut ClientConnection, stream: &mut TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(TLS_HANDSHAKE_TIMEOUT))?;
    while client.is_handshaking() {
        client.complete_io(stream).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "no answer to the handshake"),
            io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the server closed the connection"),
            _ => error,
        })?;
    }
    stream.set_read_timeout(None)
}

//! TCP connections, with TLS where it is configured. WebSockets begin as these, too.

use std::{io, time::Duration};

use socket2::SockRef;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{connection::Io, proxy::Proxy};
use crate::tls;

/// Time for a connection to be opened, and once more for its TLS handshake (mesh-protocol 1.1).
const OPENING: Duration = Duration::from_secs(15);

/// How much the system may hold that it has not sent yet. What waits longer waits in the link's outbox, where routing
/// messages overtake it.
const UNSENT: u32 = 256 * 1024;

/// A stream, and the node IDs that its other end may have by its certificate; None: any.
pub(super) type Opened = (Io, Option<Vec<String>>);

/// Opens a connection to `host:port`, through a proxy if there is one. `host` is the name that a certificate must be
/// made for.
pub(super) async fn dial(
    address: &str,
    host: &str,
    tls: Option<&tls::Client>,
    proxy: Option<&Proxy>,
) -> io::Result<Opened> {
    let mut stream = timeout(OPENING, TcpStream::connect(proxy.map_or(address, Proxy::address))).await??;
    prepare(&stream)?;
    if let Some(proxy) = proxy {
        proxy.open(&mut stream, address).await?;
    }
    let Some(tls) = tls else { return Ok((Io::Plain(stream), None)) };
    let (config, name) = tls.backend(host).await.map_err(io::Error::other)?;
    let stream = timeout(OPENING, TlsConnector::from(config).connect(name, stream)).await??;
    let certified = tls.certified(stream.get_ref().1.peer_certificates());
    Ok((Io::Tls(Box::new(stream)), certified))
}

/// Does the listener's part of the TLS handshake, if there is one.
pub(super) async fn accept(stream: TcpStream, tls: Option<&tls::Server>) -> io::Result<Opened> {
    prepare(&stream)?;
    let Some(tls) = tls else { return Ok((Io::Plain(stream), None)) };
    let config = tls.backend().await.map_err(io::Error::other)?;
    let stream = timeout(OPENING, TlsAcceptor::from(config).accept(stream)).await??;
    let certified = tls.certified(stream.get_ref().1.peer_certificates());
    Ok((Io::Tls(Box::new(stream)), certified))
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_notsent_lowat(UNSENT)
}

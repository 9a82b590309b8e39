//! Peers: connections that this node opens, again and again.

use std::{io, net::Ipv6Addr, sync::Arc};

use rand::RngExt;
use tokio::{net::UdpSocket, time::sleep};
use worknode_protocol::config::model::mesh::{Peer, Transport};

use super::{
    BackendError, BackendTls, Connection, Context, Reader, Serve, Writer,
    connection::Io,
    tcp, udp,
    websocket::{self, Target},
};
use crate::tls;

/// How a peer is reached.
enum Way {
    /// `host:port`, and the host alone.
    Tcp(String, String),
    Udp(String),
    WebSocket(Box<Target>),
}

/// Starts to dial.
pub(super) fn start<S: Serve>(peer: &Peer, context: Context<S>) -> Result<(), BackendError> {
    let wrong = |why: &str| BackendError::Address { address: peer.address.clone(), why: why.to_owned() };
    let way = match peer.transport {
        Transport::Tcp => {
            let host = host_of(&peer.address).ok_or_else(|| wrong("there is no port"))?;
            Way::Tcp(peer.address.clone(), host.to_owned())
        }
        Transport::Udp => Way::Udp(peer.address.clone()),
        Transport::WebSocket => {
            let variable = |name: &str| std::env::var(name).ok();
            let target =
                Target::new(&peer.address, peer.extra_header.as_deref(), variable).map_err(|why| wrong(&why))?;
            if target.tls && !matches!(context.settings.tls, BackendTls::Client(_)) {
                return Err(wrong("there are no TLS settings for it"));
            }
            Way::WebSocket(Box::new(target))
        }
    };
    let redial = peer.redial;
    let tasks = context.tasks.clone();
    tasks.spawn(async move {
        let stop = context.stop.clone();
        stop.run_until_cancelled(dial_again(&way, redial, &context)).await;
    });
    Ok(())
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn host_of(address: &str) -> Option<&str> {
    let (host, _) = address.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    Some(bare.unwrap_or(host))
}

async fn dial_again<S: Serve>(way: &Way, redial: bool, context: &Context<S>) {
    let mut failures = 0_u32;
    loop {
        match way.dial(&context.settings.tls).await {
            Ok(connection) => {
                let remote = connection.remote.clone();
                // In a task of its own: this one is dropped on stop, that one closes the connection then.
                let serving = context.tasks.spawn({
                    let context = context.clone();
                    async move { context.serve(connection).await }
                });
                // A peer that does not want us just ends the connection, often without a word (mesh-protocol 2).
                failures = if serving.await.unwrap_or(false) { 0 } else { failures.saturating_add(1) };
                tracing::info!(%remote, "a connection to a peer ended");
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                tracing::warn!(peer = way.address(), %error, "a peer could not be reached");
            }
        }
        if !redial {
            return;
        }
        let random = rand::rng().random();
        sleep(context.settings.redial.wait(failures, random)).await;
    }
}

impl Way {
    fn address(&self) -> &str {
        match self {
            Self::Tcp(address, _) | Self::Udp(address) => address,
            Self::WebSocket(target) => &target.address,
        }
    }

    async fn dial(&self, tls: &BackendTls) -> io::Result<Connection> {
        let tls: Option<&tls::Client> = match tls {
            BackendTls::Client(tls) => Some(&**tls),
            BackendTls::Off | BackendTls::Server(_) => None,
        };
        match self {
            Self::Tcp(address, host) => {
                let (io, certified) = tcp::dial(address, host, tls, None).await?;
                Ok(Connection::frames(io, address.clone(), certified))
            }
            Self::Udp(address) => dial_udp(address).await,
            Self::WebSocket(target) => {
                let tls = tls.filter(|_| target.tls);
                let (io, certified): (Io, _) =
                    tcp::dial(&target.address, &target.host, tls, target.proxy.as_ref()).await?;
                let socket = websocket::dial(io.boxed(), target).await?;
                Ok(Connection::web_socket(socket, target.address.clone(), certified))
            }
        }
    }
}

/// There is nothing to be opened: the peer notices us by our first message.
async fn dial_udp(address: &str) -> io::Result<Connection> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for remote in tokio::net::lookup_host(address).await? {
        let any = if remote.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        let any: std::net::SocketAddr = any;
        let socket = UdpSocket::bind(any).await?;
        udp::prepare(&socket)?;
        match socket.connect(remote).await {
            Ok(()) => {
                let socket = Arc::new(socket);
                return Ok(Connection {
                    reader: Reader::Datagrams(Arc::clone(&socket), bytes::BytesMut::new()),
                    writer: Writer::Datagrams(socket, None),
                    remote: remote.to_string(),
                    certified: None,
                });
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_what_a_certificate_is_made_for() {
        assert_eq!(host_of("hub.example.com:17000"), Some("hub.example.com"));
        assert_eq!(host_of("[::1]:17000"), Some("::1"));
        assert_eq!(host_of("hub"), None);
    }
}

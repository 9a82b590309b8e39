//! Listeners on TCP: plain frames and WebSockets.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::sleep,
};
use worknode_protocol::config::model::mesh::{Listener, Transport};

use super::{BackendError, BackendTls, Connection, Context, Serve, tcp, websocket};
use crate::tls;

/// Connections that one listener has at the same time; more wait to be accepted.
const MOST_CONNECTIONS: usize = 4096;
/// Pause where the system cannot give more connections: the cause (open files) does not pass by asking again.
const PAUSE: Duration = Duration::from_millis(100);

/// Binds a listener and starts to accept.
pub(super) async fn start<S: Serve>(listener: &Listener, context: Context<S>) -> Result<SocketAddr, BackendError> {
    let address = format!("{}:{}", listener.bind_addr, listener.port);
    let failed = |error| BackendError::Listen { network: "tcp", address: address.clone(), error };
    let socket = TcpListener::bind((listener.bind_addr.as_str(), listener.port)).await.map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    let path = (listener.transport == Transport::WebSocket).then(|| Arc::from(listener.path.as_str()));
    context.tasks.spawn(accept(socket, path, context.clone()));
    Ok(bound)
}

/// Accepts until it is stopped. `path` is that of WebSockets; None for plain frames.
async fn accept<S: Serve>(socket: TcpListener, path: Option<Arc<str>>, context: Context<S>) {
    let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    while let Some(accepted) = context.stop.run_until_cancelled(next(&socket, &permits)).await {
        match accepted {
            Ok((stream, remote, permit)) => {
                let (path, own) = (path.clone(), context.clone());
                context.tasks.spawn(async move {
                    take(stream, remote, path, &own).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted");
                context.stop.run_until_cancelled(sleep(PAUSE)).await;
            }
        }
    }
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn next(socket: &TcpListener, permits: &Arc<Semaphore>) -> io::Result<Accepted> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, remote) = socket.accept().await?;
    Ok((stream, remote, permit))
}

/// One connection, from the handshakes to its end.
async fn take<S: Serve>(stream: TcpStream, remote: SocketAddr, path: Option<Arc<str>>, context: &Context<S>) {
    let tls = match &context.settings.tls {
        BackendTls::Server(tls) => Some(&**tls),
        BackendTls::Off | BackendTls::Client(_) => None,
    };
    let opened = shake(stream, remote, path.as_deref(), tls);
    match context.stop.run_until_cancelled(opened).await {
        Some(Ok(connection)) => {
            context.serve(connection).await;
        }
        Some(Err(error)) => tracing::info!(%remote, %error, "a connection was not taken"),
        None => {}
    }
}

async fn shake(
    stream: TcpStream,
    remote: SocketAddr,
    path: Option<&str>,
    tls: Option<&tls::Server>,
) -> io::Result<Connection> {
    let (io, certified) = tcp::accept(stream, tls).await?;
    let Some(path) = path else { return Ok(Connection::frames(io, remote.to_string(), certified)) };
    let socket = websocket::accept(io.boxed(), path).await?;
    Ok(Connection::web_socket(socket, remote.to_string(), certified))
}

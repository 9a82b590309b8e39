//! Accepts control connections and gives each a task of its own.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream, UnixListener},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};
use worknode_mesh::{Listener, tls};
use worknode_protocol::control::{SessionError, error_line};

use super::{
    Context,
    access::{Client, Rules},
    records::Records,
    session,
    stream::ControlStream,
};

/// Longest TLS handshake (control-protocol 2.1).
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Longest time that a refusal may take to be written.
const REFUSAL: Duration = Duration::from_secs(1);
/// Refusals under way at once; beyond them a connection is just closed.
const REFUSALS: usize = 16;
/// First and longest pause after a failed accept, which mostly means that file descriptors ran out.
const ACCEPT_PAUSE: [Duration; 2] = [Duration::from_millis(5), Duration::from_secs(1)];

/// Where connections come from.
pub enum Source {
    /// The Unix socket.
    Unix(UnixListener),
    /// TCP, with TLS where it has settings.
    Tcp(TcpListener, Option<Arc<tls::Server>>),
    /// Streams to a service of this node.
    Mesh(Listener),
}

enum Accepted {
    Plain(ControlStream, Client),
    Handshake(TcpStream, Arc<tls::Server>),
}

impl Source {
    /// The next connection. None: there will be no more.
    async fn accept(&mut self) -> Option<io::Result<Accepted>> {
        match self {
            Self::Unix(listener) => Some(listener.accept().await.map(|(stream, _)| {
                let ids = stream.peer_cred().ok().map(|peer| (peer.uid(), peer.gid()));
                Accepted::Plain(ControlStream::Unix(stream), Client::Unix { ids })
            })),
            Self::Tcp(listener, tls) => Some(listener.accept().await.map(|(stream, _)| {
                prepare(&stream);
                match tls {
                    None => Accepted::Plain(ControlStream::Tcp(stream), Client::Tcp { names: Vec::new() }),
                    Some(tls) => Accepted::Handshake(stream, tls.clone()),
                }
            })),
            Self::Mesh(listener) => {
                let (stream, node) = listener.accept().await?;
                debug!("control connection from node {node}");
                let names = Client::names(stream.peer_certificates().as_deref());
                Some(Ok(Accepted::Plain(ControlStream::Mesh(Box::new(stream)), Client::Mesh { node, names })))
            }
        }
    }
}

/// Answers are small and awaited; a peer whose machine is gone is noticed by keep-alive.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_socket_keepalive(stream, true);
}

/// The bound on connections, over all listeners of the node.
pub struct Admission {
    places: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    limit: usize,
}

impl Admission {
    /// Room for `limit` connections at once.
    pub fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(limit)), refusals: Arc::new(Semaphore::new(REFUSALS)), limit }
    }
}

/// A source, and the rules for whoever comes from it.
pub struct Door {
    /// Where connections come from.
    pub source: Source,
    /// Who may do what.
    pub rules: Rules,
}

/// Accepts until told to stop. Sessions go on in `sessions`.
pub async fn serve(door: Door, context: Arc<Context>, sessions: TaskTracker, stop: CancellationToken) {
    let Door { mut source, rules } = door;
    let mut pause = ACCEPT_PAUSE[0];
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = source.accept() => accepted,
        };
        match accepted {
            None => return,
            Some(Ok(accepted)) => {
                pause = ACCEPT_PAUSE[0];
                admit(accepted, &rules, &context, &sessions, &stop);
            }
            Some(Err(fault)) => {
                warn!("control connection not accepted: {fault}");
                tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(pause) => {} }
                pause = (pause * 2).min(ACCEPT_PAUSE[1]);
            }
        }
    }
}

fn admit(accepted: Accepted, rules: &Rules, context: &Arc<Context>, sessions: &TaskTracker, stop: &CancellationToken) {
    let admission = &context.admission;
    match admission.places.clone().try_acquire_owned() {
        Ok(place) => {
            let (rules, context, stop) = (rules.clone(), context.clone(), stop.clone());
            sessions.spawn(async move {
                if let Some((stream, client)) = established(accepted).await {
                    session::serve(stream, rules.judge(client), context, stop).await;
                }
                drop(place);
            });
        }
        Err(_) => {
            let Ok(turn) = admission.refusals.clone().try_acquire_owned() else {
                return;
            };
            let refusal = error_line(&SessionError::TooManyConnections { limit: admission.limit });
            sessions.spawn(async move {
                let _ = tokio::time::timeout(REFUSAL, refuse(accepted, refusal)).await;
                drop(turn);
            });
        }
    }
}

async fn established(accepted: Accepted) -> Option<(ControlStream, Client)> {
    match accepted {
        Accepted::Plain(stream, client) => Some((stream, client)),
        Accepted::Handshake(stream, tls) => match tokio::time::timeout(HANDSHAKE, handshake(stream, &tls)).await {
            Ok(Ok(established)) => Some(established),
            Ok(Err(fault)) => {
                debug!("TLS handshake failed: {fault}");
                None
            }
            Err(_) => {
                debug!("TLS handshake not finished in {} s", HANDSHAKE.as_secs());
                None
            }
        },
    }
}

async fn handshake(stream: TcpStream, tls: &tls::Server) -> io::Result<(ControlStream, Client)> {
    let config = tls.backend().await.map_err(io::Error::other)?;
    let stream = TlsAcceptor::from(config).accept(Records::over(stream)).await?;
    let names = Client::names(stream.get_ref().1.peer_certificates());
    Ok((ControlStream::Tls(Box::new(stream)), Client::Tcp { names }))
}

async fn refuse(accepted: Accepted, refusal: String) {
    if let Some((mut stream, _)) = established(accepted).await {
        let _ = stream.write_all(refusal.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

//! From local sockets to a service of the mesh: `tcp-server`, `unix-socket-server`.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};
use worknode_mesh::{
    MeshHandle, Stream,
    tls::{Client, Server},
};

use super::{
    MOST_CONNECTIONS,
    join::{Local, join},
};

/// Longest TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Pause after a failed accept, which mostly means that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Where connections come in.
pub(super) enum Door {
    Tcp(TcpListener, Option<Arc<Server>>),
    Unix(UnixListener),
}

/// Where they go.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) node: String,
    pub(super) service: String,
    pub(super) tls: Option<Arc<Client>>,
}

/// A bridge into the mesh.
pub(super) struct Inward {
    pub(super) door: Door,
    pub(super) target: Target,
    pub(super) mesh: MeshHandle,
}

enum Arrived {
    Tcp(TcpStream, Option<Arc<Server>>),
    Unix(UnixStream),
}

impl Door {
    async fn accept(&self) -> io::Result<Arrived> {
        Ok(match self {
            Self::Tcp(listener, tls) => Arrived::Tcp(listener.accept().await?.0, tls.clone()),
            Self::Unix(listener) => Arrived::Unix(listener.accept().await?.0),
        })
    }
}

impl Inward {
    /// Accepts until told to stop.
    pub(super) async fn serve(self, tasks: TaskTracker, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
                Ok::<_, io::Error>((place, self.door.accept().await?))
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                next = next => match next {
                    Ok((place, arrived)) => {
                        let (mesh, target, stop) = (self.mesh.clone(), self.target.clone(), stop.clone());
                        tasks.spawn(async move {
                            carry(arrived, &mesh, &target, &stop).await;
                            drop(place);
                        });
                    }
                    Err(fault) => {
                        warn!("connection for {} not accepted: {fault}", self.target.service);
                        tokio::select! { () = stop.cancelled() => return, () = sleep(ACCEPT_PAUSE) => {} }
                    }
                },
            }
        }
    }
}

/// One connection, from its begin to its end.
async fn carry(arrived: Arrived, mesh: &MeshHandle, target: &Target, stop: &CancellationToken) {
    let opened = tokio::select! {
        () = stop.cancelled() => return,
        opened = open(arrived, mesh, target) => opened,
    };
    if let Some((stream, local)) = opened
        && let Err(fault) = join(stream, local, stop).await
    {
        debug!("connection to {} on {} broke: {fault}", target.service, target.node);
    }
}

/// Both ends, if both can be had.
async fn open(arrived: Arrived, mesh: &MeshHandle, target: &Target) -> Option<(Stream, Local)> {
    let local = match timeout(HANDSHAKE, welcome(arrived)).await {
        Ok(Ok(local)) => local,
        Ok(Err(fault)) => {
            debug!("TLS handshake failed: {fault}");
            return None;
        }
        Err(_) => {
            debug!("TLS handshake not finished in {} s", HANDSHAKE.as_secs());
            return None;
        }
    };
    match mesh.dial(&target.node, &target.service, target.tls.as_deref()).await {
        Ok(stream) => Some((stream, local)),
        Err(fault) => {
            warn!("no connection to {} on {}: {fault}", target.service, target.node);
            local.reset();
            None
        }
    }
}

async fn welcome(arrived: Arrived) -> io::Result<Local> {
    match arrived {
        Arrived::Unix(stream) => Ok(Local::plain(stream)),
        Arrived::Tcp(stream, None) => Local::tcp(stream, |stream| async { Ok(stream) }).await,
        Arrived::Tcp(stream, Some(tls)) => {
            let config = tls.backend().await.map_err(io::Error::other)?;
            Local::tcp(stream, |stream| TlsAcceptor::from(config).accept(stream)).await
        }
    }
}

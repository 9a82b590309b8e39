//! From a service of this node to a local socket or a command: `tcp-client`, `unix-socket-client`, `command-service`.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    net::{TcpStream, UnixStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};
use worknode_mesh::{Listener, Stream, tls::Client};

use super::{
    MOST_CONNECTIONS, command,
    join::{Local, join},
};

/// Longest time that opening the local end may take, its TLS handshake included.
const OPENING: Duration = Duration::from_secs(15);

/// What a stream is led to.
pub(super) enum Way {
    /// `host:port`, with TLS where there are settings.
    Tcp(String, Option<Arc<Client>>),
    /// A Unix socket.
    Unix(PathBuf),
    /// A program and its arguments, on a terminal of its own.
    Command(Arc<[String]>),
}

/// A bridge out of the mesh.
pub(super) struct Outward {
    pub(super) streams: Listener,
    pub(super) service: String,
    pub(super) way: Arc<Way>,
}

impl Outward {
    /// Accepts until told to stop.
    pub(super) async fn serve(mut self, tasks: TaskTracker, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await.ok()?;
                Some((place, self.streams.accept().await?))
            };
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                next = next => next,
            };
            let Some((place, (stream, from))) = next else { return };
            let (way, service, stop) = (Arc::clone(&self.way), self.service.clone(), stop.clone());
            tasks.spawn(async move {
                if let Err(fault) = way.carry(stream, &stop).await {
                    debug!("stream from {from} to {service} broke: {fault}");
                }
                drop(place);
            });
        }
    }
}

impl Way {
    /// One stream, from its begin to its end.
    async fn carry(&self, stream: Stream, stop: &CancellationToken) -> io::Result<()> {
        if let Self::Command(words) = self {
            return command::run(words, stream, stop).await;
        }
        let opened = timeout(OPENING, self.open()).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match opened {
            Ok(local) => join(stream, local, stop).await,
            Err(fault) => {
                warn!("{} cannot be reached: {fault}", self.name());
                stream.abort("the service cannot reach what is behind it");
                Ok(())
            }
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Tcp(address, _) => address.clone(),
            Self::Unix(path) => path.display().to_string(),
            Self::Command(words) => words.first().cloned().unwrap_or_default(),
        }
    }

    async fn open(&self) -> io::Result<Local> {
        match self {
            Self::Tcp(address, None) => Local::tcp(TcpStream::connect(address).await?, |tcp| async { Ok(tcp) }).await,
            Self::Tcp(address, Some(tls)) => {
                let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let (config, name) = tls.backend(host).await.map_err(io::Error::other)?;
                let tcp = TcpStream::connect(address).await?;
                Local::tcp(tcp, |tcp| TlsConnector::from(config).connect(name, tcp)).await
            }
            Self::Unix(path) => Ok(Local::plain(UnixStream::connect(path).await?)),
            Self::Command(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

//! The listener: TLS on a loopback port, HTTP/1.1 on each connection, and an end and a new beginning on demand.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api;
use crate::cluster::Cluster;
use crate::connections::Which;
use crate::wire::{Close, Gate, Wire};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// An API server that can be stopped and started.
pub(crate) struct Server {
    cluster: Arc<Cluster>,
    tls: TlsAcceptor,
    address: SocketAddr,
    /// Bound to the address and never listening: while the API is stopped, connections are refused, and nobody else
    /// is given the port.
    _reserved: TcpSocket,
    /// Of the listener that runs; `None` while stopped.
    running: Mutex<Option<Running>>,
    ended: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Clone)]
struct Running {
    /// No new connections, and nothing new on old ones.
    drain: CancellationToken,
    /// All connections end, those included that are not in the table of connections yet.
    killed: CancellationToken,
    /// The listener has closed its port.
    closed: CancellationToken,
}

impl Server {
    /// Binds the port and begins to serve.
    pub(crate) fn start(cluster: Arc<Cluster>, tls: Arc<rustls::ServerConfig>, port: u16) -> io::Result<Arc<Self>> {
        let reserved = TcpSocket::new_v4()?;
        reserved.set_reuseaddr(true)?;
        reserved.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        // Only now, so that the port of another simulator was refused.
        reserved.set_reuseport(true)?;
        let address = reserved.local_addr()?;
        let listener = listen(address)?;
        let server = Arc::new(Self {
            cluster,
            tls: TlsAcceptor::from(tls),
            address,
            _reserved: reserved,
            running: Mutex::new(None),
            ended: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        server.serve(listener);
        Ok(server)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the port. As a killed process, all connections end; in an orderly end log and attach streams live on.
    pub(crate) async fn stop(&self, orderly: bool) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(running) = running else { return };
        running.drain.cancel();
        running.closed.cancelled().await;
        if orderly {
            self.cluster.watch_faults.send_modify(|faults| faults.ended += 1);
        } else {
            running.killed.cancel();
            self.cluster.connections.close(&Which::default(), Close::Drop);
        }
    }

    /// Opens the port again.
    pub(crate) fn restart(self: &Arc<Self>) -> io::Result<()> {
        if self.running.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        let listener = listen(self.address)?;
        self.serve(listener);
        Ok(())
    }

    /// Ends everything and waits for it.
    pub(crate) async fn end(&self) {
        self.stop(false).await;
        self.ended.cancel();
        self.cluster.connections.close(&Which::default(), Close::Drop);
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn serve(self: &Arc<Self>, listener: TcpListener) {
        let running = Running {
            drain: CancellationToken::new(),
            killed: self.ended.child_token(),
            closed: CancellationToken::new(),
        };
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running.clone());
        self.tasks.spawn(Arc::clone(self).accept(listener, running));
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, running: Running) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = running.drain.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((tcp, _)) => {
                    self.tasks.spawn(Arc::clone(&self).connection(tcp, running.clone()));
                }
                Err(error) => {
                    // Out of descriptors, most likely: some will be closed soon.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        }
        drop(listener);
        running.closed.cancel();
    }

    /// One connection, until either side or a fault ends it.
    async fn connection(self: Arc<Self>, tcp: TcpStream, running: Running) {
        let _ = tcp.set_nodelay(true);
        let gate = Arc::new(Gate::new());
        let registered = self.cluster.connections.register(Arc::clone(&gate));
        let wire = Wire::new(tcp, Arc::clone(&gate));
        tokio::select! {
            biased;
            () = gate.closed() => {}
            () = running.killed.cancelled() => {}
            () = self.http(wire, registered, running.drain) => {}
        }
    }

    async fn http(&self, wire: Wire, registered: crate::connections::Registered, drain: CancellationToken) {
        let Ok(tls) = self.tls.accept(wire).await else { return };
        // Moved into the attach session if the connection becomes one, so that it stays in the table.
        let registered = Arc::new(registered);
        let service = service_fn(|request| {
            api::answer(Arc::clone(&self.cluster), Arc::clone(&registered), self.tasks.clone(), request)
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(tls), service).with_upgrades();
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = drain.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// Beside the socket that reserves the address.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

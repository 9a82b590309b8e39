//! The mesh as the rest of the node sees it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rand::RngExt;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use worknode_protocol::{
    config::model::mesh::FirewallRule,
    control::{ConnectError, NodeStatus, WorkCommand},
    id::NodeId,
    mesh::ConnType,
};

use crate::{
    backend::{self, Addresses, BackendError, BackendSettings, Order},
    datagram::{Dropped, Forwarder, ListenError, View},
    driver::{self, Command, Driver},
    firewall::Firewall,
    quic::{Insecure, Listener, Quic, Stream},
    router::{Limits, OwnService, Router},
    session::{IDLE, Links},
    socket::DatagramSocket,
    tls,
};

/// Time for open streams to be closed, when the mesh stops.
const CLOSING: Duration = Duration::from_secs(5);

/// What the mesh of a node needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of this node.
    pub node: NodeId,
    /// Rules for datagrams, the first that matches decides.
    pub firewall: Vec<FirewallRule>,
    /// After what time of silence a link ends; less than 21 s counts as 21 s (mesh-protocol 4.5).
    pub idle: Duration,
}

/// What the other nodes are told about a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertised {
    /// Tags such as `type`.
    pub tags: BTreeMap<String, String>,
    /// Work types, only for the control service.
    pub work_commands: Option<Vec<WorkCommand>>,
}

/// The mesh cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// The built-in TLS of streams cannot be made.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// A firewall rule makes no sense.
    #[error("firewall rule: {0}")]
    Firewall(String),
}

/// A mesh that runs. Clones are the same mesh; it runs until [`MeshHandle::shutdown`].
#[derive(Clone)]
pub struct MeshHandle {
    pub(crate) forwarder: Arc<Forwarder>,
    quic: Quic,
    driver: mpsc::Sender<Command>,
    backends: mpsc::Sender<Order>,
    /// Ends the driver, last of all.
    stop: CancellationToken,
}

impl std::fmt::Debug for MeshHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MeshHandle").field("node", &self.forwarder.own()).finish_non_exhaustive()
    }
}

/// Starts the mesh of a node: without links, until it is given backends.
///
/// # Errors
/// If the settings make no sense, or the system has no random numbers.
pub fn start(settings: Settings) -> Result<MeshHandle, MeshError> {
    let firewall = Firewall::new(&settings.firewall).map_err(|error| MeshError::Firewall(error.to_string()))?;
    let firewall = (!settings.firewall.is_empty()).then_some(firewall);
    let insecure = Insecure { client: tls::insecure_client()?, server: tls::insecure_server()? };
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = driver::epoch(since_1970, rand::rng().random());
    let router = Router::new(settings.node.clone(), epoch, rand::rng().random(), Limits::default());

    let (publish, view) = watch::channel(View::default());
    let forwarder = Arc::new(Forwarder::new(settings.node.to_string(), firewall, view));
    let (driver, commands) = mpsc::channel(driver::INBOX);
    let (backends, orders) = mpsc::channel(1);
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    tokio::spawn(Driver::new(router, publish).run(commands, stop.clone()));
    let next = Arc::new(AtomicU64::new(1));
    let idle = settings.idle.max(IDLE);
    let links = Links { forwarder: Arc::clone(&forwarder), driver: driver.clone(), idle, next };
    tokio::spawn(backend::manage(links, orders));
    let quic = Quic {
        forwarder: Arc::clone(&forwarder),
        insecure,
        stop: CancellationToken::new(),
        tasks,
        open: Arc::default(),
        writers: Arc::default(),
    };
    Ok(MeshHandle { forwarder, quic, driver, backends, stop })
}

impl MeshHandle {
    /// The name of this node.
    #[must_use]
    pub fn node(&self) -> &str {
        self.forwarder.own()
    }

    /// Makes these the backends that run. Those that ran before and are among them go on undisturbed. Answers where they
    /// listen, in the order of the list.
    ///
    /// # Errors
    /// One cannot be started. The backends are as they were before, then.
    pub async fn set_backends(&self, backends: Vec<BackendSettings>) -> Result<Addresses, BackendError> {
        let (done, result) = oneshot::channel();
        if self.backends.send(Order::Set(backends, done)).await.is_err() {
            return Err(BackendError::Stopped);
        }
        result.await.unwrap_or(Err(BackendError::Stopped))
    }

    /// Opens a stream to a service of a node; `localhost` is this one.
    ///
    /// # Errors
    /// The node cannot be reached, does not know the service, or one of the two does not trust the other.
    pub async fn dial(&self, node: &str, service: &str, tls: Option<&tls::Client>) -> Result<Stream, ConnectError> {
        self.quic.dial(node, service, tls).await
    }

    /// Offers a service that accepts streams, and tells the other nodes of it if it is advertised.
    ///
    /// # Errors
    /// The name cannot be used.
    pub async fn listen(
        &self,
        service: &str,
        tls: Option<Arc<tls::Server>>,
        advertised: Option<Advertised>,
    ) -> Result<Listener, ListenError> {
        let conn_type = if tls.is_some() { ConnType::StreamTls } else { ConnType::Stream };
        let listener = self.quic.listen(self.forwarder.open(service)?, tls)?;
        self.advertise(service, conn_type, advertised).await;
        Ok(listener)
    }

    /// Offers a service for datagrams, and tells the other nodes of it if it is advertised.
    ///
    /// # Errors
    /// The name cannot be used.
    pub async fn datagrams(
        &self,
        service: &str,
        advertised: Option<Advertised>,
    ) -> Result<DatagramSocket, ListenError> {
        let opened = self.forwarder.open(service)?;
        self.advertise(service, ConnType::Datagram, advertised).await;
        Ok(DatagramSocket::new(Arc::clone(&self.forwarder), opened))
    }

    /// A socket for datagrams on a service with a name that nobody else has.
    #[must_use]
    pub fn ephemeral_datagrams(&self) -> DatagramSocket {
        DatagramSocket::new(Arc::clone(&self.forwarder), self.forwarder.ephemeral())
    }

    /// Tells the other nodes what is new about a service.
    pub async fn advertise(&self, service: &str, conn_type: ConnType, advertised: Option<Advertised>) {
        let Some(advertised) = advertised else { return };
        let Advertised { tags, work_commands } = advertised;
        let tags = (!tags.is_empty()).then_some(tags);
        let service = OwnService { name: service.to_owned(), conn_type, tags, work_commands };
        // Fails where the mesh has been shut down.
        let _ = self.driver.send(Command::Advertise(service)).await;
    }

    /// Tells the other nodes that a service is no more.
    pub async fn withdraw(&self, service: &str) {
        let _ = self.driver.send(Command::Withdraw(service.to_owned())).await;
    }

    /// The parts of `status` that tell of the mesh (mesh-protocol 10); the others are left empty.
    pub async fn status(&self) -> NodeStatus {
        let (answer, status) = oneshot::channel();
        let _ = self.driver.send(Command::Status(answer)).await;
        status.await.unwrap_or_default()
    }

    /// How many streams there are, in both directions; those that are being closed count, too.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.quic.open.load(Ordering::Relaxed)
    }

    /// Cost of the way to a node. None: there is no way, or it is this node.
    #[must_use]
    pub fn cost_to(&self, node: &str) -> Option<f64> {
        self.forwarder.view().routes.way(node).map(|way| way.cost)
    }

    /// Returns when there is a way to a node.
    pub async fn reachable(&self, node: &str) {
        self.forwarder.reachable(node).await;
    }

    /// How many datagrams were dropped.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.forwarder.dropped()
    }

    /// Waits until the mesh has come to its end, by [`Self::shutdown`] or by a fault that nobody foresaw.
    pub async fn ended(&self) {
        self.driver.closed().await;
    }

    /// Ends all streams with `normal close`, withdraws the advertised services, then ends all links.
    pub async fn shutdown(&self) {
        self.quic.stop.cancel();
        self.quic.tasks.close();
        let _ = timeout(CLOSING, self.quic.tasks.wait()).await;
        let (done, withdrawn) = oneshot::channel();
        if self.driver.send(Command::WithdrawAll(done)).await.is_ok() {
            let _ = withdrawn.await;
        }
        let (done, stopped) = oneshot::channel();
        if self.backends.send(Order::Stop(done)).await.is_ok() {
            let _ = stopped.await;
        }
        self.stop.cancel();
    }
}

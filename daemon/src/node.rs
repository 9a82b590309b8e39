//! The running node: builds every part from the configuration, serves, and comes down in order.
//!
//! Nothing is bound until everything that can be checked has been checked. Control listeners open last, after the units
//! of an earlier daemon were taken up, so that the first client already sees them all.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc};

use tokio::{
    net::{TcpListener, UnixListener},
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};
use worknode_mesh::{
    Advertised, ListenError, MeshError, MeshHandle,
    backend::BackendSettings,
    tls::{Named, NamedError},
};
use worknode_protocol::config::{
    CheckReport,
    model::{ControlService, NodeConfig, WorkType},
};

use crate::{
    backends::{self, BackendsError},
    control::{
        Context,
        access::Rules,
        listener::{self, Admission, Door, Source},
        reload::{self, Reload},
        status::{self, Machine},
        unix_socket::{UnixSocket, UnixSocketError},
    },
    runner::{
        WorkKind,
        command::{CommandHost, CommandKind, CommandKindError},
        kubernetes::{Clients, Environment, KubernetesKind},
        remote::{Patience, RemoteKind},
    },
    service::{BridgeError, Bridges},
    service_manager::{self, ServiceManager},
    shutdown,
    work::{
        file_events::FileEvents,
        orphans,
        signature::{Signatures, Signer, UsedTokens},
        units::{Units, WorkKinds},
    },
};

/// Why the node did not start. `Display` follows `Error: `.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Neither a backend nor `local-only`.
    #[error("Nothing to do - no backends are running.")]
    NothingToDo,
    /// Named TLS settings.
    #[error(transparent)]
    Tls(#[from] NamedError),
    /// The mesh.
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// Its backends.
    #[error(transparent)]
    Backends(#[from] BackendsError),
    /// Bridges to services of the mesh.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    /// The data directory.
    #[error("error opening data directory {path}: {fault}")]
    Data {
        /// Where it should be.
        path: String,
        /// The system's words.
        fault: std::io::Error,
    },
    /// The Unix socket.
    #[error("error opening Unix socket: {0}")]
    Unix(#[from] UnixSocketError),
    /// The service name (the reference has the same prefix for it).
    #[error("error opening Unix socket: {0}")]
    Service(#[from] ListenError),
    /// The TCP listener.
    #[error("error listening on TCP socket: {0}")]
    Tcp(String),
    /// A control service without any listener.
    #[error("no listeners specified")]
    NoListeners,
    /// A work type that this host cannot run.
    #[error("error in work-command {0}: {1}")]
    Command(String, CommandKindError),
    /// The system refused something at start.
    #[error(transparent)]
    System(#[from] std::io::Error),
}

/// A node whose listeners are bound and whose units are taken up; nobody is served yet.
pub struct Node {
    context: Arc<Context>,
    service_manager: ServiceManager,
    /// Tasks that serve units and end when nothing is left to serve.
    helpers: Vec<JoinHandle<()>>,
    stop_helpers: CancellationToken,
    doors: Doors,
    bridges: Bridges,
    hangups: Signal,
}

/// Where control connections come in.
#[derive(Default)]
struct Doors {
    open: Vec<Door>,
    sockets: Vec<UnixSocket>,
}

impl Node {
    /// Builds the node. `open_files` is the soft limit that jobs get, none being no limit.
    ///
    /// # Errors
    /// The first thing that cannot be; nothing is left behind but directories.
    pub async fn build(config: NodeConfig, reload: Reload, open_files: Option<u64>) -> Result<Self, StartError> {
        let (config, tls, backends) = read_tls(config).await?;
        if !config.has_backend() {
            return Err(StartError::NothingToDo);
        }
        let node_dir = config.node.data_dir.join(&config.node.id);
        let at_data = |fault| StartError::Data { path: node_dir.display().to_string(), fault };
        let (events, file_events) = FileEvents::start();
        let stop_helpers = CancellationToken::new();
        let (host, keepers) = CommandHost::start("/proc/self/exe", open_files, events.clone(), stop_helpers.clone())?;
        let kinds = work_kinds(&config, &host)?;
        drop(host);
        let mesh = worknode_mesh::start(backends::settings(&config.node))?;
        let remote =
            Arc::new(RemoteKind::new(mesh.clone(), tls.clone(), Signer::new(config.work_signing), Patience::default()));
        let units = Units::open(node_dir.clone(), kinds.with_remote(remote.clone())).await.map_err(at_data)?;

        let mut doors = Doors::default();
        for service in &config.control_services {
            doors.open(service, &tls, &mesh, units.kinds()).await?;
        }
        let bridges = Bridges::open(&config.mesh, &mesh, &tls).await?;
        mesh.set_backends(backends).await.map_err(BackendsError::from)?;
        let memory = config.node.data_dir.join(format!(".{}.tokens", config.node.id));
        let (used_tokens, token_memory) = UsedTokens::start(memory);
        let context = Context {
            mesh,
            signatures: Signatures::new(config.node.id.clone(), config.work_verification, used_tokens),
            node: config.node.id,
            units,
            remote,
            events,
            tls,
            machine: Machine::this(),
            reload,
            admission: Admission::new(config.limits.connections),
            limits: config.limits,
        };
        let hangups = signal(SignalKind::hangup())?;
        let orphans = tokio::spawn(orphans::watch(context.units.clone(), stop_helpers.clone()));
        let helpers = vec![keepers, file_events, orphans, token_memory];
        let service_manager = ServiceManager::find(std::env::var_os(service_manager::VARIABLE))?;
        Ok(Self { context: Arc::new(context), doors, bridges, hangups, service_manager, helpers, stop_helpers })
    }

    /// Serves until asked to go. True: everything came to rest in time.
    pub async fn serve(self, mut requests: shutdown::Requests) -> bool {
        let Self { context, doors: Doors { open, sockets }, bridges, hangups, service_manager, helpers, stop_helpers } =
            self;
        let stop = CancellationToken::new();
        let (listeners, sessions) = (TaskTracker::new(), TaskTracker::new());
        for door in open {
            listeners.spawn(listener::serve(door, context.clone(), sessions.clone(), stop.clone()));
        }
        listeners.spawn(reload::at_hangups(hangups, context.clone(), stop.clone()));
        listeners.close();
        let bridge_sockets = bridges.serve(&sessions, &stop);
        info!("Initialization complete");
        service_manager.ready();
        let why = requests.next().await;
        info!("{why}: shutting down, running work goes on");
        service_manager.stopping();
        stop.cancel();
        let rest = async move {
            listeners.wait().await;
            sessions.close();
            sessions.wait().await;
            context.units.detach().await;
            context.mesh.shutdown().await;
            drop(context);
            stop_helpers.cancel();
            for helper in helpers {
                let _ = helper.await;
            }
        };
        let in_time = tokio::select! {
            done = tokio::time::timeout(shutdown::GRACE, rest) => done.is_ok(),
            why = requests.next() => { warn!("{why} again: leaving at once"); false }
        };
        if !in_time {
            error!("sessions or units did not come to rest within {} s", shutdown::GRACE.as_secs());
        }
        drop((sockets, bridge_sockets));
        in_time
    }
}

/// Adds to a report what a look into the files of certificates says. Blocks; opens nothing.
pub fn check(report: CheckReport) -> CheckReport {
    match report.config.as_deref().map(tls_of) {
        Some(Err(fault)) => report.refused(&fault.to_string()),
        _ => report,
    }
}

async fn read_tls(config: NodeConfig) -> Result<(NodeConfig, Arc<Named>, Vec<BackendSettings>), StartError> {
    let reading =
        tokio::task::spawn_blocking(move || tls_of(&config).map(|(named, backends)| (config, named, backends)));
    reading.await.map_err(std::io::Error::other)?
}

/// Reads the files of all named TLS settings, used or not, and gives the backends theirs. Blocks.
fn tls_of(config: &NodeConfig) -> Result<(Arc<Named>, Vec<BackendSettings>), StartError> {
    let named = Named::load(&config.tls_servers, &config.tls_clients, &config.node.id)?;
    let backends = backends::of(config, &named)?;
    Ok((Arc::new(named), backends))
}

/// The table of work types.
fn work_kinds(config: &NodeConfig, host: &CommandHost) -> Result<WorkKinds, StartError> {
    let clients = Clients::new(config.kube_tuning.clone());
    let kinds = config.work_types.iter().map(|work_type| -> Result<Arc<dyn WorkKind>, StartError> {
        match work_type {
            WorkType::Command(command) => {
                let kind = CommandKind::new((**command).clone(), host.clone());
                Ok(Arc::new(kind.map_err(|fault| StartError::Command(command.work_type.clone(), fault))?))
            }
            WorkType::Kubernetes(kubernetes) => Ok(Arc::new(KubernetesKind::new(
                (**kubernetes).clone(),
                &clients,
                config.node.id.to_string(),
                Environment::of_process(),
            ))),
        }
    });
    kinds.collect()
}

impl Doors {
    /// Opens the listeners of one control service (control-protocol 2.1).
    async fn open(
        &mut self,
        service: &ControlService,
        tls: &Named,
        mesh: &MeshHandle,
        kinds: &WorkKinds,
    ) -> Result<(), StartError> {
        if service.filename.is_none() && service.tcp_listen.is_none() && service.service.is_empty() {
            return Err(StartError::NoListeners);
        }
        let rules = Rules::new(service.allow.as_deref());
        if !service.service.is_empty() {
            let tls = service.tls.as_ref().and_then(|name| tls.server(name));
            let tags = BTreeMap::from([("type".to_owned(), "Control Service".to_owned())]);
            let advertised = Advertised { tags, work_commands: status::work_commands(kinds) };
            let listener = mesh.listen(&service.service, tls, Some(advertised)).await?;
            self.open.push(Door { source: Source::Mesh(listener), rules: rules.clone() });
        }
        if let Some(path) = &service.filename {
            let (path, mode) = (path.clone(), service.permissions);
            let opening = tokio::task::spawn_blocking(move || UnixSocket::open(Path::new(&path), mode));
            let mut socket = opening.await.map_err(std::io::Error::other)??;
            if let Some(listener) = socket.take_listener() {
                let source = Source::Unix(UnixListener::from_std(listener)?);
                self.open.push(Door { source, rules: rules.clone() });
            }
            self.sockets.push(socket);
        }
        if let Some(address) = &service.tcp_listen {
            let tls = service.tcp_tls.as_ref().and_then(|name| tls.server(name));
            if tls.is_none() && service.allow.is_none() {
                warn!("TCP control socket {address} has no TLS: everybody who reaches it can submit work");
            }
            self.open.push(Door { source: Source::Tcp(bind_tcp(address).await?, tls), rules });
        }
        Ok(())
    }
}

/// Binds `host:port`, or a port alone on all interfaces.
async fn bind_tcp(address: &str) -> Result<TcpListener, StartError> {
    let target = if address.contains(':') { address.to_owned() } else { format!("0.0.0.0:{address}") };
    let target = target.strip_prefix(':').map_or(target.clone(), |port| format!("0.0.0.0:{port}"));
    TcpListener::bind(&target).await.map_err(|fault| {
        let shown = target.parse::<SocketAddr>().map_or(target.clone(), |address| address.to_string());
        let text = fault.to_string();
        let words = text.split(" (os error").next().unwrap_or(&text).to_lowercase();
        StartError::Tcp(format!("listen tcp {shown}: bind: {words}"))
    })
}

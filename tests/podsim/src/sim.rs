//! The simulator as a whole: a thread with a runtime of its own, so that any kind of test can hold one.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use tempfile::TempDir;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

use crate::accounts::Rule;
use crate::admin;
use crate::cluster::Cluster;
use crate::control::Faults;
use crate::kubeconfig;
use crate::options::Options;
use crate::pki::Pki;
use crate::pods::Pods;
use crate::requests::Requests;
use crate::server::Server;

/// May do everything.
const ADMIN: &str = "kubernetes-admin";
/// Has the role that AWX's documentation gives a container group, in `default`.
const RESTRICTED: &str = "system:serviceaccount:default:restricted";
/// Threads that the API, the pods and their logs share.
const WORKERS: usize = 2;

/// Why a simulator could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A directory or a kubeconfig could not be written.
    #[error("cannot prepare {}: {source}", path.display())]
    Files {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A certificate could not be made.
    #[error("cannot make certificates: {0}")]
    Certificates(#[from] rcgen::Error),
    /// The certificates do not fit each other.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The port is taken, or no thread could be started.
    #[error("cannot serve on 127.0.0.1:{port}: {source}")]
    Serve {
        /// Which port was asked for.
        port: u16,
        /// Why.
        source: io::Error,
    },
}

/// A running simulator. Dropping it ends every process it started, and all of its files go, unless a directory was
/// given.
pub struct PodSim {
    ready: Ready,
    directory: PathBuf,
    kubeconfig: PathBuf,
    restricted_kubeconfig: PathBuf,
    ca_pem: String,
    admin_token: String,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
    /// After the thread, which still uses it.
    _temporary: Option<TempDir>,
}

impl std::fmt::Debug for PodSim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PodSim").field("url", &self.url()).field("directory", &self.directory).finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Ready {
    cluster: Arc<Cluster>,
    server: Arc<Server>,
    runtime: Handle,
}

impl PodSim {
    /// Starts one; when this returns, it can be talked to.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let temporary = match &options.dir {
            Some(_) => None,
            None => Some(
                tempfile::Builder::new()
                    .prefix("podsim-")
                    .tempdir()
                    .map_err(|source| StartError::Files { path: std::env::temp_dir(), source })?,
            ),
        };
        let directory = options.dir.clone().or_else(|| Some(temporary.as_ref()?.path().to_owned())).unwrap_or_default();
        fs::create_dir_all(&directory)
            .and_then(|()| directory.canonicalize())
            .map_err(|source| StartError::Files { path: directory.clone(), source })
            .and_then(|directory| Self::start_in(directory, temporary, options))
    }

    fn start_in(directory: PathBuf, temporary: Option<TempDir>, options: Options) -> Result<Self, StartError> {
        let pki = Pki::generate()?;
        let port = options.port;
        let cluster = Cluster::new(options, directory.clone());
        let admin_token = cluster.accounts.add(ADMIN, vec![Rule::everywhere(&["*"], &["*"])]);
        let stop = CancellationToken::new();
        let (sender, receiver) = sync_channel(1);
        let parts = (Arc::clone(&cluster), Arc::clone(&pki.tls), stop.clone());
        let thread = std::thread::Builder::new()
            .name("podsim".to_owned())
            .spawn(move || run(parts.0, parts.1, port, parts.2, &sender))
            .map_err(|source| StartError::Serve { port, source })?;
        let served = receiver.recv().unwrap_or_else(|_| Err(io::Error::other("the simulator's thread has ended")));
        let ready = served.map_err(|source| StartError::Serve { port, source })?;
        let mut sim = Self {
            ready,
            kubeconfig: directory.join("kubeconfig"),
            restricted_kubeconfig: directory.join("restricted.kubeconfig"),
            directory,
            ca_pem: pki.ca_pem,
            admin_token,
            stop,
            thread: Some(thread),
            _temporary: temporary,
        };
        sim.write_kubeconfigs()?;
        Ok(sim)
    }

    fn write_kubeconfigs(&mut self) -> Result<(), StartError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| StartError::Files { path, source }
        };
        kubeconfig::write(&self.kubeconfig, &self.url(), &self.ca_pem, ADMIN, &self.admin_token)
            .map_err(failed(&self.kubeconfig))?;
        let token = self.ready.cluster.accounts.add(RESTRICTED, Rule::stock_awx_role("default"));
        kubeconfig::write(&self.restricted_kubeconfig, &self.url(), &self.ca_pem, RESTRICTED, &token)
            .map_err(failed(&self.restricted_kubeconfig))
    }

    /// Path of a kubeconfig that may do everything.
    pub fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig
    }

    /// Path of a kubeconfig with the stock role of an AWX container group in `default`: it may attach by `create`
    /// alone, so that the `get` of a WebSocket is refused.
    pub fn restricted_kubeconfig_path(&self) -> &Path {
        &self.restricted_kubeconfig
    }

    /// Makes a user with these rights, or changes those of a known one, and writes a kubeconfig for it.
    pub fn kubeconfig_for(&self, user: &str, rules: Vec<Rule>) -> io::Result<PathBuf> {
        let token = self.ready.cluster.accounts.add(user, rules);
        let plain: String = user.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let path = self.directory.join(format!("{plain}.kubeconfig"));
        kubeconfig::write(&path, &self.url(), &self.ca_pem, user, &token)?;
        Ok(path)
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.ready.server.address()
    }

    /// Certificate of the authority that the server's is from, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A token that may do everything.
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// Holds the kubeconfigs, and for each pod its logs.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Looks at pods past the API.
    pub fn pods(&self) -> Pods {
        Pods::new(Arc::clone(&self.ready.cluster), self.ready.runtime.clone())
    }

    /// Makes things go wrong.
    pub fn faults(&self) -> Faults {
        faults(&self.ready)
    }

    /// What has been asked of the API.
    pub fn requests(&self) -> Requests {
        self.ready.cluster.requests.clone()
    }
}

impl Drop for PodSim {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, which it has printed.
            let _ = thread.join();
        }
    }
}

fn faults(ready: &Ready) -> Faults {
    Faults::new(Arc::clone(&ready.cluster), Arc::clone(&ready.server), ready.runtime.clone())
}

/// The simulator's thread.
fn run(
    cluster: Arc<Cluster>,
    tls: Arc<rustls::ServerConfig>,
    port: u16,
    stop: CancellationToken,
    report: &SyncSender<io::Result<Ready>>,
) {
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).thread_name("podsim").enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            // Fails only where the starter has gone.
            let _ = report.send(Err(error));
            return;
        }
    };
    runtime.block_on(async {
        let server = match Server::start(Arc::clone(&cluster), tls, port) {
            Ok(server) => server,
            Err(error) => {
                let _ = report.send(Err(error));
                return;
            }
        };
        let ready = Ready { cluster: Arc::clone(&cluster), server, runtime: Handle::current() };
        let admin = cluster.options.admin_socket.then(|| admin::serve(&cluster, faults(&ready), stop.clone()));
        match admin.transpose() {
            Ok(admin) => {
                let _ = report.send(Ok(ready.clone()));
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = async { admin.unwrap_or_default().wait().await } => {}
                    () = async { cluster.rotate_logs().await; std::future::pending().await } => {}
                }
            }
            Err(error) => {
                let _ = report.send(Err(error));
            }
        }
        ready.server.end().await;
        cluster.end().await;
    });
}

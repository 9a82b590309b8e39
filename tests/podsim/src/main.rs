//! `podsim`: runs a simulator until it is told to stop, and makes things go wrong in one that runs.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use worknode_podsim::{ADMIN_SOCKET, LogRotation, Options, PodSim, Timing, ask};

/// A small Kubernetes API on loopback that runs each container as a local process.
///
/// Prints `KUBECONFIG=PATH` and runs until SIGTERM or SIGINT; then every process it started is gone.
#[derive(Parser)]
#[command(name = "podsim", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(clap::Args)]
struct Serve {
    /// Directory for kubeconfigs, logs and the admin socket; a temporary one if not given
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// TCP port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// An image that can be pulled, beside busybox; may be repeated
    #[arg(long = "image", value_name = "NAME")]
    images: Vec<String>,
    /// Take as long for each step as a real cluster does
    #[arg(long)]
    like_a_cluster: bool,
    /// Rotate container logs as the kubelet does: at 10 MiB, five files, looked at every 10 s
    #[arg(long)]
    rotate_logs: bool,
    /// Also stop when stdin ends
    #[arg(long)]
    until_eof: bool,
}

#[derive(Subcommand)]
enum Verb {
    /// Make something go wrong now: {"cut":{"usage":"log"}}, {"stop_api":{}}, ...
    Fault {
        /// Directory of the simulator
        dir: PathBuf,
        /// The fault as JSON; a plain name for those without fields
        fault: String,
    },
    /// Spoil requests to come: {"on":{"verb":"create","resource":"pods"},"times":1,"effect":"lose_answer"}
    Trap {
        /// Directory of the simulator
        dir: PathBuf,
        /// The trap as JSON
        trap: String,
    },
    /// Take all traps away
    Clear {
        /// Directory of the simulator
        dir: PathBuf,
    },
    /// Print what was asked of the API, as JSON
    Requests {
        /// Directory of the simulator
        dir: PathBuf,
    },
    /// Print all pods, as JSON
    Pods {
        /// Directory of the simulator
        dir: PathBuf,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let (dir, method, path, body) = match cli.verb {
        None => return serve(cli.serve).await,
        Some(Verb::Fault { dir, fault }) => {
            let plain = fault.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let body = if plain { format!("\"{fault}\"") } else { fault };
            (dir, "POST", "/faults", body)
        }
        Some(Verb::Trap { dir, trap }) => (dir, "POST", "/traps", trap),
        Some(Verb::Clear { dir }) => (dir, "DELETE", "/traps", String::new()),
        Some(Verb::Requests { dir }) => (dir, "GET", "/requests", String::new()),
        Some(Verb::Pods { dir }) => (dir, "GET", "/pods", String::new()),
    };
    let socket = socket_of(&dir);
    let answer = ask(&socket, method, path, body).await;
    let answer = answer.with_context(|| format!("podsim at {}", socket.display()))?;
    io::stdout().write_all(answer.as_bytes())?;
    Ok(())
}

fn socket_of(dir: &Path) -> PathBuf {
    if dir.is_dir() { dir.join(ADMIN_SOCKET) } else { dir.to_owned() }
}

async fn serve(serve: Serve) -> anyhow::Result<()> {
    // Before anything is started, so that a signal never finds the default action.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut options = Options { dir: serve.dir, port: serve.port, admin_socket: true, ..Options::default() };
    options.images.extend(serve.images.iter().map(|name| worknode_podsim::Image::new(name, &["sh"])));
    if serve.like_a_cluster {
        options.timing = Timing::like_a_cluster();
    }
    options.log_rotation = serve.rotate_logs.then(LogRotation::kubelet_default);
    let sim = PodSim::start(options)?;
    let mut out = io::stdout().lock();
    writeln!(out, "KUBECONFIG={}", sim.kubeconfig_path().display())?;
    writeln!(out, "RESTRICTED_KUBECONFIG={}", sim.restricted_kubeconfig_path().display())?;
    writeln!(out, "PODSIM_DIR={}", sim.directory().display())?;
    out.flush()?;
    drop(out);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = end_of_stdin(serve.until_eof) => {}
    }
    drop(sim);
    // A read of stdin that never comes back must not hold the process.
    std::process::exit(0)
}

async fn end_of_stdin(wanted: bool) {
    if !wanted {
        std::future::pending::<()>().await;
    }
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock().by_ref(), &mut io::sink());
        let _ = ended.send(());
    });
    // Dropped without a word only if the thread panicked: then, too, it is over.
    let _ = end.await;
}

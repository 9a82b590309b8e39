//! The real Kubernetes cluster: built beside the other stages, brought up for one, and taken down again.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use worknode_tests::binaries::workspace;

use super::stage::{Context, Ended};
use super::{cargo, succeed};

/// The stage's name.
pub(super) const NAME: &str = "cluster";

/// First of the ports that a cluster takes, and how many it takes.
const PORT: u16 = 17_443;
const PORTS: u16 = 7;

/// A cluster being built.
pub(super) enum Preparation {
    /// It cannot be had here, and why.
    Absent(String),
    /// A copy of its sources, and the process that builds it.
    Building { copy: TempDir, build: Child },
}

impl Preparation {
    /// Copies the cluster's sources and begins to build it, with low priority.
    pub(super) fn begin() -> Result<Self> {
        let source = workspace().join("../shared/cluster");
        if !source.join("cluster").exists() {
            return Ok(Self::Absent("../shared/cluster is not there".to_owned()));
        }
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Absent("the cluster needs root".to_owned()));
        }
        let copy = tempfile::Builder::new().prefix("cluster-").tempdir()?;
        succeed(Command::new("cp").arg("-r").arg(source.join(".")).arg(copy.path()))?;
        let log = File::create(copy.path().join("build.log"))?;
        let build = Command::new("nice")
            .arg(copy.path().join("cluster"))
            .arg("build")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("building the cluster")?;
        Ok(Self::Building { copy, build })
    }
}

impl Drop for Preparation {
    fn drop(&mut self) {
        if let Self::Building { build, .. } = self {
            let _ = build.kill();
            let _ = build.wait();
        }
    }
}

/// A cluster that is up, and goes down with this value.
struct Up {
    program: PathBuf,
    state: TempDir,
    port: u16,
}

impl Up {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words).env("WORKNODE_CLUSTER_DIR", self.state.path().join("state"));
        command.env("WORKNODE_CLUSTER_PORT", self.port.to_string());
        command
    }

    /// Runs a verb that prints the path of a kubeconfig.
    fn kubeconfig(&self, words: &[&str]) -> Result<PathBuf> {
        let output = self.command(words).stderr(Stdio::inherit()).output().context("cluster")?;
        ensure!(output.status.success(), "cluster {words:?}: {}", output.status);
        Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.command(&["down"]).status();
    }
}

/// Waits for the build, brings the cluster up and runs the Kubernetes tests on it.
pub(super) fn run(context: &mut Context) -> Result<Ended> {
    let copy = match context.cluster.as_mut().context("the cluster was not prepared")? {
        Preparation::Absent(reason) => return Ok(Ended::Skipped(reason.clone())),
        Preparation::Building { copy, build } => {
            let status = build.wait().context("building the cluster")?;
            let log = || std::fs::read_to_string(copy.path().join("build.log")).unwrap_or_default();
            ensure!(status.success(), "cluster build: {status}\n{}", log());
            copy.path().join("cluster")
        }
    };
    // Not below /var or /run, as the cluster asks.
    let state = tempfile::Builder::new().prefix("cluster-").tempdir_in("/tmp")?;
    let cluster = Up { program: copy, state, port: free_ports()? };
    tests(&cluster)?;
    Ok(Ended::Passed)
}

fn tests(cluster: &Up) -> Result<()> {
    let mut command = cargo(&[
        "xtask",
        "test",
        "--",
        "--test",
        "kubernetes",
        "--test",
        "contract",
        "--test",
        "clients",
        "--test",
        "remote",
    ]);
    command.env("WORKNODE_KUBECONFIG", cluster.kubeconfig(&["up"])?);
    command.env("WORKNODE_RESTRICTED_KUBECONFIG", cluster.kubeconfig(&["kubeconfig", "--restricted"])?);
    succeed(&mut command)
}

/// A row of ports that nobody listens on.
fn free_ports() -> Result<u16> {
    let free = |first: &u16| (*first..*first + PORTS).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    (PORT..PORT + 100 * PORTS).step_by(PORTS.into()).find(free).context("no free ports for the cluster")
}

//! The main job from a clean checkout: a node, a pod on the simulator, a payload through it.

mod picture;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use worknode_podsim::{Options as Cluster, PodSim};
use worknode_tests::binaries::{Program, ctl, workspace};

/// The payload of the demonstration.
const PAYLOAD: &str = "hello pod\n";
/// The line of the log after which clients are served.
const SERVING: &str = "Initialization complete";

/// Run the main job on the pod simulator.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Also draw the session as an SVG picture
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Use this cluster instead of the simulator
    #[arg(long, value_name = "FILE", env = "WORKNODE_KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
}

/// Runs the demonstration; everything it started has ended when it returns.
pub(crate) fn run(options: &Options) -> Result<()> {
    let daemon = Program::worknoded()?.path;
    let ctl = ctl()?;
    let place = workspace().join("target/demo");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(&place)?;
    let simulator = match options.kubeconfig {
        Some(_) => None,
        None => Some(PodSim::start(Cluster::default()).context("the pod simulator")?),
    };
    let kubeconfig = match (&options.kubeconfig, &simulator) {
        (Some(file), _) => fs::canonicalize(file)?,
        (None, Some(simulator)) => simulator.kubeconfig_path().to_owned(),
        (None, None) => bail!("no cluster"),
    };
    let node = Node::start(&daemon, &kubeconfig)?;
    let mut session = Session { ctl, socket: place.join("worknode.sock"), lines: Vec::new() };
    session.main_job()?;
    node.stop()?;
    if let Some(picture) = &options.picture {
        fs::write(picture, picture::svg(&session.lines)).with_context(|| picture.display().to_string())?;
    }
    drop(simulator);
    if options.kubeconfig.is_none() {
        println!("\nThe same on a real cluster: cargo xtask demo --kubeconfig ~/.kube/config");
    }
    Ok(())
}

/// The daemon, started as the README says.
struct Node {
    child: Child,
    /// Kept open: the daemon goes on logging.
    log: BufReader<ChildStdout>,
}

impl Node {
    fn start(daemon: &Path, kubeconfig: &Path) -> Result<Self> {
        let config = "config-examples/podsim.yml";
        println!("$ KUBECONFIG={} worknoded -c {config} &", kubeconfig.display());
        let mut command = Command::new(daemon);
        command.args(["-c", config]).current_dir(workspace()).env("KUBECONFIG", kubeconfig);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let log = BufReader::new(child.stdout.take().context("the daemon's log")?);
        let mut node = Self { child, log };
        let mut seen = String::new();
        while node.log.read_line(&mut seen)? > 0 {
            if seen.contains(SERVING) {
                return Ok(node);
            }
        }
        let status = node.child.wait()?;
        bail!("the daemon ended with {status}:\n{seen}")
    }

    fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("the daemon's pid")?;
        kill_process(pid, Signal::TERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the daemon ended with {status}");
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was typed and what it answered.
struct Session {
    ctl: PathBuf,
    socket: PathBuf,
    lines: Vec<String>,
}

impl Session {
    fn main_job(&mut self) -> Result<()> {
        let submitted = self.run("work submit kubeit --param secret_kube_pod=@pod.yml", Some(PAYLOAD))?;
        let unit = submitted.lines().find_map(|line| line.strip_prefix("Unit ID: ")).context("a unit id")?.to_owned();
        let output = self.run(&format!("work results {unit}"), None)?;
        ensure!(output.ends_with("HELLO POD\n"), "the pod's output is another: {output:?}");
        let status = self.run(&format!("work status {unit}"), None)?;
        ensure!(status.contains("Succeeded"), "the unit did not succeed");
        self.run(&format!("work release {unit}"), None)?;
        Ok(())
    }

    /// Runs `ctl` with these words, where `pod.yml` lies.
    fn run(&mut self, words: &str, payload: Option<&str>) -> Result<String> {
        let typed = match payload {
            Some(payload) => format!("$ echo {} | ctl {words}", payload.trim_end()),
            None => format!("$ ctl {words}"),
        };
        self.show(&typed);
        let mut command = Command::new(&self.ctl);
        command.args(words.split(' ')).env("WORKNODE_CTL_SOCKET", &self.socket);
        command.current_dir(workspace().join("config-examples/pods"));
        command.stdin(if payload.is_some() { Stdio::piped() } else { Stdio::null() }).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        if let (Some(payload), Some(mut stdin)) = (payload, child.stdin.take()) {
            stdin.write_all(payload.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        for line in text.lines() {
            self.show(line);
        }
        ensure!(output.status.success(), "ctl {words}: {}", output.status);
        Ok(text)
    }

    fn show(&mut self, line: &str) {
        println!("{line}");
        self.lines.push(line.to_owned());
    }
}

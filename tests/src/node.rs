//! A daemon process of a test: started, watched, killed, restarted, and removed with all that it has started.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::binaries::{Kind, Program};
use crate::process;
use crate::session::Session;
use crate::wait::{Deadline, PATIENCE, Watch, readable};

/// Every process of a node carries this variable with a value of the node's own, by inheritance.
const MARK: &str = "WORKNODE_TEST_NODE";

/// Bytes of the daemon's log that an error quotes.
const LOG_TAIL: usize = 4096;

/// Looks at the table of sockets before a daemon is taken to listen on none.
const LOOKS: usize = 100;

/// One daemon with a directory of its own.
#[derive(Debug)]
pub struct Node {
    program: Program,
    id: String,
    environment: Vec<(OsString, OsString)>,
    root: PathBuf,
    mark: String,
    daemon: Option<Child>,
    /// Removed with the node; last, so that the processes go first.
    directory: Option<TempDir>,
}

impl Node {
    pub(crate) fn new(
        program: Program,
        id: String,
        environment: Vec<(OsString, OsString)>,
        directory: &TempDir,
    ) -> Self {
        let root = directory.path().to_owned();
        // The directory's name is unique among the living, and so is what is made of it.
        let mark = format!("{MARK}={}", root.display());
        Self { program, id, environment, root, mark, daemon: None, directory: None }
    }

    pub(crate) fn owning(mut self, directory: TempDir) -> Self {
        self.directory = Some(directory);
        self
    }

    /// Which implementation runs here.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.program.kind
    }

    /// The node's name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The node's directory, which holds everything below.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.root.join("socket")
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join("node.yml")
    }

    /// The data directory; units are in the directory below it that bears the node's name.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// The directory of a unit (control-protocol 4.1).
    #[must_use]
    pub fn unit_directory(&self, unit: &str) -> PathBuf {
        self.data().join(&self.id).join(unit)
    }

    /// What the daemon has written to its standard output and error since the node was made.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(self.log_path()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Starts the daemon and waits until its socket takes connections.
    ///
    /// # Errors
    /// Fails if it runs already, ends, or is not ready in time; the error quotes the log.
    pub fn start(&mut self) -> Result<()> {
        self.spawn()?;
        let watch = Watch::new(&self.root)?;
        watch.until(Deadline::default(), "the daemon's socket", || {
            if let Some(status) = self.ended()? {
                bail!("{} ended at start: {status}\n{}", self.program.kind.name(), self.log_tail());
            }
            Ok(Session::unix(&self.socket()).ok())
        })?;
        Ok(())
    }

    /// Starts the daemon without waiting for it.
    ///
    /// # Errors
    /// Fails if it runs already or cannot be executed.
    pub fn spawn(&mut self) -> Result<()> {
        if self.daemon.is_some() {
            bail!("the daemon runs already");
        }
        let log = self.open_log()?;
        let mut command = Command::new(&self.program.path);
        command
            .arg("-c")
            .arg(self.config())
            .current_dir(&self.root)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env(MARK, &self.root)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        let child = command.spawn().with_context(|| format!("starting {}", self.program.path.display()))?;
        self.daemon = Some(child);
        Ok(())
    }

    fn open_log(&self) -> Result<File> {
        OpenOptions::new().create(true).append(true).open(self.log_path()).context("opening the log")
    }

    /// The daemon's process id.
    ///
    /// # Errors
    /// Fails if it is not running.
    pub fn pid(&self) -> Result<Pid> {
        let child = self.daemon.as_ref().context("the daemon is not running")?;
        i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a process id out of range")
    }

    /// The daemon's exit status, if it has ended by itself.
    ///
    /// # Errors
    /// Fails only if the system call does.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        match &mut self.daemon {
            Some(child) => child.try_wait().context("asking for the daemon's end"),
            None => Ok(None),
        }
    }

    /// Kills the daemon alone, as a crash would: its jobs and their keepers live on.
    ///
    /// # Errors
    /// Fails if it is not running.
    pub fn kill9(&mut self) -> Result<()> {
        let mut child = self.daemon.take().context("the daemon is not running")?;
        child.kill().context("killing the daemon")?;
        child.wait().context("waiting for the killed daemon")?;
        Ok(())
    }

    /// Asks the daemon to end (SIGTERM) and waits for it.
    ///
    /// # Errors
    /// Fails if it is not running or does not end in time.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        kill_process(self.pid()?, Signal::TERM).context("SIGTERM")?;
        self.wait_for_end(PATIENCE)
    }

    /// Waits until the daemon has ended by itself.
    ///
    /// # Errors
    /// Fails if it is not running or does not end in time; the error quotes the log.
    pub fn wait_for_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        let ended = readable(process::handle(self.pid()?)?, limit)?;
        if !ended {
            bail!("the daemon has not ended within {limit:?}\n{}", self.log_tail());
        }
        let mut child = self.daemon.take().context("the daemon is not running")?;
        child.wait().context("waiting for the daemon")
    }

    /// Kills the daemon as a crash would, and starts it again on the same directory.
    ///
    /// # Errors
    /// As [`Node::kill9`] and [`Node::start`].
    pub fn crash_and_restart(&mut self) -> Result<()> {
        self.kill9()?;
        self.start()
    }

    /// Stops the daemon and starts it again on the same directory.
    ///
    /// # Errors
    /// As [`Node::stop`] and [`Node::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.start()
    }

    /// Lets another program run on the same directory from the next start on.
    ///
    /// # Errors
    /// Fails if the daemon is running.
    pub fn replace_program(&mut self, program: Program) -> Result<()> {
        if self.daemon.is_some() {
            bail!("the daemon is running");
        }
        self.program = program;
        Ok(())
    }

    /// A new session whose banner has been read and found right.
    ///
    /// # Errors
    /// Fails if the connection or the banner does.
    pub fn connect(&self) -> Result<Session> {
        self.greeted(Session::unix(&self.socket())?)
    }

    /// A new session over TCP whose banner has been read and found right.
    ///
    /// # Errors
    /// Fails if the daemon listens on no TCP port, or the banner is wrong.
    pub fn connect_tcp(&self) -> Result<Session> {
        self.greeted(Session::tcp(self.tcp_address()?)?)
    }

    fn greeted(&self, mut session: Session) -> Result<Session> {
        let banner = session.line().context("waiting for the banner")?;
        let expected = format!("Receptor Control, node {}", self.id);
        if banner != expected {
            bail!("the banner is {banner:?}, not {expected:?}");
        }
        Ok(session)
    }

    /// Where the daemon listens on TCP.
    ///
    /// # Errors
    /// Fails if it listens on no port.
    pub fn tcp_address(&self) -> Result<SocketAddr> {
        let pid = self.pid()?;
        // The kernel's table is read in pieces: where others open and close sockets meanwhile, an entry can be missed.
        for _ in 0..LOOKS {
            if let Some(address) = process::listening(pid)?.first() {
                return Ok(*address);
            }
        }
        bail!("the daemon listens on no TCP port")
    }

    /// All living processes that this node has started, itself included, whoever their parent is.
    ///
    /// # Errors
    /// Fails only if `/proc` cannot be listed.
    pub fn processes(&self) -> Result<Vec<Pid>> {
        process::with_environment(&self.mark)
    }

    /// Waits until no process of a unit is left. A child of the daemon that has no child of its own (the process that
    /// stands ready to start jobs) is the daemon's, not a unit's.
    ///
    /// # Errors
    /// Fails with the command lines of what is still there at the deadline.
    pub fn wait_alone(&self, limit: Duration) -> Result<()> {
        let deadline = Deadline::after(limit);
        let daemon = self.pid()?;
        loop {
            let others = self.unit_processes(daemon)?;
            let Some(first) = others.first() else { return Ok(()) };
            let Ok(left) = deadline.left("the other processes") else {
                let lines: Vec<_> = others.iter().map(|&pid| process::command_line(pid).unwrap_or_default()).collect();
                bail!("processes are left after {limit:?}: {lines:?}");
            };
            if let Ok(process) = process::handle(*first) {
                readable(process, left)?;
            }
        }
    }

    fn unit_processes(&self, daemon: Pid) -> Result<Vec<Pid>> {
        let all = self.processes()?;
        let parents: Vec<_> = all.iter().filter_map(|&pid| Some((pid, process::stat(pid).ok()?.parent))).collect();
        let is_parent = |pid: Pid| parents.iter().any(|&(_, parent)| parent == pid.as_raw_nonzero().get());
        let daemons =
            |&(pid, parent): &(Pid, i32)| pid == daemon || (parent == daemon.as_raw_nonzero().get() && !is_parent(pid));
        Ok(parents.iter().filter(|&process| !daemons(process)).map(|&(pid, _)| pid).collect())
    }

    /// The last lines of the log, for error texts.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let mut from = log.len().saturating_sub(LOG_TAIL);
        while !log.is_char_boundary(from) {
            from += 1;
        }
        format!("--- end of the daemon's log\n{}---", log.get(from..).unwrap_or_default())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Shown by the test runner together with the failure.
            #[allow(clippy::print_stderr, reason = "the log explains a failed test")]
            {
                eprintln!("{}", self.log_tail());
            }
        }
        // The daemon first, so that it does not start anew what is being killed.
        if let Some(child) = &mut self.daemon {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = process::kill_with_environment(&self.mark);
        if std::env::var_os("WORKNODE_KEEP").is_some()
            && let Some(directory) = self.directory.take()
        {
            let _kept = directory.keep();
        }
    }
}

//! A node with command types, without its control service: units, keepers and all that is between them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use worknode_daemon::{
    runner::{
        Params, WorkKind,
        command::{CommandHost, CommandKind},
    },
    work::{
        file_events::FileEvents,
        unit::UnitHandle,
        units::{Units, WorkKinds},
    },
};
use worknode_protocol::{
    config::model::{CommandType, command::CommandStderr},
    unit::{State, Status},
};

/// Longer than anything takes that does not hang.
pub const SOON: Duration = Duration::from_secs(20);

/// The soft limit of jobs, which is not this process's.
pub const OPEN_FILES: u64 = 321;

/// A command type with the defaults of the reference, open to runtime parameters.
pub fn command_type(name: &str, command: &str) -> CommandType {
    CommandType {
        work_type: name.to_owned(),
        command: command.to_owned(),
        params: String::new(),
        allow_runtime_params: true,
        verify_signature: false,
        grace_period: CommandType::DEFAULT_GRACE_PERIOD,
        kill_tree: true,
        timeout: None,
        env: BTreeMap::new(),
        clean_env: false,
        working_dir: None,
        user: None,
        stderr: CommandStderr::Merged,
        max_concurrent: 0,
        nice: None,
        memory_max: None,
        cpu_max: None,
        allow_runtime_env: false,
        allow_runtime_working_dir: false,
        allow_runtime_user: false,
    }
}

/// A data directory in which one daemon after another lives, with `sh` as the only work type.
pub struct Home(tempfile::TempDir);

impl Home {
    /// An empty one.
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The next daemon.
    pub async fn node(&self) -> Node {
        Node::start(self.0.path(), [command_type("sh", "sh")]).await
    }

    /// Where the node's directory is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// The daemon's life, of which a node may have several over one data directory.
pub struct Node {
    pub units: Arc<Units>,
    dir: PathBuf,
    stop: CancellationToken,
    keepers: JoinHandle<()>,
}

impl Node {
    /// Starts over a directory with these types.
    pub async fn start(dir: &Path, types: impl IntoIterator<Item = CommandType>) -> Self {
        let stop = CancellationToken::new();
        let (files, _) = FileEvents::start();
        let program = env!("CARGO_BIN_EXE_worknoded");
        let (host, keepers) = CommandHost::start(program, Some(OPEN_FILES), files, stop.clone()).unwrap();
        let kinds: WorkKinds = types
            .into_iter()
            .map(|config| -> Arc<dyn WorkKind> { Arc::new(CommandKind::new(config, host.clone()).unwrap()) })
            .collect();
        let dir = dir.join("node");
        let units = Units::open(dir.clone(), kinds).await.unwrap();
        Self { units, dir, stop, keepers }
    }

    /// Makes a unit with this payload, without starting it.
    pub async fn make(&self, kind: &str, params: &[(&str, &str)], stdin: &[u8]) -> UnitHandle {
        let kind = self.units.kind(kind).unwrap().clone();
        let plan = kind.plan(&params.iter().copied().collect::<Params>()).unwrap();
        let unit = self.units.create(kind, plan).await.unwrap();
        fs::write(unit.dir().stdin(), stdin).unwrap();
        unit
    }

    /// Makes a unit and starts it.
    pub async fn submit(&self, kind: &str, params: &[(&str, &str)], stdin: &[u8]) -> UnitHandle {
        let unit = self.make(kind, params, stdin).await;
        unit.start().await.unwrap();
        unit
    }

    /// Runs a shell script.
    pub async fn sh(&self, script: &str) -> UnitHandle {
        self.submit("sh", &[("params", &format!("-c '{script}'"))], b"").await
    }

    /// The unit of this id, as this daemon knows it.
    pub fn unit(&self, earlier: &UnitHandle) -> UnitHandle {
        self.units.get(earlier.id().as_str()).unwrap()
    }

    /// Goes like a daemon that is killed: its sockets close, it writes nothing more. Jobs go on.
    pub async fn crash(mut self) {
        self.stop.cancel();
        (&mut self.keepers).await.unwrap();
        self.units.detach().await;
    }

    /// Where the units are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Node {
    /// A test that fails half-way leaves no jobs behind.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for unit in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let record = fs::read_to_string(unit.path().join("keeper.jsonl")).unwrap_or_default();
            let pid = record.split_once("\"pid\":").and_then(|(_, rest)| rest.split(',').next()?.parse().ok());
            let name = pid.and_then(|pid: i32| fs::read_to_string(format!("/proc/{pid}/comm")).ok());
            if let (Some(pid), Some(true)) = (pid, name.map(|name| name.starts_with("keeper:"))) {
                signal(pid, rustix::process::Signal::TERM);
            }
        }
    }
}

/// Lets a job go on that waits for the file `go` in its unit's directory.
pub fn go(unit: &UnitHandle) {
    fs::write(unit.dir().file("go"), "").unwrap();
}

/// Waits until the unit's status satisfies a condition.
pub async fn until(unit: &UnitHandle, what: impl Fn(&Status) -> bool) -> Status {
    let mut progress = unit.progress();
    let reached = timeout(SOON, progress.wait_for(|progress| what(&progress.status)));
    let found = match reached.await {
        Ok(Ok(progress)) => Some(Status::clone(&progress.status)),
        _ => None,
    };
    found.unwrap_or_else(|| panic!("still {:?} on disk {:?}", unit.status(), disk(unit)))
}

/// Waits for the end.
pub async fn end(unit: &UnitHandle) -> Status {
    until(unit, |status| status.state.is_final()).await
}

/// Waits until the unit is seen to run, and gives the job's process.
pub async fn running(unit: &UnitHandle) -> i32 {
    let status = until(unit, |status| status.state == State::Running).await;
    status.detail.strip_prefix("Running: PID ").unwrap().parse().unwrap()
}

/// The keeper's process, by `ExtraData`.
pub fn keeper(unit: &UnitHandle) -> i32 {
    unit.status().extra_data["Pid"].as_i64().unwrap().try_into().unwrap()
}

/// The end as it stands on disk: state, detail, size.
pub fn disk(unit: &UnitHandle) -> (i64, String, u64) {
    let status = unit.dir().read_status().unwrap();
    (status.state.number(), status.detail, status.stdout_size)
}

/// What the job wrote.
pub fn stdout(unit: &UnitHandle) -> String {
    fs::read_to_string(unit.dir().stdout()).unwrap()
}

/// True while the process exists, other than as a zombie.
pub fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// Waits until a process is gone.
pub async fn gone(pid: i32) {
    let deadline = tokio::time::Instant::now() + SOON;
    while is_alive(pid) {
        assert!(tokio::time::Instant::now() < deadline, "process {pid} is still there");
        tokio::task::yield_now().await;
    }
}

/// Waits until the unit's output has this many lines, and gives them.
pub async fn lines(unit: &UnitHandle, count: usize) -> Vec<String> {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        let text = stdout(unit);
        if text.matches('\n').count() >= count {
            return text.lines().map(str::to_owned).collect();
        }
        assert!(tokio::time::Instant::now() < deadline, "only {text:?}");
        tokio::task::yield_now().await;
    }
}

/// Sends a signal to a process that a test has started.
pub fn signal(pid: i32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}

//! A cluster, work types, and units with a task that keeps their status as the daemon's unit task does.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use worknode_podsim::{Options, PodSim};
use worknode_protocol::{
    config::{
        self, Host, Startup,
        model::{KubeTuning, KubernetesType, WorkType},
    },
    control::Params,
    id::UnitId,
    unit::{State, Status},
};

use crate::{
    runner::{
        Ending, Found, Payload, PlanError, Recovery, Reporter, Runner, StartError, UnitContext, WorkKind,
        kubernetes::{Clients, Environment, KubernetesKind, client, plan::Order},
    },
    work::store::UnitDir,
};

/// Longest wait for anything. A real cluster on a busy machine is slow.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// A cluster to run pods on.
pub(crate) struct World {
    pub(super) sim: Option<PodSim>,
    kubeconfig: PathBuf,
    pub(crate) directory: TempDir,
}

impl World {
    pub(super) fn simulated() -> Self {
        Self::simulated_with(Options::default())
    }

    pub(super) fn simulated_with(options: Options) -> Self {
        let sim = PodSim::start(options).unwrap();
        let kubeconfig = sim.kubeconfig_path().to_owned();
        Self { sim: Some(sim), kubeconfig, directory: tempfile::tempdir().unwrap() }
    }

    /// The cluster of `WORKNODE_KUBECONFIG`, if that is set.
    pub(super) fn real() -> Option<Self> {
        let Some(kubeconfig) = std::env::var_os("WORKNODE_KUBECONFIG") else {
            eprintln!("skipped: WORKNODE_KUBECONFIG is not set");
            return None;
        };
        Some(Self { sim: None, kubeconfig: kubeconfig.into(), directory: tempfile::tempdir().unwrap() })
    }

    /// No cluster at all: for what is decided before one is asked.
    pub(crate) fn none() -> Self {
        Self { sim: None, kubeconfig: PathBuf::new(), directory: tempfile::tempdir().unwrap() }
    }

    /// The configuration of a work type with exactly these keys besides its name.
    pub(crate) fn config(&self, keys: &str) -> KubernetesType {
        let file = self.directory.path().join("node.yml");
        let text = format!("- node: {{id: node-1}}\n- local-only:\n- work-kubernetes: {{worktype: kubeit, {keys}}}\n");
        std::fs::write(&file, text).unwrap();
        read_config(&file).0
    }

    /// The work type of [`World::config`].
    pub(crate) fn file_kind(&self, keys: &str) -> KubernetesKind {
        let world = Environment::new(|_| None, PathBuf::new());
        KubernetesKind::new(self.config(keys), &Clients::new(KubeTuning::default()), "node-1", world)
    }

    pub(super) fn sim(&self) -> &PodSim {
        self.sim.as_ref().unwrap()
    }

    /// Takes another kubeconfig for the same cluster.
    pub(super) fn use_kubeconfig(&mut self, file: &Path) {
        file.clone_into(&mut self.kubeconfig);
    }

    pub(super) fn kubeconfig_text(&self) -> String {
        std::fs::read_to_string(&self.kubeconfig).unwrap()
    }

    /// A work type with the keys of a v1 file in braces; `kubeconfig` and `worktype` are given.
    pub(super) fn kind(&self, keys: &str) -> Arc<KubernetesKind> {
        let (kind, tuning) = self.full_config(keys);
        Arc::new(KubernetesKind::new(kind, &Clients::new(tuning), "node-1", Environment::of_process()))
    }

    /// Another work type of the same node.
    pub(super) fn beside(&self, other: &KubernetesKind, keys: &str) -> Arc<KubernetesKind> {
        let clients = Clients(Arc::clone(&other.cluster.pool));
        Arc::new(KubernetesKind::new(self.full_config(keys).0, &clients, "node-1", Environment::of_process()))
    }

    fn full_config(&self, keys: &str) -> (KubernetesType, KubeTuning) {
        let file = self.directory.path().join("node.yml");
        let kubeconfig = self.kubeconfig.display();
        let text = format!(
            "- node: {{id: node-1}}\n- local-only:\n- work-kubernetes: {{worktype: kubeit, authmethod: kubeconfig, \
             kubeconfig: {kubeconfig}, allowruntimepod: true, allowruntimeparams: true, allowruntimeauth: true, \
             allowruntimecommand: true{}{keys}}}\n",
            if keys.is_empty() { "" } else { ", " }
        );
        std::fs::write(&file, text).unwrap();
        read_config(&file)
    }

    /// Makes an object past the work type.
    pub(super) async fn make(&self, kind: &KubernetesKind, path: &str, object: serde_json::Value) {
        self.ask(kind, client::request(http::Method::POST, path, object.to_string().into()).unwrap()).await;
    }

    /// Changes an object past the work type.
    pub(super) async fn patch(&self, kind: &KubernetesKind, path: &str, change: serde_json::Value) {
        let mut request = client::request(http::Method::PATCH, path, change.to_string().into()).unwrap();
        let merge = http::HeaderValue::from_static("application/merge-patch+json");
        request.headers_mut().insert(http::header::CONTENT_TYPE, merge);
        self.ask(kind, request).await;
    }

    async fn ask(&self, kind: &KubernetesKind, request: http::Request<bytes::Bytes>) {
        let order = Order::plan(&kind.cluster.kind, &Params::default()).unwrap();
        let api = kind.cluster.connect(&order).await.unwrap();
        api.object::<serde_json::Value>(&request).await.unwrap();
    }

    /// Submits a unit and starts it.
    pub(super) async fn submit(&self, kind: &Arc<KubernetesKind>, params: &[(&str, &str)], stdin: &[u8]) -> Unit {
        let unit = self.prepare(kind, params, stdin).unwrap();
        unit.started().await.unwrap()
    }

    /// Submits a shell script.
    pub(super) async fn script(&self, kind: &Arc<KubernetesKind>, script: &str, stdin: &[u8]) -> Unit {
        self.submit(kind, &[("secret_kube_pod", &pod(script))], stdin).await
    }

    /// A unit with its payload on disk, not yet started.
    pub(super) fn prepare(
        &self,
        kind: &Arc<KubernetesKind>,
        params: &[(&str, &str)],
        stdin: &[u8],
    ) -> Result<Prepared, PlanError> {
        let plan = kind.plan(&params.iter().copied().collect::<Params>())?;
        let id = UnitId::draw(|below| rand::RngExt::random_range(&mut rand::rng(), 0..below));
        let mut status = Status::created("kubeit");
        status.extra_data = plan.extra_data;
        let dir = UnitDir::create(self.directory.path().join(id.as_str()), &status).unwrap();
        if let Some(secrets) = plan.secrets {
            dir.replace_file("secrets.json", secrets.document().as_bytes()).unwrap();
        }
        std::fs::write(dir.stdin(), stdin).unwrap();
        let unit = Unit::new(Arc::clone(kind), id, dir);
        Ok(Prepared { unit, runner: plan.runner })
    }
}

fn read_config(file: &Path) -> (KubernetesType, KubeTuning) {
    let words = ["-c".to_owned(), file.display().to_string()];
    let startup = config::load(&words, &ThisMachine).unwrap_or_else(|fault| panic!("{fault}"));
    let Startup::Run(start) = startup else { panic!("no node to run") };
    let kind = start.config.work_types.into_iter().find_map(|kind| match kind {
        WorkType::Kubernetes(kind) => Some(*kind),
        WorkType::Command(_) => None,
    });
    (kind.unwrap(), start.config.kube_tuning)
}

/// A pod whose worker runs a script.
pub(super) fn pod(script: &str) -> String {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"generateName": "test-"},
        "spec": {"containers": [{
            "name": "worker", "image": "busybox", "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script],
        }]},
    })
    .to_string()
}

struct ThisMachine;

impl Host for ThisMachine {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }
    fn open(&self, path: &Path) -> io::Result<()> {
        std::fs::File::open(path).map(drop)
    }
    fn stat(&self, path: &Path) -> io::Result<()> {
        std::fs::metadata(path).map(drop)
    }
    fn variable(&self, _: &str) -> Option<String> {
        None
    }
    fn host_name(&self) -> io::Result<String> {
        Ok("host".to_owned())
    }
}

/// A unit that is not started.
pub(super) struct Prepared {
    pub(super) unit: Unit,
    runner: Box<dyn Runner>,
}

impl Prepared {
    pub(super) async fn started(mut self) -> Result<Unit, StartError> {
        let context = self.unit.context();
        self.runner.start(&context).await?;
        self.unit.task = Some(tokio::spawn(self.runner.run(context)));
        Ok(self.unit)
    }
}

/// A unit, and what its task would be.
pub(super) struct Unit {
    pub(super) kind: Arc<KubernetesKind>,
    pub(super) id: UnitId,
    pub(super) dir: UnitDir,
    pub(super) cancel: CancellationToken,
    pub(super) detach: CancellationToken,
    /// `0 Pod created`, `1 Pod Running`, in the order of their coming.
    news: watch::Receiver<Vec<String>>,
    told: Arc<watch::Sender<Vec<String>>>,
    reporter: Reporter,
    task: Option<JoinHandle<Ending>>,
    keeper: JoinHandle<()>,
}

impl Unit {
    fn new(kind: Arc<KubernetesKind>, id: UnitId, dir: UnitDir) -> Self {
        let (told, news) = watch::channel(Vec::new());
        let told = Arc::new(told);
        let (reporter, mut inbox) = Reporter::channel();
        let (keeper_dir, keeper_told) = (dir.clone(), Arc::clone(&told));
        let keeper = tokio::spawn(async move {
            while let Some(told) = inbox.recv().await {
                let (report, written) = *told;
                let line = keeper_dir.update_status(|status| {
                    if let Some(state) = report.state {
                        status.state = state;
                    }
                    if let Some(detail) = report.detail {
                        status.detail = detail.to_string();
                    }
                    if let Some(extra_data) = report.extra_data {
                        status.extra_data = extra_data;
                    }
                    Some(format!("{} {}", status.state.number(), status.detail))
                });
                keeper_told.send_modify(|lines| lines.extend(line.unwrap()));
                let _ = written.send(());
            }
        });
        let (cancel, detach) = (CancellationToken::new(), CancellationToken::new());
        Self { kind, id, dir, cancel, detach, news, told, reporter, task: None, keeper }
    }

    fn context(&self) -> UnitContext {
        UnitContext {
            id: self.id.clone(),
            dir: self.dir.clone(),
            payload: Payload::whole(),
            reporter: self.reporter.clone(),
            cancel: self.cancel.clone(),
            detach: self.detach.clone(),
        }
    }

    /// How the runner came back; its last state is on disk then.
    pub(super) async fn ending(&mut self) -> Ending {
        let task = self.task.as_mut().unwrap();
        let ending = match timeout(PATIENCE, task).await {
            Ok(ending) => ending.unwrap(),
            Err(_) => panic!("unit did not end; news: {:?}", self.news()),
        };
        self.task = None;
        match &ending {
            Ending::Done(state, detail) => self.write(*state, &detail.to_string()),
            Ending::Cancelled { .. } => self.write(State::Canceled, "Canceled"),
            Ending::Detached => {}
        }
        ending
    }

    fn write(&self, state: State, detail: &str) {
        let mut status = self.dir.read_status().unwrap();
        status.state = state;
        status.detail = detail.to_owned();
        self.dir.write_status(&status).unwrap();
    }

    /// `2 Finished`, of a unit that ends by itself.
    pub(super) async fn end(&mut self) -> String {
        match self.ending().await {
            Ending::Done(state, detail) => format!("{} {detail}", state.number()),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn news(&self) -> Vec<String> {
        self.news.borrow().clone()
    }

    /// Returns when this was told.
    pub(super) async fn told(&mut self, line: &str) {
        self.told_as(line, |told| told == line).await;
    }

    /// Returns when something that begins like this was told.
    pub(super) async fn told_begin(&mut self, begin: &str) {
        self.told_as(begin, |told| told.starts_with(begin)).await;
    }

    async fn told_as(&mut self, words: &str, is: impl Fn(&str) -> bool) {
        let heard = timeout(PATIENCE, self.news.wait_for(|lines| lines.iter().any(|told| is(told)))).await.is_ok();
        assert!(heard, "never told: {words}; but {:?}", self.news());
    }

    pub(super) fn stdout(&self) -> Vec<u8> {
        std::fs::read(self.dir.stdout()).unwrap()
    }

    /// Returns when `stdout` has so many bytes.
    pub(super) async fn has_written(&self, bytes: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.dir.stdout_bytes() < bytes {
            assert!(Instant::now() < deadline, "{} of {bytes} bytes", self.dir.stdout_bytes());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The name of the pod that is, or is about to be, asked for.
    pub(super) async fn asked(&self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // The record is there before a name is chosen.
            if self.dir.file("worknode.json").exists()
                && let Some(name) = self.record()["name"].as_str().filter(|name| !name.is_empty())
            {
                return name.to_owned();
            }
            assert!(Instant::now() < deadline, "no pod was asked for");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(super) fn found(&self) -> Found {
        Found { id: self.id.clone(), dir: self.dir.clone(), status: self.dir.read_status().unwrap() }
    }

    pub(super) async fn discard(&self) -> Result<(), String> {
        self.kind.discard(&self.found()).await.map_err(|fault| fault.to_string())
    }

    /// Ends the runner as a killed daemon does: wherever it stands.
    pub(super) async fn kill(&mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        let _ = task.await;
        // A thread that writes dies with its process, but not with a task: let it come to its end.
        let size = || (self.dir.stdout_bytes(), std::fs::read(self.dir.file("worknode.json")).unwrap_or_default());
        let mut before = size();
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if size() == before {
                return;
            }
            before = size();
        }
    }

    /// What a new daemon does with it: the runner goes on, or the unit is over (`3 Failed to restart: ...`).
    pub(super) fn recover(&mut self) -> Option<String> {
        self.cancel = CancellationToken::new();
        self.detach = CancellationToken::new();
        self.told.send_modify(Vec::clear);
        match self.kind.recover(&self.found()) {
            Recovery::Resume(runner) => {
                self.task = Some(tokio::spawn(runner.run(self.context())));
                None
            }
            Recovery::Ended(state, detail) => {
                self.write(state, &detail.to_string());
                Some(format!("{} {detail}", state.number()))
            }
        }
    }

    pub(super) fn pod_name(&self) -> String {
        let extra = self.dir.read_status().unwrap().extra_data;
        extra["PodName"].as_str().unwrap_or_default().to_owned()
    }

    /// The contents of `worknode.json`.
    pub(super) fn record(&self) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.dir.file("worknode.json")).unwrap()).unwrap()
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

//! A node whose remote units are under test, and a control service that is played by the test.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    task::JoinHandle,
    time::timeout,
};
use worknode_mesh::{Listener, MeshHandle, Settings, Stream, tls::Named};
use worknode_protocol::{
    control::{Params, Submit},
    unit::{State, Status},
};

use super::super::{Patience, RemoteKind};
use crate::{
    runner::Started,
    work::{
        signature::Signer,
        unit::{StartRefused, UnitHandle},
        units::{Units, WorkKinds},
    },
};

pub(super) const SOON: Duration = Duration::from_secs(10);

/// Short enough for tests, and long enough for a machine at work.
const PATIENCE: Patience = Patience {
    greeting: Duration::from_secs(2),
    answer: Duration::from_millis(500),
    start: Duration::from_secs(2),
    first_pause: Duration::from_millis(5),
    longest_pause: Duration::from_millis(20),
    poll: Duration::from_millis(10),
    nonsense: Duration::from_millis(300),
    limbo: Duration::from_millis(300),
};

pub(super) struct World {
    dir: tempfile::TempDir,
    mesh: MeshHandle,
    kind: Arc<RemoteKind>,
    pub(super) units: Arc<Units>,
}

impl World {
    /// The node, and the listener of the control service that its remote units speak with: its own, so that there is no link
    /// that could fail.
    pub(super) async fn new() -> (Self, Listener) {
        let node = "n3".parse().unwrap();
        let mesh = worknode_mesh::start(Settings { node, firewall: Vec::new(), idle: Duration::ZERO }).unwrap();
        let listener = mesh.listen("control", None, None).await.unwrap();
        (Self::open(tempfile::tempdir().unwrap(), mesh).await, listener)
    }

    async fn open(dir: tempfile::TempDir, mesh: MeshHandle) -> Self {
        let signer = Signer::new(None);
        let kind = Arc::new(RemoteKind::new(mesh.clone(), Arc::new(Named::default()), signer, PATIENCE));
        let kinds = WorkKinds::default().with_remote(kind.clone());
        let units = Units::open(dir.path().join("n1"), kinds).await.unwrap();
        Self { dir, mesh, kind, units }
    }

    /// The daemon leaves and another one comes.
    pub(super) async fn restart(self) -> Self {
        timeout(SOON, self.units.detach()).await.expect("units come to rest");
        Self::open(self.dir, self.mesh).await
    }

    pub(super) async fn create(&self, params: &[(&str, &str)]) -> UnitHandle {
        let submit = Submit {
            node: "n3".to_owned(),
            work_type: "wt".to_owned(),
            params: params.iter().copied().collect::<Params>(),
            ..Submit::default()
        };
        let plan = self.kind.plan_for(submit, None).unwrap();
        self.units.create(self.kind.clone(), plan).await.unwrap()
    }

    /// Submits a unit with this payload; comes back when the client would be answered.
    pub(super) async fn submit(&self, payload: &[u8]) -> (UnitHandle, Result<Started, StartRefused>) {
        let unit = self.create(&[("params", "a b"), ("foo", "bar")]).await;
        let started = send(&unit, payload).await;
        (unit, started)
    }

    /// Submits a unit that starts.
    pub(super) async fn started(&self, payload: &[u8]) -> UnitHandle {
        let (unit, started) = self.submit(payload).await;
        assert_eq!(started.unwrap(), Started::Now);
        unit
    }
}

/// Sends the payload of a unit, as a session does.
pub(super) async fn send(unit: &UnitHandle, payload: &[u8]) -> Result<Started, StartRefused> {
    let early = unit.begin_early().await.unwrap();
    std::fs::write(unit.dir().stdin(), payload).unwrap();
    early.upload.send_modify(|upload| upload.bytes = payload.len() as u64);
    timeout(SOON, unit.seal(early)).await.expect("an answer in time")
}

/// The status of a unit once it is as wanted.
pub(super) async fn until(unit: &UnitHandle, wanted: impl Fn(&Status) -> bool) -> Status {
    let mut progress = unit.progress();
    let seen = timeout(SOON, progress.wait_for(|now| wanted(&now.status))).await;
    match seen {
        Ok(now) => Status::clone(&now.unwrap().status),
        Err(_) => panic!("not in time: {:?}", unit.status()),
    }
}

pub(super) async fn ended(unit: &UnitHandle) -> (State, String) {
    let status = until(unit, |status| status.state.is_final()).await;
    (status.state, status.detail)
}

pub(super) fn output(unit: &UnitHandle) -> Vec<u8> {
    std::fs::read(unit.dir().stdout()).unwrap()
}

/// A connection to the control service that the test plays.
pub(super) struct Talk {
    stream: BufReader<Stream>,
}

impl Talk {
    /// The next connection.
    pub(super) async fn next(listener: &mut Listener) -> Self {
        let accepted = timeout(SOON, listener.accept()).await.expect("a connection in time");
        Self { stream: BufReader::new(accepted.unwrap().0) }
    }

    /// The next connection, with which everything is right so far.
    pub(super) async fn greeted(listener: &mut Listener) -> Self {
        let mut talk = Self::next(listener).await;
        talk.say("Receptor Control, node n3\n").await;
        talk
    }

    pub(super) async fn say(&mut self, text: &str) {
        // Who does not listen any more does not hear it.
        let _ = self.stream.get_mut().write_all(text.as_bytes()).await;
        let _ = self.stream.get_mut().flush().await;
    }

    /// The next command.
    pub(super) async fn hear(&mut self) -> String {
        let mut line = String::new();
        timeout(SOON, self.stream.read_line(&mut line)).await.expect("a command in time").unwrap_or_default();
        line.trim_end().to_owned()
    }

    /// The payload, to its end.
    pub(super) async fn payload(&mut self) -> std::io::Result<Vec<u8>> {
        let mut payload = Vec::new();
        timeout(SOON, self.stream.read_to_end(&mut payload)).await.expect("a payload in time")?;
        Ok(payload)
    }

    pub(super) async fn close(mut self) {
        let _ = self.stream.get_mut().shutdown().await;
    }

    pub(super) fn abort(self) {
        self.stream.into_inner().abort("the test breaks it");
    }

    /// Takes a submission, up to the answer.
    pub(super) async fn take_submit(mut self, unit: &str, payload: &[u8]) {
        let line: Value = serde_json::from_str(&self.hear().await).unwrap();
        assert_eq!(line["subcommand"], "submit", "{line}");
        self.say(&created(unit)).await;
        assert_eq!(self.payload().await.unwrap(), payload);
        self.say(&format!("{}\n", json!({"result": "Job Started", "unitid": unit}))).await;
        self.close().await;
    }
}

pub(super) fn created(unit: &str) -> String {
    format!("Work unit created with ID {unit}. Send stdin data and EOF.\n")
}

pub(super) fn status(state: u8, detail: &str, size: u64) -> String {
    let name = ["Pending", "Running", "Succeeded", "Failed", "Canceled"][usize::from(state)];
    let status = json!({
        "Detail": detail, "ExtraData": null, "State": state, "StateName": name, "StdoutSize": size, "WorkType": "wt"
    });
    format!("{status}\n")
}

/// Plays a node of receptor on which a unit has run: answers each command on connections of any number.
pub(super) fn receptor(mut listener: Listener, unit: &'static str, output: &'static str, end: u8) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut talk = Talk { stream: BufReader::new(stream) };
                talk.say("Receptor Control, node n3\n").await;
                loop {
                    let line = talk.hear().await;
                    if line.is_empty() {
                        return;
                    }
                    if line.contains("follow") {
                        talk.say("ERROR: bad command\n").await;
                    } else if line.contains("results") {
                        let from = line.rsplit(' ').next().and_then(|from| from.parse().ok()).unwrap_or(0);
                        talk.say(&format!("Streaming results for work unit {unit}\n")).await;
                        talk.say(&output[from..]).await;
                        return talk.close().await;
                    } else if line.contains("status") {
                        talk.say(&status(end, "exit status 0", output.len() as u64)).await;
                    } else {
                        let order = if line.contains("release") { "released" } else { "cancelled" };
                        talk.say(&format!("{}\n", json!({order: unit}))).await;
                    }
                }
            });
        }
    })
}

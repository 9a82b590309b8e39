//! Whole units of work on a [`Node`]: submit, wait, results, release.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use crate::binaries::Kind;
use crate::node::Node;
use crate::session::Session;
use crate::wait::{Deadline, PATIENCE, Watch};

/// State of a unit (control-protocol 3.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// 0
    Pending,
    /// 1
    Running,
    /// 2
    Succeeded,
    /// 3
    Failed,
    /// 4
    Canceled,
}

impl State {
    /// Whether the unit has ended; only a release changes it after that.
    #[must_use]
    pub fn ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }

    fn from_number(number: u64) -> Option<Self> {
        [Self::Pending, Self::Running, Self::Succeeded, Self::Failed, Self::Canceled]
            .get(usize::try_from(number).ok()?)
            .copied()
    }
}

/// What `work status` says of a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitStatus {
    /// The unit's state.
    pub state: State,
    /// Its words.
    pub detail: String,
    /// Bytes of output.
    pub stdout_size: u64,
    /// Its work type.
    pub work_type: String,
    /// What the work type adds.
    pub extra: Value,
}

impl UnitStatus {
    /// Reads one unit's object of an answer.
    ///
    /// # Errors
    /// Fails if a field is missing or of another type, or if number and name of the state disagree.
    pub fn from_json(value: &Value) -> Result<Self> {
        let field = |name: &str| value.get(name).with_context(|| format!("{name} is missing in {value}"));
        let number = |name: &str| field(name)?.as_u64().with_context(|| format!("{name} in {value}"));
        let text = |name: &str| {
            let text = field(name)?.as_str().with_context(|| format!("{name} in {value}"))?;
            anyhow::Ok(text.to_owned())
        };
        let state = State::from_number(number("State")?).with_context(|| format!("state in {value}"))?;
        ensure!(text("StateName")? == format!("{state:?}"), "number and name of the state disagree in {value}");
        Ok(Self {
            state,
            detail: text("Detail")?,
            stdout_size: number("StdoutSize")?,
            work_type: text("WorkType")?,
            extra: field("ExtraData")?.clone(),
        })
    }
}

impl fmt::Display for UnitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}, {} bytes", self.state, self.detail, self.stdout_size)
    }
}

/// The error answer of a command, as an error: without `ERROR: `.
///
/// # Errors
/// Fails with the answer's text, or if it is not JSON.
pub fn answer(line: &str) -> Result<Value> {
    if let Some(text) = line.strip_prefix("ERROR: ") {
        bail!("{text}");
    }
    serde_json::from_str(line).with_context(|| format!("not an answer: {line:?}"))
}

/// The ID in the first answer to a submit.
///
/// # Errors
/// Fails with the answer's text if it is an error.
pub fn created(line: &str) -> Result<String> {
    let id = line
        .strip_prefix("Work unit created with ID ")
        .and_then(|rest| rest.strip_suffix(". Send stdin data and EOF."));
    match id {
        Some(id) => Ok(id.to_owned()),
        None => bail!("{}", line.strip_prefix("ERROR: ").unwrap_or(line)),
    }
}

impl Node {
    /// Submits a unit without parameters and gives its ID once the daemon has answered that the job has started.
    ///
    /// # Errors
    /// Fails with the daemon's text if it refuses.
    pub fn submit(&self, worktype: &str, payload: &[u8]) -> Result<String> {
        self.submit_with(worktype, &[], payload)
    }

    /// Submits a unit with parameters.
    ///
    /// # Errors
    /// Fails with the daemon's text if it refuses.
    pub fn submit_with(&self, worktype: &str, parameters: &[(&str, &str)], payload: &[u8]) -> Result<String> {
        let (id, mut session) = self.begin(worktype, parameters)?;
        session.send(payload)?;
        session.half_close()?;
        let reply = answer(&session.line()?)?;
        ensure!(reply == json!({"result": "Job Started", "unitid": id}), "unexpected reply {reply}");
        Ok(id)
    }

    /// Begins to submit a unit: gives its ID and the session that takes its payload.
    ///
    /// # Errors
    /// Fails with the daemon's text if it refuses.
    pub fn begin(&self, worktype: &str, parameters: &[(&str, &str)]) -> Result<(String, Session)> {
        let mut session = self.connect()?;
        let id = created(&session.ask(&submit_line(worktype, parameters))?)?;
        Ok((id, session))
    }

    /// The status of a unit.
    ///
    /// # Errors
    /// Fails with the daemon's text, or if the answer is malformed.
    pub fn status(&self, unit: &str) -> Result<UnitStatus> {
        UnitStatus::from_json(&answer(&self.connect()?.ask(&format!("work status {unit}"))?)?)
    }

    /// The statuses of all units by ID.
    ///
    /// # Errors
    /// Fails if the answer is malformed.
    pub fn list(&self) -> Result<Map<String, Value>> {
        match answer(&self.connect()?.ask("work list")?)? {
            Value::Object(units) => Ok(units),
            other => bail!("not a list of units: {other}"),
        }
    }

    /// Opens the results of a unit at `position`; the header has been read.
    ///
    /// # Errors
    /// Fails with the daemon's text if it refuses.
    pub fn open_results(&self, unit: &str, position: u64) -> Result<Session> {
        let mut session = self.connect()?;
        let header = session.ask(&format!("work results {unit} {position}"))?;
        ensure!(header == format!("Streaming results for work unit {unit}"), "{header}");
        Ok(session)
    }

    /// The whole output of a unit, read until the daemon ends the stream.
    ///
    /// # Errors
    /// Fails if the stream does not end in time.
    pub fn results(&self, unit: &str) -> Result<Vec<u8>> {
        self.open_results(unit, 0)?.rest()
    }

    /// Waits until a unit has ended, and gives its status.
    ///
    /// # Errors
    /// Fails if it does not end in time.
    pub fn wait_ended(&self, unit: &str) -> Result<UnitStatus> {
        self.wait_ended_within(unit, PATIENCE)
    }

    /// Waits until a unit has ended that may take longer or shorter than is usual, and gives its status.
    ///
    /// # Errors
    /// Fails if it does not end within the limit.
    pub fn wait_ended_within(&self, unit: &str, limit: Duration) -> Result<UnitStatus> {
        if self.kind() == Kind::Receptor {
            // Its results of a canceled unit never end (control-protocol 3.10), and it learns of the runner's end only
            // after the runner has written the status.
            return self.wait_status(unit, |status| status.state.ended() && status.extra.is_null());
        }
        // The end of its results is the event; what has been written so far need not be read for that.
        let written = self.status(unit)?.stdout_size;
        let mut results = self.open_results(unit, written)?;
        results.set_patience(limit);
        results.drain(|_| ()).with_context(|| format!("waiting for the end of {unit}"))?;
        let status = self.status(unit)?;
        ensure!(status.state.ended(), "results of {unit} ended, but it is {status}");
        Ok(status)
    }

    /// Waits until the status of a unit is as wanted, and gives it.
    ///
    /// # Errors
    /// Fails if it is not so in time, with the last status.
    pub fn wait_status(&self, unit: &str, wanted: impl Fn(&UnitStatus) -> bool) -> Result<UnitStatus> {
        self.wait_status_within(unit, PATIENCE, wanted)
    }

    /// The same, with this much time.
    ///
    /// # Errors
    /// Fails if it is not so in time, with the last status.
    pub fn wait_status_within(
        &self,
        unit: &str,
        limit: Duration,
        wanted: impl Fn(&UnitStatus) -> bool,
    ) -> Result<UnitStatus> {
        let watch = Watch::new(&self.unit_directory(unit))?;
        let mut last = None;
        let found = watch.until(Deadline::after(limit), "the wanted status", || {
            let status = self.status(unit)?;
            Ok(if wanted(&status) {
                Some(status)
            } else {
                last = Some(status);
                None
            })
        });
        found.with_context(|| last.map_or_else(String::new, |last| format!("unit {unit} is {last}")))
    }

    /// Cancels a unit and checks the answer.
    ///
    /// # Errors
    /// Fails with the daemon's text if it refuses.
    pub fn cancel(&self, unit: &str) -> Result<()> {
        self.order("cancel", "cancelled", unit)
    }

    /// Releases a unit and checks the answer.
    ///
    /// # Errors
    /// Fails with the daemon's text if it refuses.
    pub fn release(&self, unit: &str) -> Result<()> {
        self.order("release", "released", unit)
    }

    fn order(&self, subcommand: &str, done: &str, unit: &str) -> Result<()> {
        let reply = answer(&self.connect()?.ask(&format!("work {subcommand} {unit}"))?)?;
        ensure!(reply == json!({ done: unit }), "unexpected reply {reply}");
        Ok(())
    }
}

/// The JSON line of a submit to this node (control-protocol 3.6).
#[must_use]
pub fn submit_line(worktype: &str, parameters: &[(&str, &str)]) -> String {
    let mut line = Map::new();
    for (key, value) in [("command", "work"), ("subcommand", "submit"), ("node", "localhost"), ("worktype", worktype)]
        .iter()
        .chain(parameters)
    {
        line.insert((*key).to_owned(), json!(value));
    }
    Value::Object(line).to_string()
}

//! Following a unit on another node to its end.
//!
//! A node of worknode pushes what is new on one stream (see [`follow`](worknode_protocol::control::follow)). One of receptor
//! does not know the command and is asked for the status, at first often, then each second, while a second connection
//! streams the output. Either way output goes on from what is here: nothing is lost or doubled.

use std::{convert::Infallible, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::debug;
use worknode_protocol::{
    control::{
        Request, Results, UnitCommand, WorkRequest,
        client::Event,
        follow::{Frame, MAX_FRAME_BYTES},
    },
    unit::{Detail, State, Status},
};

use super::{
    far::{Connection, Fault},
    life::{Pace, RemoteRunner},
    output::Output,
};
use crate::runner::{Ending, Report, UnitContext};

/// Longest detail taken from another node, in bytes.
const LONGEST_DETAIL: usize = 64 * 1024;
/// The first question after the status of a unit of receptor comes so soon, each further one after twice the time.
const FIRST_POLL: Duration = Duration::from_millis(50);

/// What was heard of the unit.
#[derive(Default)]
struct Heard {
    state: Option<(State, String)>,
    /// Something new came since the last failure.
    news: bool,
    /// Since when only nonsense came.
    nonsense_since: Option<Instant>,
}

impl RemoteRunner {
    /// Watches the unit until it has ended and all of its output is here.
    pub(super) async fn watch_to_end(&self, unit: &UnitContext) -> Ending {
        let mut heard = Heard::default();
        let mut pace = Pace::new(self.far.patience());
        loop {
            let size = unit.dir.stdout_bytes();
            let fault = match self.watch_once(unit, &mut heard).await {
                Ok(ending) => return ending,
                Err(fault) => fault,
            };
            debug!("unit {}: not watched on {}: {fault}", unit.id, self.far.node());
            if std::mem::take(&mut heard.news) || unit.dir.stdout_bytes() > size {
                pace = Pace::new(self.far.patience());
                heard.nonsense_since = None;
            }
            if !matches!(fault, Fault::Unreachable(_) | Fault::Tls(_)) {
                let since = *heard.nonsense_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= self.far.patience().nonsense {
                    return Ending::Done(State::Failed, hopeless(fault, unit));
                }
            }
            pace.pause(&self.far).await;
        }
    }

    async fn watch_once(&self, unit: &UnitContext, heard: &mut Heard) -> Result<Ending, Fault> {
        let mut connection = self.far.connect().await?;
        let request = self.far.signed(WorkRequest::Follow(self.results(unit)), None).await?;
        match connection.ask(&request, self.far.patience().answer).await? {
            Event::Following { .. } => self.pushed(&mut connection, unit, heard).await,
            Event::Refused(words) if words.is_unknown_command() => self.polled(&mut connection, unit, heard).await,
            Event::Refused(words) if words.is_unknown_unit() => Ok(gone()),
            other => Err(Fault::nonsense(format!("an answer to work follow: {other:?}"))),
        }
    }

    /// The output from where it ends here.
    fn results(&self, unit: &UnitContext) -> Results {
        let start = i64::try_from(unit.dir.stdout_bytes()).unwrap_or(i64::MAX);
        Results { unit: self.extra.remote_unit_id.clone(), start, ..Results::default() }
    }

    async fn pushed(
        &self,
        connection: &mut Connection,
        unit: &UnitContext,
        heard: &mut Heard,
    ) -> Result<Ending, Fault> {
        let mut output = Output::new(connection, &unit.dir);
        loop {
            let Some(line) = output.line(MAX_FRAME_BYTES).await? else {
                return Err(Fault::unreachable("the other node has ended the stream"));
            };
            match Frame::read(&line).map_err(Fault::nonsense)? {
                Frame::Status { state, detail } => self.tell(unit, heard, state, detail).await,
                Frame::Output(count) => {
                    if output.copy(count).await? < count {
                        return Err(Fault::unreachable("the stream ended within the output"));
                    }
                    heard.news = true;
                }
                Frame::End { state, detail, size } if unit.dir.stdout_bytes() == size => {
                    return Ok(Ending::Done(state, Detail::Verbatim(bounded(detail))));
                }
                Frame::End { size, .. } => {
                    let here = unit.dir.stdout_bytes();
                    return Err(Fault::nonsense(format!("output of {size} bytes, of which {here} came")));
                }
                Frame::Released => return Ok(gone()),
            }
        }
    }

    async fn polled(
        &self,
        connection: &mut Connection,
        unit: &UnitContext,
        heard: &mut Heard,
    ) -> Result<Ending, Fault> {
        let (tell, size) = watch::channel(unit.dir.stdout_bytes());
        tokio::select! {
            ended = self.poll_status(connection, unit, heard, size) => ended,
            fault = self.copy_results(unit, &tell) => fault.map(|never| match never {}),
        }
    }

    /// Asks for the status until it is final and the output is as long as it says.
    async fn poll_status(
        &self,
        connection: &mut Connection,
        unit: &UnitContext,
        heard: &mut Heard,
        mut size: watch::Receiver<u64>,
    ) -> Result<Ending, Fault> {
        let mut pause = FIRST_POLL;
        loop {
            let status = match self.ask_status(connection).await? {
                Some(status) => status,
                None => return Ok(gone()),
            };
            if status.state.is_final() {
                let whole = size.wait_for(|size| *size >= status.stdout_size);
                return match timeout(self.far.patience().nonsense, whole).await {
                    Ok(_) => Ok(Ending::Done(status.state, Detail::Verbatim(bounded(status.detail)))),
                    Err(_) => Ok(Ending::Done(State::Failed, cut(status.detail, unit))),
                };
            }
            self.tell(unit, heard, status.state, status.detail).await;
            sleep(pause).await;
            pause = (pause * 2).min(self.far.patience().poll);
        }
    }

    async fn ask_status(&self, connection: &mut Connection) -> Result<Option<Status>, Fault> {
        let about = UnitCommand { unit: self.extra.remote_unit_id.clone(), signature: None };
        match connection.ask(&Request::Work(WorkRequest::Status(about)), self.far.patience().answer).await? {
            Event::Answered(answer) => {
                let status = answer.status().map_err(Fault::nonsense)?;
                if matches!(status.state, State::Unknown(_)) {
                    return Err(Fault::nonsense(format!("a unit in state {}", status.state.number())));
                }
                Ok(Some(status))
            }
            Event::Refused(words) if words.is_unknown_unit() => Ok(None),
            other => Err(Fault::nonsense(format!("an answer to work status: {other:?}"))),
        }
    }

    /// Copies the output for as long as somebody wants it.
    async fn copy_results(&self, unit: &UnitContext, size: &watch::Sender<u64>) -> Result<Infallible, Fault> {
        let mut pace = Pace::new(self.far.patience());
        loop {
            match self.copy_once(unit, size).await {
                Ok(0) | Err(Fault::Unreachable(_)) => {}
                Ok(_) => pace = Pace::new(self.far.patience()),
                Err(fault) => return Err(fault),
            }
            pace.pause(&self.far).await;
        }
    }

    /// Copies until the other node ends the stream; tells how many bytes came.
    async fn copy_once(&self, unit: &UnitContext, size: &watch::Sender<u64>) -> Result<u64, Fault> {
        let mut connection = self.far.connect().await?;
        let request = self.far.signed(WorkRequest::Results(self.results(unit)), None).await?;
        match connection.ask(&request, self.far.patience().answer).await? {
            Event::Streaming { .. } => {}
            // Asked for the status, it says so as well.
            Event::Refused(words) if words.is_unknown_unit() => return Ok(0),
            other => return Err(Fault::nonsense(format!("an answer to work results: {other:?}"))),
        }
        let mut output = Output::new(&mut connection, &unit.dir);
        let mut copied = 0;
        loop {
            // Block by block, so that it is known how far it is.
            let count = output.copy_some().await?;
            if count == 0 {
                return Ok(copied);
            }
            copied += count;
            size.send_replace(unit.dir.stdout_bytes());
        }
    }

    /// Passes on what is new of a unit that has not ended.
    async fn tell(&self, unit: &UnitContext, heard: &mut Heard, state: State, detail: String) {
        let now = (state, bounded(detail));
        if heard.state.as_ref() == Some(&now) {
            return;
        }
        let report = Report { state: Some(now.0), detail: Some(Detail::Verbatim(now.1.clone())), ..Report::default() };
        heard.state = Some(now);
        heard.news = true;
        unit.reporter.report(report).await;
    }
}

fn gone() -> Ending {
    Ending::Done(State::Failed, Detail::RemoteUnitGone)
}

/// What is said of a unit whose node makes no sense for too long, or whose output cannot be kept here.
fn hopeless(fault: Fault, unit: &UnitContext) -> Detail {
    match fault {
        Fault::Disk(words) => cut(words, unit),
        fault => Detail::RemoteEndUnknown(bounded(fault.to_string())),
    }
}

/// An end of which output is missing here.
fn cut(end: String, unit: &UnitContext) -> Detail {
    let end = Box::new(Detail::Verbatim(bounded(end)));
    Detail::WithWarning { end, warning: Box::new(Detail::OutputCut(unit.dir.stdout_bytes())) }
}

fn bounded(mut text: String) -> String {
    if text.len() > LONGEST_DETAIL {
        let mut end = LONGEST_DETAIL;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

//! Getting a unit started on another node, once and never twice.

use std::{fs::File, os::unix::fs::FileExt, sync::Arc};

use tokio::time::Instant;
use tracing::{debug, info};
use worknode_protocol::{
    control::{
        RemoteError, Request, SessionError, Submit, UnitCommand, WorkRequest,
        client::{Event, Refused},
    },
    unit::{Detail, State, Status},
};

use super::{
    SECRETS,
    far::{Connection, Fault},
    life::RemoteRunner,
};
use crate::runner::UnitContext;

/// Bytes of the payload read at a time.
const BLOCK: usize = 256 * 1024;
/// Longest identifier of a unit taken; those of receptor have 8 characters.
const LONGEST_ID: usize = 64;

/// Why a unit has not started there.
#[derive(Debug)]
pub(super) enum NotStarted {
    /// The other node does not want it.
    Refused(RemoteError),
    /// What began there is gone, and may have run: it is not begun again.
    Gone,
    /// Not this time.
    Fault(Fault),
}

impl<F: Into<Fault>> From<F> for NotStarted {
    fn from(fault: F) -> Self {
        Self::Fault(fault.into())
    }
}

impl RemoteRunner {
    /// Tries once to get the unit started. Dropped in the middle it has done no harm: see `may_have_started`.
    pub(super) async fn attempt(&mut self, unit: &UnitContext) -> Result<(), NotStarted> {
        if !self.extra.remote_unit_id.is_empty() {
            if self.has_started().await? {
                self.note_started(unit).await;
                return Ok(());
            }
            info!(
                "unit {}: {} on {} did not start, it is submitted anew",
                unit.id,
                self.extra.remote_unit_id,
                self.far.node()
            );
            self.extra.remote_unit_id.clear();
            self.may_have_started = false;
            self.tell_extra(unit).await;
        }
        if self.far.needs_payload() {
            unit.payload.clone().sealed().await;
        }
        let mut connection = self.far.connect().await?;
        self.extra.remote_unit_id = self.submit(&mut connection, unit).await?;
        // On disk before the first byte of the payload: whoever comes after us finds the unit there.
        self.tell_extra(unit).await;
        self.send_payload(&mut connection, unit).await?;
        self.may_have_started = true;
        connection.finish_payload().await?;
        match connection.event(self.far.patience().start).await? {
            Event::Answered(answer) if answer.submitted().is_ok() => self.note_started(unit).await,
            Event::Refused(words) => {
                self.may_have_started = false;
                return Err(refused_payload(&words));
            }
            other => return Err(Fault::nonsense(format!("an answer to a payload: {other:?}")).into()),
        }
        connection.end().await;
        Ok(())
    }

    /// Has a unit made there; its name.
    async fn submit(&self, connection: &mut Connection, unit: &UnitContext) -> Result<String, NotStarted> {
        let submit = WorkRequest::Submit(Submit {
            node: self.extra.remote_node.clone(),
            work_type: self.extra.remote_work_type.clone(),
            params: self.params.clone(),
            ..Submit::default()
        });
        let request = self.far.signed(submit, Some(unit.dir.stdin())).await.map_err(Fault::from)?;
        match connection.ask(&request, self.far.patience().answer).await? {
            Event::Created { unit } if is_id(&unit) => Ok(unit),
            Event::Refused(words) => Err(NotStarted::Refused(RemoteError::Refused(words.line().to_owned()))),
            other => Err(Fault::nonsense(format!("an answer to a submit: {other:?}")).into()),
        }
    }

    /// Sends the payload as it comes in, up to its end.
    async fn send_payload(&self, connection: &mut Connection, unit: &UnitContext) -> Result<(), NotStarted> {
        let disk = |fault: std::io::Error| Fault::Disk(format!("error reading payload: {fault}"));
        let path = unit.dir.stdin();
        let opened = tokio::task::spawn_blocking(move || File::open(path)).await.map_err(std::io::Error::other);
        let file = Arc::new(opened.and_then(|opened| opened).map_err(disk)?);
        let mut payload = unit.payload.clone();
        let (mut sent, mut whole) = (0, false);
        loop {
            let file = file.clone();
            let read = move || {
                let there = usize::try_from(file.metadata()?.len().saturating_sub(sent)).unwrap_or(BLOCK);
                let mut block = vec![0; there.min(BLOCK)];
                let length = file.read_at(&mut block, sent)?;
                block.truncate(length);
                Ok::<_, std::io::Error>(block)
            };
            let read = tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other);
            let block = read.and_then(|read| read).map_err(disk)?;
            if !block.is_empty() {
                if let Err(fault) = connection.send(&block).await {
                    // It may have said why it reads no further.
                    return Err(match connection.early_refusal().await {
                        Some(words) => refused_payload(&words),
                        None => fault.into(),
                    });
                }
                sent += block.len() as u64;
            } else if whole {
                debug!("unit {}: payload of {sent} bytes sent to {}", unit.id, self.far.node());
                return Ok(());
            } else {
                // Whole now: what came since the last look is still to be read.
                whole = payload.grown(sent).await;
            }
        }
    }

    /// Finds out about a unit that an earlier attempt made. Returns when it is certain; one that has not started is
    /// released there.
    async fn has_started(&self) -> Result<bool, NotStarted> {
        if self.may_have_started {
            let limit = Instant::now() + self.far.patience().limbo;
            loop {
                let status = match self.status_there().await? {
                    Some(status) => status,
                    None => return Err(NotStarted::Gone),
                };
                if is_waiting(&status) && Instant::now() < limit {
                    // Its connection is gone, and it will notice.
                    tokio::time::sleep(self.far.patience().first_pause).await;
                    continue;
                }
                if !is_waiting(&status) && !was_cut_off(&status) {
                    return Ok(true);
                }
                break;
            }
        }
        match self.far.release(&self.extra.remote_unit_id).await {
            Ok(()) => Ok(false),
            Err(fault) => Err(Fault::unreachable(fault).into()),
        }
    }

    /// The status of the unit there; none if it is not known there.
    async fn status_there(&self) -> Result<Option<Status>, Fault> {
        let about = UnitCommand { unit: self.extra.remote_unit_id.clone(), signature: None };
        match self.far.ask_once(&Request::Work(WorkRequest::Status(about))).await? {
            Event::Answered(answer) => answer.status().map(Some).map_err(Fault::nonsense),
            Event::Refused(words) if words.is_unknown_unit() => Ok(None),
            other => Err(Fault::nonsense(format!("an answer to work status: {other:?}"))),
        }
    }

    async fn note_started(&mut self, unit: &UnitContext) {
        self.extra.remote_started = true;
        self.tell_extra(unit).await;
        let dir = unit.dir.clone();
        let _ = tokio::task::spawn_blocking(move || dir.unmark(SECRETS)).await;
    }
}

/// What is answered in place of a start. A node that is leaving has not started it, and may be back soon.
fn refused_payload(words: &Refused) -> NotStarted {
    if words.text() == SessionError::ShuttingDown.to_string() {
        return Fault::unreachable(words).into();
    }
    NotStarted::Refused(RemoteError::Start(words.text().to_owned()))
}

fn is_id(unit: &str) -> bool {
    unit.len() <= LONGEST_ID && unit.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// It waits for its payload.
fn is_waiting(status: &Status) -> bool {
    let waits = [Detail::UnitCreated, Detail::WaitingForInputData].map(|detail| detail.to_string());
    status.state == State::Pending && waits.contains(&status.detail)
}

/// Its payload did not arrive whole, so that it was never started.
fn was_cut_off(status: &Status) -> bool {
    status.state == State::Failed
        && status.detail.starts_with(&Detail::ErrorReadingInputData(String::new()).to_string())
}

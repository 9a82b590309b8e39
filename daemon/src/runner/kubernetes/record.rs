//! `worknode.json`: what this unit has done in the cluster. Each step is on disk before it is taken, so that a daemon that
//! was killed in the middle knows what may have happened (work-types 2.8).

use std::{io, time::Duration};

use serde::{Deserialize, Serialize};
use worknode_protocol::unit::PodProblem;

use super::{outcome::End, plan::SECRETS_FILE, position::Gap, view::Terminated};
use crate::work::store::UnitDir;

/// The file's name in the unit's directory.
pub(crate) const FILE: &str = "worknode.json";

/// Longest file that is read: it has a bounded number of short fields, but for the termination message (4 KiB).
const LIMIT: u64 = 1024 * 1024;

/// How far the unit came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    /// The pod's name is chosen; it may have been asked for.
    #[default]
    Creating,
    /// The pod exists.
    Created,
    /// An attach with stdin may have been opened: the process may have read, and with `stdinOnce` nobody can go on.
    SendingStdin,
    /// All of stdin was handed over.
    StdinSent,
    /// The worker is over and all of its output is in `stdout`.
    Ended,
    /// The pod is deleted, or was never made.
    Deleted,
}

/// Kinds of [`End`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EndKind {
    /// The worker's process ended.
    Exited,
    /// The worker never started.
    NotStarted,
    /// The cluster ended the pod.
    Evicted,
    /// The pod's deadline passed.
    Deadline,
    /// Somebody deleted the pod.
    Deleted,
}

/// The contents of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Record {
    /// Always `pod` for now.
    pub(crate) kind: String,
    /// How far the unit came.
    pub(crate) step: Step,
    /// The pod's namespace.
    pub(crate) namespace: String,
    /// The pod's name.
    pub(crate) name: String,
    /// The pod's uid, empty while it is not known to exist.
    pub(crate) uid: String,
    /// The cluster's node that it ran on.
    pub(crate) node: String,
    /// Milliseconds since 1970: when the pod was first asked for.
    pub(crate) asked_at: u64,
    /// Milliseconds that it may take to start; none: for ever.
    pub(crate) pending_timeout: Option<u64>,
    /// Pods asked for.
    pub(crate) attempts: u32,
    /// Bytes of stdin known to have been sent.
    pub(crate) stdin_sent: u64,
    /// The session broke before stdin was handed over.
    pub(crate) stdin_cut: bool,
    /// Another pod is to take the place of this one, which is to go first.
    pub(crate) anew: bool,
    /// Pods that were given up like that (`stdinretry`).
    pub(crate) retries: u32,
    /// The worker runs under the helper of `streammethod: shim`.
    pub(crate) shim: bool,
    /// Output comes by attach (`streammethod: attach`).
    pub(crate) attached: bool,
    /// The streams are a connection that the pod dials (`streammethod: tcp`), which no other daemon can take up.
    pub(crate) tcp: bool,
    /// Sessions with that helper.
    pub(crate) session: u64,
    /// The job's exit code, as the helper said when all of the output was in `stdout`.
    pub(crate) job_code: Option<i32>,
    /// The worker was over before the helper could hand over the output after this byte.
    pub(crate) output_cut: Option<u64>,
    /// The worker was seen running.
    pub(crate) ran: bool,
    /// What kind of end it came to.
    pub(crate) end: Option<EndKind>,
    /// The worker's exit code.
    pub(crate) exit_code: Option<i32>,
    /// The worker's or the pod's reason.
    pub(crate) reason: String,
    /// The worker's termination message, or the words of what ended it.
    pub(crate) message: String,
    /// The pod's deadline, if that ended it.
    pub(crate) deadline_seconds: Option<i64>,
    /// When the worker started, as the API has it.
    pub(crate) started_at: Option<String>,
    /// When it ended.
    pub(crate) finished_at: Option<String>,
    /// Output that rotation took.
    pub(crate) gaps: Vec<Gap>,
}

impl Record {
    /// A unit about to ask for its pod.
    pub(crate) fn new(pending_timeout: Option<Duration>) -> Self {
        let pending_timeout = pending_timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        Self { kind: "pod".to_owned(), pending_timeout, ..Self::default() }
    }

    /// The record of the pod that takes the place of this one, which is gone.
    pub(crate) fn of_next(&self) -> Self {
        let Self { pending_timeout, attempts, retries, .. } = *self;
        Self { pending_timeout, attempts, retries: retries + 1, ..Self::new(None) }
    }

    /// The unit's record, or `None` if it has none or one that cannot be read. Blocks.
    pub(crate) fn load(dir: &UnitDir) -> Option<Self> {
        use io::Read;
        let mut text = Vec::new();
        std::fs::File::open(dir.file(FILE)).ok()?.take(LIMIT).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// `namespace/name`, as the texts have it.
    pub(crate) fn pod(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Writes down how the worker came to its end.
    pub(crate) fn set_end(&mut self, end: &End) {
        self.step = Step::Ended;
        self.end = Some(match end {
            End::Exited(terminated) => {
                self.exit_code = Some(terminated.exit_code);
                self.reason.clone_from(&terminated.reason);
                self.message.clone_from(&terminated.message);
                self.started_at.clone_from(&terminated.started_at);
                self.finished_at.clone_from(&terminated.finished_at);
                EndKind::Exited
            }
            End::NotStarted(problem) => {
                self.message = problem.to_string();
                EndKind::NotStarted
            }
            End::Ended { reason, message, .. } => {
                self.reason.clone_from(reason);
                self.message.clone_from(message);
                EndKind::Evicted
            }
            End::Deadline(seconds) => {
                self.deadline_seconds = Some(*seconds);
                EndKind::Deadline
            }
            End::Deleted => EndKind::Deleted,
        });
    }

    /// How the worker came to its end, if it did.
    pub(crate) fn end(&self) -> Option<End> {
        Some(match self.end? {
            EndKind::Exited => End::Exited(Terminated {
                exit_code: self.exit_code.unwrap_or_default(),
                reason: self.reason.clone(),
                message: self.message.clone(),
                started_at: self.started_at.clone(),
                finished_at: self.finished_at.clone(),
            }),
            EndKind::NotStarted => End::NotStarted(PodProblem::Message(self.message.clone())),
            EndKind::Evicted => {
                End::Ended { reason: self.reason.clone(), message: self.message.clone(), exited: self.ran }
            }
            EndKind::Deadline => End::Deadline(self.deadline_seconds.unwrap_or_default()),
            EndKind::Deleted => End::Deleted,
        })
    }
}

/// The record of a unit, in memory and on disk.
#[derive(Debug)]
pub(crate) struct Journal {
    dir: UnitDir,
    record: Record,
    /// The write under way, if any: also that of a [`Journal::note`] that was dropped.
    pending: Option<tokio::task::JoinHandle<io::Result<()>>>,
}

impl Journal {
    /// Takes a record that is on disk, or about to be.
    pub(crate) fn new(dir: UnitDir, record: Record) -> Self {
        Self { dir, record, pending: None }
    }

    /// What is on disk.
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// Changes the record; it is on disk when this returns.
    pub(crate) async fn note(&mut self, change: impl FnOnce(&mut Record)) -> io::Result<()> {
        self.settle().await?;
        change(&mut self.record);
        let text = serde_json::to_vec(&self.record)?;
        let dir = self.dir.clone();
        self.pending = Some(tokio::task::spawn_blocking(move || dir.replace_file(FILE, &text)));
        self.settle().await
    }

    /// Notes that the pod is gone, and forgets what only it needed.
    pub(crate) async fn note_deleted(&mut self) -> io::Result<()> {
        self.note(|record| record.step = Step::Deleted).await?;
        let secrets = self.dir.file(SECRETS_FILE);
        let removed =
            tokio::task::spawn_blocking(move || std::fs::remove_file(secrets)).await.map_err(io::Error::other)?;
        match removed {
            Err(fault) if fault.kind() != io::ErrorKind::NotFound => Err(fault),
            _ => Ok(()),
        }
    }

    /// Returns when no write is under way.
    pub(crate) async fn settle(&mut self) -> io::Result<()> {
        match self.pending.as_mut() {
            None => Ok(()),
            Some(write) => {
                let written = write.await;
                self.pending = None;
                written.map_err(io::Error::other)?
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_record_is_read_back_and_rubbish_is_none() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = UnitDir::at(temporary.path());
        assert_eq!(Record::load(&dir), None);
        let mut journal = Journal::new(dir.clone(), Record::new(Some(Duration::from_secs(5))));
        journal.note(|record| record.step = Step::SendingStdin).await.unwrap();
        let read = Record::load(&dir).unwrap();
        assert_eq!((read.step, read.pending_timeout), (Step::SendingStdin, Some(5000)));
        assert_eq!(&read, journal.record());
        for end in [
            End::Exited(Terminated { exit_code: 3, reason: "Error".into(), ..Terminated::default() }),
            End::NotStarted(PodProblem::Message("timed out waiting for the condition".into())),
            End::Ended { reason: "Evicted".into(), message: "m".into(), exited: false },
            End::Deadline(4),
            End::Deleted,
        ] {
            let mut record = Record::default();
            record.set_end(&end);
            assert_eq!(record.end(), Some(end));
        }
        std::fs::write(dir.file(FILE), "{").unwrap();
        assert_eq!(Record::load(&dir), None);
    }
}

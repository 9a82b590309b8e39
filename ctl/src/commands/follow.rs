use std::io;
use std::time::{Duration, Instant};

use worknode_protocol::control::SessionError;
use worknode_protocol::control::client::ClientError;
use worknode_protocol::unit::Status;

use super::{Node, pause};
use crate::connect::{Received, Results};
use crate::failure::Failure;

/// Silence after which the unit's status is asked for, at first. A server ends the stream when the unit has ended; only
/// the original never does for one that was cancelled, or released without output (control-protocol 3.10).
const FIRST_PATIENCE: Duration = Duration::from_secs(2);

/// The longest silence without a question: rare enough to be no polling.
const LONGEST_PATIENCE: Duration = Duration::from_secs(30);

/// How long a node may be away while a unit of it is followed: longer than a restart takes.
const LONGEST_OUTAGE: Duration = Duration::from_secs(60);

/// First pause before an ended stream of a unit that goes on is opened again, or a node that is away is tried again.
const FIRST_RETRY: Duration = Duration::from_millis(100);

/// Longest such pause.
const LONGEST_RETRY: Duration = Duration::from_secs(2);

/// The output of a unit from a byte on until the unit has ended, over as many connections as it takes.
pub(super) struct Follow<'n> {
    node: &'n Node,
    unit: &'n str,
    position: u64,
    stream: Option<Results>,
    patience: Duration,
    ask_at: Instant,
    retry: Duration,
    lost_since: Option<Instant>,
}

/// What following came to.
#[derive(Debug)]
pub(super) enum Step {
    /// Bytes at the front of the buffer.
    Bytes(usize),
    /// The unit has ended and all its output has been read.
    Ended(Status),
    /// Nothing yet.
    Waiting,
}

impl<'n> Follow<'n> {
    /// Begins at byte `start`. A node that is away now is an error at once.
    pub(super) fn open(node: &'n Node, unit: &'n str, start: u64) -> Result<Self, Failure> {
        let stream = node.session()?.results(unit, start)?;
        Ok(Self {
            node,
            unit,
            position: start,
            stream: Some(stream),
            patience: FIRST_PATIENCE,
            ask_at: Instant::now() + FIRST_PATIENCE,
            retry: FIRST_RETRY,
            lost_since: None,
        })
    }

    pub(super) fn unit(&self) -> &'n str {
        self.unit
    }

    /// Bytes known so far, counted from the first of the unit.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The connection to wait on, while there is one.
    pub(super) fn stream(&self) -> Option<&Results> {
        self.stream.as_ref()
    }

    /// When [`step`](Self::step) is to be called though nothing arrives.
    pub(super) fn wake_at(&self) -> Instant {
        self.ask_at
    }

    /// The next bytes, or the end; waits for it until `deadline` at the latest, and answers `Waiting` then.
    pub(super) fn next(&mut self, buffer: &mut [u8], deadline: Option<Instant>) -> Result<Step, Failure> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match self.step(buffer, left)? {
                Step::Waiting if left.is_some_and(|left| left.is_zero()) => return Ok(Step::Waiting),
                Step::Waiting => {}
                step => return Ok(step),
            }
        }
    }

    /// Waits once, at most for `limit`, and looks after the stream: asks for the status after a long silence, and
    /// opens it again where it was cut.
    pub(super) fn step(&mut self, buffer: &mut [u8], limit: Option<Duration>) -> Result<Step, Failure> {
        let until_asking = self.ask_at.saturating_duration_since(Instant::now());
        let patience = limit.map_or(until_asking, |limit| limit.min(until_asking));
        let Some(stream) = &mut self.stream else {
            pause(patience);
            return if patience == until_asking { self.resume() } else { Ok(Step::Waiting) };
        };
        match stream.receive(buffer, Some(patience)) {
            Ok(Received::Bytes(length)) => {
                self.position += u64::try_from(length).unwrap_or(0);
                self.patience = FIRST_PATIENCE;
                self.ask_at = Instant::now() + self.patience;
                self.retry = FIRST_RETRY;
                Ok(Step::Bytes(length))
            }
            Ok(Received::Silence) if Instant::now() >= self.ask_at => self.after_silence(),
            Ok(Received::Silence) => Ok(Step::Waiting),
            Ok(Received::End) | Err(Failure::Connection(_)) => {
                self.stream = None;
                self.after_end()
            }
            Err(failure) => Err(failure),
        }
    }

    fn after_silence(&mut self) -> Result<Step, Failure> {
        let status = self.node.unit_status(self.unit)?;
        if status.state.is_final() && self.position >= status.stdout_size {
            return Ok(Step::Ended(status));
        }
        self.patience = (self.patience * 2).min(LONGEST_PATIENCE);
        self.ask_at = Instant::now() + self.patience;
        Ok(Step::Waiting)
    }

    /// The server ended the stream, or it was cut: either the unit has ended, or the node is going down.
    fn after_end(&mut self) -> Result<Step, Failure> {
        match self.node.unit_status(self.unit) {
            Ok(status) if status.state.is_final() => return Ok(Step::Ended(status)),
            Ok(_) => self.lost_since = None,
            Err(failure) => self.bear(failure)?,
        }
        self.retry_later();
        Ok(Step::Waiting)
    }

    fn resume(&mut self) -> Result<Step, Failure> {
        match self.node.session().and_then(|session| session.results(self.unit, self.position)) {
            Ok(stream) => {
                self.stream = Some(stream);
                self.lost_since = None;
                self.ask_at = Instant::now() + self.patience;
            }
            Err(failure) => {
                self.bear(failure)?;
                self.retry_later();
            }
        }
        Ok(Step::Waiting)
    }

    fn retry_later(&mut self) {
        self.ask_at = Instant::now() + self.retry;
        self.retry = (self.retry * 2).min(LONGEST_RETRY);
    }

    /// Puts up with a node that is away, for a while.
    fn bear(&mut self, failure: Failure) -> Result<(), Failure> {
        let since = *self.lost_since.get_or_insert_with(Instant::now);
        if is_outage(&failure) && since.elapsed() < LONGEST_OUTAGE { Ok(()) } else { Err(failure) }
    }
}

/// Whether a failure is what a node in the middle of a restart looks like.
fn is_outage(failure: &Failure) -> bool {
    match failure {
        Failure::NoSuchSocket(_) | Failure::Host { .. } | Failure::Connection(_) => true,
        Failure::Socket { error, .. } => error.kind() != io::ErrorKind::PermissionDenied,
        Failure::Dialogue(error) => matches!(error, ClientError::Closed | ClientError::NoBanner),
        Failure::Refused(refused) => refused.text() == SessionError::ShuttingDown.to_string(),
        _ => false,
    }
}

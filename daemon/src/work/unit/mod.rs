//! The task that owns one unit, and the handle that everybody else has of it.
//!
//! Orders come in (start, cancel, release), news of the runner come in, a [`Progress`] goes out. Every change is on disk
//! before it is told. Two empty marker files make a client's order survive the daemon: `cancel` (the job is to be ended,
//! or was ended and may have left something behind) and `release` (all of it is to go).

mod task;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use worknode_protocol::{
    control::RemoteError,
    id::UnitId,
    unit::{Detail, Status},
};

pub(super) use self::task::{Entry, UnitTask};
use super::store::UnitDir;
use crate::runner::{CancelOutcome, Payload, StartError, Started, Upload, WorkKind};

/// Orders waiting for one unit. A client whose order finds no place waits.
const ORDERS: usize = 16;

/// What everybody may know of a unit at any time.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The status as it is on disk. `stdout_size` is exact only once the unit has ended; see [`UnitHandle::status`].
    pub status: Arc<Status>,
    /// The unit is gone.
    pub released: bool,
}

impl Progress {
    /// Nothing will be written to `stdout` any more.
    pub fn is_over(&self) -> bool {
        self.released || self.status.state.is_final()
    }
}

/// An order to the unit task. Small: an empty channel has room for 32 of them, and each unit has one.
enum Order {
    /// The payload is complete: begin.
    Start(StartAnswer),
    /// Begin while the payload is coming.
    Begin(Box<(Payload, StartAnswer)>),
    /// The payload of a unit that has begun is complete.
    Seal(oneshot::Sender<Result<(), StartRefused>>),
    /// The payload did not arrive whole: the unit fails with this detail.
    Fail(Box<Detail>, oneshot::Sender<()>),
    Cancel(oneshot::Sender<CancelOutcome>),
    Release {
        force: bool,
        answer: oneshot::Sender<Result<Released, ReleaseError>>,
    },
}

/// Where it is answered how a job began.
type StartAnswer = oneshot::Sender<Result<Started, StartRefused>>;

/// A unit that has begun before its payload is complete.
pub struct Early {
    /// To tell of bytes that are in the file.
    pub upload: watch::Sender<Upload>,
    started: oneshot::Receiver<Result<Started, StartRefused>>,
}

/// What became of the order to release a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// It is gone.
    Gone,
    /// The node that runs it cannot be reached now; it is tried again, and the unit goes then.
    Pending,
}

/// Why a job was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartRefused {
    /// The runner could not begin; the unit has failed.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The unit was cancelled while its payload was still coming.
    #[error("work unit was canceled before its input was complete")]
    Canceled,
    /// The unit was released meanwhile.
    #[error("unknown work unit {0}")]
    Gone(UnitId),
}

/// Why a unit could not be released.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// Its directory could not be deleted.
    #[error("error deleting unit directory: {0}")]
    Delete(#[from] std::io::Error),
    /// The node that runs it refuses.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

/// Access to one unit.
#[derive(Clone)]
pub struct UnitHandle {
    id: UnitId,
    dir: UnitDir,
    kind: Option<Arc<dyn WorkKind>>,
    orders: mpsc::Sender<Order>,
    progress: watch::Receiver<Progress>,
}

impl UnitHandle {
    /// Its id.
    pub fn id(&self) -> &UnitId {
        &self.id
    }

    /// Its directory.
    pub fn dir(&self) -> &UnitDir {
        &self.dir
    }

    /// Its work type, where that is configured.
    pub fn kind(&self) -> Option<&Arc<dyn WorkKind>> {
        self.kind.as_ref()
    }

    /// Its progress, to wait on.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Its status now, with the present size of `stdout`.
    pub fn status(&self) -> Status {
        let mut status = Status::clone(&self.progress.borrow().status);
        if !status.state.is_final() {
            status.stdout_size = self.dir.stdout_bytes();
        }
        status
    }

    /// Starts the job: the payload is complete on disk.
    ///
    /// # Errors
    /// The unit ended before, or its runner cannot begin.
    pub async fn start(&self) -> Result<Started, StartRefused> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order::Start(answer)).await.map_err(|_| self.gone())?;
        answered.await.map_err(|_| self.gone())?
    }

    /// Starts the job of a unit whose type begins early: its payload is still to come. None for every other type.
    pub async fn begin_early(&self) -> Option<Early> {
        if !self.kind.as_ref().is_some_and(|kind| kind.begins_early()) {
            return None;
        }
        let (answer, started) = oneshot::channel();
        let (upload, payload) = Payload::coming();
        // Fails for a unit that is gone: that is told when its payload is complete.
        let _ = self.orders.send(Order::Begin(Box::new((payload, answer)))).await;
        Some(Early { upload, started })
    }

    /// Tells a unit that has begun that its payload is complete on disk, and waits for its job to start.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn seal(&self, early: Early) -> Result<Started, StartRefused> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order::Seal(answer)).await.map_err(|_| self.gone())?;
        answered.await.map_err(|_| self.gone())??;
        early.upload.send_modify(|upload| upload.whole = true);
        early.started.await.map_err(|_| self.gone())?
    }

    fn gone(&self) -> StartRefused {
        StartRefused::Gone(self.id.clone())
    }

    /// Fails a unit whose payload did not arrive whole.
    pub async fn fail(&self, detail: Detail) {
        let (answer, answered) = oneshot::channel();
        if self.orders.send(Order::Fail(Box::new(detail), answer)).await.is_ok() {
            let _ = answered.await;
        }
    }

    /// Ends the job; returns once it is gone, or the node that runs it has answered. A unit that has ended stays as it is.
    pub async fn cancel(&self) -> CancelOutcome {
        let (answer, answered) = oneshot::channel();
        if self.orders.send(Order::Cancel(answer)).await.is_err() {
            return CancelOutcome::Cancelled;
        }
        answered.await.unwrap_or(CancelOutcome::Cancelled)
    }

    /// Ends the job, removes what it left and forgets the unit. With `force` a directory that cannot be deleted is no error.
    ///
    /// # Errors
    /// The directory could not be deleted, or the node that runs the unit refused; the unit stays.
    pub async fn release(&self, force: bool) -> Result<Released, ReleaseError> {
        let (answer, answered) = oneshot::channel();
        if self.orders.send(Order::Release { force, answer }).await.is_ok() {
            answered.await.unwrap_or(Ok(Released::Gone))
        } else {
            Ok(Released::Gone)
        }
    }
}

//! The task that owns one unit, and the handle that everybody else has of it.
//!
//! Orders come in (start, cancel, release), news of the runner come in, a [`Progress`] goes out. Every change is on disk
//! before it is told. Two empty marker files make a client's order survive the daemon: `cancel` (the job is to be ended,
//! or was ended and may have left something behind) and `release` (all of it is to go).

mod task;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use worknode_protocol::{
    id::UnitId,
    unit::{Detail, Status},
};

pub(super) use self::task::{Entry, UnitTask};
use super::store::UnitDir;
use crate::runner::{StartError, WorkKind};

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
    Start(oneshot::Sender<Result<(), StartRefused>>),
    /// The payload did not arrive whole: the unit fails with this detail.
    Fail(Box<Detail>, oneshot::Sender<()>),
    Cancel(oneshot::Sender<()>),
    Release {
        force: bool,
        answer: oneshot::Sender<Result<(), ReleaseError>>,
    },
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
    pub async fn start(&self) -> Result<(), StartRefused> {
        let (answer, answered) = oneshot::channel();
        let gone = || StartRefused::Gone(self.id.clone());
        self.orders.send(Order::Start(answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Fails a unit whose payload did not arrive whole.
    pub async fn fail(&self, detail: Detail) {
        let (answer, answered) = oneshot::channel();
        if self.orders.send(Order::Fail(Box::new(detail), answer)).await.is_ok() {
            let _ = answered.await;
        }
    }

    /// Ends the job; returns once it is gone. A unit that has ended stays as it is.
    pub async fn cancel(&self) {
        let (answer, answered) = oneshot::channel();
        if self.orders.send(Order::Cancel(answer)).await.is_ok() {
            let _ = answered.await;
        }
    }

    /// Ends the job, removes what it left and forgets the unit. With `force` a directory that cannot be deleted is no error.
    ///
    /// # Errors
    /// The directory could not be deleted; the unit stays.
    pub async fn release(&self, force: bool) -> Result<(), ReleaseError> {
        let (answer, answered) = oneshot::channel();
        if self.orders.send(Order::Release { force, answer }).await.is_ok() {
            answered.await.unwrap_or(Ok(()))
        } else {
            Ok(())
        }
    }
}

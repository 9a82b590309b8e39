//! The task that owns one unit: its orders, its job and its end.

mod begin;
mod commit;
mod elsewhere;

use std::sync::{Arc, Weak};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use worknode_protocol::{
    id::UnitId,
    unit::{Detail, State, Status},
};

use super::{ORDERS, Order, Progress, ReleaseError, Released, StartAnswer, StartRefused, UnitHandle};
use crate::{
    runner::{CancelOutcome, Ending, Found, Payload, Runner, StartError, Told, WorkKind},
    work::{leftovers::Leftovers, store::UnitDir, units::Units},
};

/// What the job's own task came back with.
enum JobEnd {
    NotStarted(StartError, StartAnswer),
    Ran(Ending),
}

/// A job under way.
struct Job {
    task: JoinHandle<JobEnd>,
    news: mpsc::Receiver<Told>,
    cancel: CancellationToken,
    detach: CancellationToken,
    /// All of the payload is on disk.
    sealed: bool,
    /// What the unit fails with if the payload does not come whole.
    broken: Option<Box<Detail>>,
    /// Who waits for the job to be gone.
    cancelled: Vec<oneshot::Sender<CancelOutcome>>,
    /// What the runner told last of the order to cancel.
    cancel_outcome: Option<CancelOutcome>,
}

enum Phase {
    /// The payload is still coming.
    Waiting(Box<dyn Runner>),
    Running(Job),
    /// Final, or an unfinished unit of a type that is not configured.
    Idle,
    /// Released here; the node that runs it does not know yet.
    Releasing,
}

/// How a unit comes into its task.
pub(in crate::work) enum Entry {
    /// Just made: its payload is awaited.
    Fresh(Box<dyn Runner>),
    /// Its job lives; with `cancel`, a cancel was ordered before the daemon went.
    Resumed { runner: Box<dyn Runner>, cancel: bool },
    /// Nothing runs; with `leftover`, a cancelled job may have left something.
    Ended { leftover: bool },
    /// A release was ordered before the daemon went, and another node has to carry it out.
    Releasing,
}

/// The task of one unit.
pub(in crate::work) struct UnitTask {
    id: UnitId,
    dir: UnitDir,
    kind: Option<Arc<dyn WorkKind>>,
    status: Status,
    phase: Phase,
    progress: watch::Sender<Progress>,
    orders: mpsc::Receiver<Order>,
    leftovers: Leftovers,
    detach: CancellationToken,
    units: Weak<Units>,
}

impl UnitTask {
    /// Makes the task and its handle.
    pub(in crate::work) fn new(
        found: Found,
        kind: Option<Arc<dyn WorkKind>>,
        entry: Entry,
        detach: CancellationToken,
        units: Weak<Units>,
    ) -> (Self, UnitHandle) {
        let Found { id, dir, status } = found;
        let (orders, inbox) = mpsc::channel(ORDERS);
        let (progress, watched) = watch::channel(Progress { status: Arc::new(status.clone()), released: false });
        let handle = UnitHandle { id: id.clone(), dir: dir.clone(), kind: kind.clone(), orders, progress: watched };
        let mut task = Self {
            id,
            dir,
            kind,
            status,
            phase: Phase::Idle,
            progress,
            orders: inbox,
            leftovers: Leftovers::none(),
            detach,
            units,
        };
        match entry {
            Entry::Fresh(runner) => task.phase = Phase::Waiting(runner),
            Entry::Resumed { runner, cancel } => {
                let job = task.begin(runner, Payload::whole(), None);
                if cancel {
                    job.cancel.cancel();
                }
                task.phase = Phase::Running(job);
            }
            Entry::Ended { leftover } => {
                if leftover {
                    task.clear_leftovers();
                }
            }
            Entry::Releasing => {
                task.phase = Phase::Releasing;
                task.clear_leftovers();
            }
        }
        (task, handle)
    }

    /// Serves the unit until it is released or the daemon leaves. What is rare is boxed: a unit that waits for nothing but
    /// orders, as most do, is to take little memory.
    pub(in crate::work) async fn run(mut self) {
        enum Next {
            Order(Option<Order>),
            News(Told),
            End(Result<JobEnd, tokio::task::JoinError>),
            Clean,
            Leave,
        }
        loop {
            let next = match &mut self.phase {
                Phase::Running(job) => tokio::select! {
                    biased;
                    Some(news) = job.news.recv() => Next::News(news),
                    end = &mut job.task => Next::End(end),
                    order = self.orders.recv() => Next::Order(order),
                },
                Phase::Waiting(_) | Phase::Idle | Phase::Releasing => tokio::select! {
                    biased;
                    () = self.detach.cancelled() => Next::Leave,
                    () = self.leftovers.cleared() => Next::Clean,
                    order = self.orders.recv() => Next::Order(order),
                },
            };
            match next {
                Next::News(news) => {
                    let (report, done) = *news;
                    Box::pin(self.record(report)).await;
                    let _ = done.send(());
                }
                Next::End(end) => {
                    if Box::pin(self.ended(end)).await {
                        break;
                    }
                }
                Next::Clean if matches!(self.phase, Phase::Releasing) => {
                    if Box::pin(self.delete(true)).await.is_ok() {
                        self.forget();
                        break;
                    }
                }
                Next::Clean => self.unmark("cancel"),
                Next::Order(Some(order)) => {
                    if Box::pin(self.obey(order)).await {
                        break;
                    }
                }
                Next::Order(None) | Next::Leave => break,
            }
        }
        self.leftovers.stop().await;
    }

    /// Carries out one order. True if the unit is gone.
    async fn obey(&mut self, order: Order) -> bool {
        match order {
            Order::Start(answer) => self.start(answer).await,
            Order::Begin(early) => {
                let (payload, answer) = *early;
                self.begin_early(payload, answer);
            }
            Order::Seal(answer) => self.seal(answer).await,
            Order::Fail(detail, answer) => {
                self.fail(detail).await;
                let _ = answer.send(());
            }
            Order::Cancel(answer) => self.cancel(answer).await,
            Order::Release { force, answer } => {
                let released = self.release(force).await;
                let gone = matches!(released, Ok(Released::Gone));
                if gone {
                    self.forget();
                }
                let _ = answer.send(released);
                return gone;
            }
        }
        false
    }

    async fn cancel(&mut self, answer: oneshot::Sender<CancelOutcome>) {
        match &mut self.phase {
            Phase::Waiting(_) => {
                self.phase = Phase::Idle;
                self.finish(State::Canceled, Detail::Canceled).await;
                let _ = answer.send(CancelOutcome::Cancelled);
            }
            Phase::Running(_) => {
                self.mark("cancel");
                if let Phase::Running(job) = &mut self.phase {
                    job.cancel.cancel();
                    match job.cancel_outcome.clone() {
                        Some(known) => drop(answer.send(known)),
                        None => job.cancelled.push(answer),
                    }
                }
            }
            Phase::Idle | Phase::Releasing => drop(answer.send(CancelOutcome::Cancelled)),
        }
    }

    /// The runner tells what became of the order to cancel.
    fn cancel_answered(&mut self, outcome: &CancelOutcome) {
        if let Phase::Running(job) = &mut self.phase {
            job.cancel_outcome = Some(outcome.clone());
            for waiting in job.cancelled.drain(..) {
                let _ = waiting.send(outcome.clone());
            }
        }
    }

    /// The job's task is over. True if the daemon leaves.
    async fn ended(&mut self, end: Result<JobEnd, tokio::task::JoinError>) -> bool {
        let Phase::Running(mut job) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return false;
        };
        // What was reported before the end came is written first.
        while let Ok(news) = job.news.try_recv() {
            let (report, done) = *news;
            self.record(report).await;
            let _ = done.send(());
        }
        let broken = job.broken.take().map(|detail| (State::Failed, *detail));
        match end {
            Ok(JobEnd::Ran(Ending::Detached)) => return true,
            Ok(JobEnd::Ran(Ending::Done(state, detail))) => {
                let (state, detail) = broken.unwrap_or((state, detail));
                self.finish(state, detail).await;
            }
            Ok(JobEnd::Ran(Ending::Cancelled { leftover })) => {
                let (state, detail) = broken.unwrap_or((State::Canceled, Detail::Canceled));
                self.finish(state, detail).await;
                if leftover {
                    self.clear_leftovers();
                }
            }
            Ok(JobEnd::NotStarted(fault, answer)) => {
                self.finish(State::Failed, Detail::ErrorStartingWorker(fault.to_string())).await;
                let _ = answer.send(Err(fault.into()));
            }
            Err(panic) => {
                error!("unit {}: its runner failed: {panic}", self.id);
                self.finish(State::Failed, Detail::Internal("its runner failed, see the log".to_owned())).await;
            }
        }
        if job.cancel.is_cancelled() && !self.leftovers.pending() {
            self.unmark("cancel");
        }
        for waiting in job.cancelled {
            let _ = waiting.send(CancelOutcome::Cancelled);
        }
        false
    }

    fn found(&self) -> Found {
        Found { id: self.id.clone(), dir: self.dir.clone(), status: self.status.clone() }
    }

    fn clear_leftovers(&mut self) {
        if let Some(kind) = &self.kind {
            self.leftovers.clear(kind.clone(), self.found());
        }
    }

    /// Cancel, discard, delete. The order itself is on disk first: a later daemon goes on with it.
    async fn release(&mut self, force: bool) -> Result<Released, ReleaseError> {
        self.mark("release");
        let kind = self.kind.clone();
        if let Some(kind) = kind.filter(|kind| kind.release_there(&self.found()).is_some()) {
            return self.release_there(kind, force).await;
        }
        if matches!(self.phase, Phase::Running(_)) {
            self.end_job().await;
        }
        self.phase = Phase::Idle;
        self.leftovers.stop().await;
        if let Some(kind) = self.kind.clone() {
            self.leftovers.clear(kind, self.found());
            if !self.leftovers.cleared_soon().await {
                // The unit is forgotten now; the units' own task goes on until nothing is left, then deletes the files.
                if let Some(units) = self.units.upgrade() {
                    units.adopt(self.found(), std::mem::replace(&mut self.leftovers, Leftovers::none()));
                    return Ok(Released::Gone);
                }
            }
        }
        self.delete(force).await
    }

    async fn delete(&mut self, force: bool) -> Result<Released, ReleaseError> {
        let dir = self.dir.clone();
        match tokio::task::spawn_blocking(move || dir.remove()).await {
            Ok(Err(fault)) if force => warn!("unit {}: directory not deleted: {fault}", self.id),
            Ok(Err(fault)) => {
                self.unmark("release");
                return Err(fault.into());
            }
            Ok(Ok(())) | Err(_) => {}
        }
        Ok(Released::Gone)
    }

    /// Ends the running job and waits until it is gone.
    async fn end_job(&mut self) {
        if let Phase::Running(job) = &mut self.phase {
            job.cancel.cancel();
            self.await_job().await;
        }
    }

    /// Waits until the job's task is over.
    async fn await_job(&mut self) {
        let end = loop {
            let Phase::Running(job) = &mut self.phase else {
                return;
            };
            tokio::select! {
                biased;
                Some(news) = job.news.recv() => {
                    let (report, done) = *news;
                    self.record(report).await;
                    let _ = done.send(());
                }
                end = &mut job.task => break end,
            }
        };
        self.ended(end).await;
    }

    fn forget(&self) {
        if let Some(units) = self.units.upgrade() {
            units.forget(&self.id);
        }
        self.progress.send_replace(Progress { status: Arc::new(self.status.clone()), released: true });
    }

    fn mark(&self, name: &str) {
        if let Err(fault) = self.dir.mark(name) {
            warn!("unit {}: marker {name} not written: {fault}", self.id);
        }
    }

    fn unmark(&self, name: &str) {
        if let Err(fault) = self.dir.unmark(name) {
            warn!("unit {}: marker {name} not removed: {fault}", self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<F>(_: fn(UnitTask) -> F) -> usize {
        size_of::<F>()
    }

    /// A node may hold hundreds of thousands of units that have ended: each has a task and an empty channel of orders.
    #[test]
    fn a_unit_that_has_ended_takes_little_memory() {
        assert!(size_of_future(UnitTask::run) <= 1024, "{} bytes", size_of_future(UnitTask::run));
        assert!(size_of::<Order>() <= 24, "{} bytes", size_of::<Order>());
    }
}

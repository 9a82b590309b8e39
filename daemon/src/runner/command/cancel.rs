//! Ending a job by order, in whatever state it is.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tokio::{sync::mpsc, time::timeout_at};
use worknode_protocol::unit::{Detail, State};

use super::{
    handle::Handle,
    job::{CommandRunner, blocking, ending, read_record, receive},
    keepers::News,
    launch::{Event, Outcome},
    record,
};
use crate::runner::{Ending, UnitContext};

/// Time beyond its own figure that a keeper has to end its job before the daemon takes over.
const MERCY: Duration = Duration::from_millis(200);

impl CommandRunner {
    /// Ends a unit that has no keeper, so that it never gets one. False: it has one.
    pub(super) async fn forestall(&self, unit: &UnitContext, state: State, detail: Detail) -> bool {
        let dir = unit.dir.clone();
        let done = blocking(move || {
            let files = dir.clone();
            dir.update_status(|status| {
                let free = status.state == State::Pending && !files.file(record::FILE).exists();
                free.then(|| {
                    status.state = state;
                    status.detail = detail.to_string();
                    status.extra_data = Value::Null;
                })
            })
        });
        matches!(done.await, Some(Ok(Some(()))))
    }

    /// Ends the job, in whatever state it is.
    pub(super) async fn cancel(&mut self, unit: &UnitContext, news: Option<mpsc::Receiver<News>>) -> Ending {
        let asked = Instant::now();
        if self.forestall(unit, State::Canceled, Detail::Canceled).await {
            return Ending::Cancelled { leftover: false };
        }
        let record = read_record(&unit.dir).await;
        if let Some((record, keeper)) = record.as_ref().and_then(|record| Some((record, self.host.keeper(record)?))) {
            let deadline = asked + record.stop.kill_after() + MERCY;
            let ended = timeout_at(deadline.into(), tell_to_stop(unit, keeper, news));
            if let Ok(Some(outcome)) = ended.await {
                return ending(&outcome);
            }
        }
        self.report_over(unit).await;
        match record.as_ref().and_then(|record| record.outcome.as_ref()) {
            Some(outcome) => ending(outcome),
            // There is no keeper, or it does not do its work: everything goes, the keeper too.
            None => Ending::Cancelled { leftover: !self.host.kill_strays(&unit.dir, record).await },
        }
    }
}

/// Has a keeper stop its job, and waits for the outcome. `None`: the keeper has ended without one.
async fn tell_to_stop(unit: &UnitContext, keeper: Handle, mut news: Option<mpsc::Receiver<News>>) -> Option<Outcome> {
    keeper.signal(Signal::TERM);
    // A keeper that somebody has stopped would not hear of it.
    keeper.signal(Signal::CONT);
    loop {
        tokio::select! {
            biased;
            next = receive(&mut news) => match next {
                Some(News::Event(Event::Ended(outcome))) => return Some(outcome),
                Some(_) => {}
                None => news = None,
            },
            () = keeper.ended() => return read_record(&unit.dir).await.and_then(|record| record.outcome),
        }
    }
}

//! The life of one unit that another node runs.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};
use tokio::time::sleep;
use tracing::debug;
use worknode_protocol::unit::{Detail, RemoteExtra, State};

use super::{
    Patience, expires,
    far::{Far, Fault},
    submit::NotStarted,
};
use crate::runner::{BoxFuture, CancelOutcome, Ending, Params, Report, Runner, StartError, Started, UnitContext};

/// Pauses between attempts: each half as long again as the one before.
pub(super) struct Pace {
    next: Duration,
    longest: Duration,
}

impl Pace {
    pub(super) fn new(patience: &Patience) -> Self {
        Self { next: patience.first_pause, longest: patience.longest_pause }
    }

    /// Waits for the next attempt: a time, or until there is a way to the node where there was none.
    pub(super) async fn pause(&mut self, far: &Far) {
        // Between a half and the whole: many units may wait for the same node.
        let pause = self.next.mul_f64(rand::random_range(0.5..=1.0));
        self.next = self.next.mul_f64(1.5).min(self.longest);
        tokio::select! { () = sleep(pause) => {}, () = far.way_appears() => {} }
    }
}

/// What drives one unit.
pub(super) struct RemoteRunner {
    pub(super) far: Far,
    pub(super) extra: RemoteExtra,
    /// All parameters, the secret ones among them.
    pub(super) params: Params,
    /// The end of the payload may have reached the unit `remote_unit_id` there.
    pub(super) may_have_started: bool,
    pace: Pace,
    /// The first attempt is over.
    tried: bool,
    /// What makes further attempts pointless.
    hopeless: Option<Detail>,
}

impl RemoteRunner {
    pub(super) fn new(far: Far, extra: RemoteExtra, params: Params) -> Self {
        let pace = Pace::new(far.patience());
        Self { far, extra, params, may_have_started: false, pace, tried: false, hopeless: None }
    }

    /// One that an earlier daemon began. How far it came is not known, but the other unit's name is on disk before the first
    /// byte of the payload is on its way: without a name nothing has started.
    pub(super) fn resumed(self) -> Self {
        Self { may_have_started: !self.extra.remote_unit_id.is_empty(), ..self }
    }

    /// Has the present `ExtraData` written down.
    pub(super) async fn tell_extra(&self, unit: &UnitContext) {
        let extra_data = Some(self.extra.clone().into());
        unit.reporter.report(Report { extra_data, ..Report::default() }).await;
    }

    /// An attempt; every one but the first after a pause, which ends early when the payload is whole: its sender waits.
    async fn try_again(&mut self, unit: &UnitContext) -> Result<(), NotStarted> {
        let mut payload = unit.payload.clone();
        let coming = !payload.is_whole();
        if self.tried {
            tokio::select! { () = self.pace.pause(&self.far) => {}, () = payload.sealed(), if coming => {} }
        }
        self.tried = true;
        let tried = self.attempt(unit).await;
        match &tried {
            Err(NotStarted::Fault(Fault::Tls(words))) => self.hopeless = Some(Detail::RemoteTlsError(words.clone())),
            Err(NotStarted::Fault(Fault::Sign(fault))) => {
                self.hopeless = Some(Detail::ErrorStartingWorker(fault.to_string()));
            }
            Err(NotStarted::Gone) => self.hopeless = Some(Detail::RemoteUnitGone),
            Err(fault) => debug!("unit {}: not started on {} yet: {fault:?}", unit.id, self.far.node()),
            Ok(()) => {}
        }
        tried
    }

    /// In the foreground of the submission: until the unit has started, or its payload is whole and an attempt has failed.
    async fn begin(&mut self, unit: &UnitContext) -> Result<Started, StartError> {
        let mut payload = unit.payload.clone();
        loop {
            let (end, certain) = (expires(&self.extra), !self.may_have_started);
            let tried = tokio::select! {
                biased;
                () = unit.detach.cancelled() => return Ok(Started::Later),
                () = unit.cancel.cancelled() => return Ok(Started::Later),
                () = expiry(end), if certain => return Ok(Started::Later),
                tried = self.try_again(unit) => tried,
            };
            let refused = match tried {
                Ok(()) => return Ok(Started::Now),
                Err(NotStarted::Refused(words)) => words.to_string(),
                Err(NotStarted::Fault(Fault::Sign(fault))) => fault.to_string(),
                Err(_) if self.hopeless.is_some() || payload.is_whole() => return Ok(Started::Later),
                Err(_) => continue,
            };
            // The client may still be sending: it is answered when it has done.
            tokio::select! {
                biased;
                () = payload.sealed() => return Err(StartError(refused)),
                () = unit.detach.cancelled() => return Ok(Started::Later),
                () = unit.cancel.cancelled() => return Ok(Started::Later),
            }
        }
    }

    /// In the background: until the unit has started, or will not any more.
    async fn get_started(&mut self, unit: &UnitContext) -> Option<Ending> {
        let mut cancelling = false;
        while !self.extra.remote_started {
            if let Some(detail) = self.hopeless.take() {
                return Some(Ending::Done(State::Failed, detail));
            }
            let (end, certain) = (expires(&self.extra), !self.may_have_started);
            let tried = tokio::select! {
                biased;
                () = unit.cancel.cancelled(), if !cancelling => {
                    if !self.may_have_started {
                        return Some(self.given_up());
                    }
                    cancelling = true;
                    self.extra.local_cancelled = true;
                    self.tell_extra(unit).await;
                    unit.reporter.report(Report { cancel: Some(CancelOutcome::Pending), ..Report::default() }).await;
                    continue;
                }
                () = expiry(end), if certain => {
                    // The attempt that was given up just now may have got through.
                    if self.may_have_started {
                        continue;
                    }
                    return Some(Ending::Done(State::Failed, expired(&self.extra)));
                }
                tried = self.try_again(unit) => tried,
            };
            if let Err(NotStarted::Refused(words)) = tried {
                return Some(Ending::Done(State::Failed, Detail::ErrorStartingWorker(words.to_string())));
            }
        }
        None
    }

    /// Cancelled before anything can have started. What was made there is released.
    fn given_up(&self) -> Ending {
        if self.extra.remote_unit_id.is_empty() {
            Ending::Done(State::Failed, Detail::LocallyCancelled)
        } else {
            Ending::Cancelled { leftover: true }
        }
    }

    async fn live(mut self, unit: &UnitContext) -> Ending {
        if let Some(ending) = self.get_started(unit).await {
            return ending;
        }
        tokio::select! {
            ending = self.watch_to_end(unit) => ending,
            never = self.carry_out_cancel(unit) => match never {},
        }
    }
}

impl Runner for RemoteRunner {
    fn start<'a>(&'a mut self, unit: &'a UnitContext) -> BoxFuture<'a, Result<Started, StartError>> {
        Box::pin(self.begin(unit))
    }

    fn run(self: Box<Self>, unit: UnitContext) -> BoxFuture<'static, Ending> {
        Box::pin(async move {
            tokio::select! {
                biased;
                () = unit.detach.cancelled() => Ending::Detached,
                ending = self.live(&unit) => ending,
            }
        })
    }
}

/// Returns when the unit expires; never for one that does not. By the clock on the wall, as it was promised: a clock that is
/// set is noticed within a minute.
async fn expiry(end: Option<Timestamp>) {
    let Some(end) = end else { return std::future::pending().await };
    loop {
        let left = end.duration_since(Timestamp::now());
        let Ok(left) = Duration::try_from(left) else { return };
        if left.is_zero() {
            return;
        }
        sleep(left.min(Duration::from_secs(60))).await;
    }
}

fn expired(extra: &RemoteExtra) -> Detail {
    let end = expires(extra).unwrap_or_default().to_zoned(TimeZone::system());
    Detail::Expired(end.strftime("%a %b %-d %H:%M:%S").to_string())
}

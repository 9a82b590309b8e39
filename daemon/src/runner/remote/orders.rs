//! Cancel and release of a unit on another node (control-protocol 3.9, 4.6).

use std::convert::Infallible;

use tracing::debug;
use worknode_protocol::{
    control::{RemoteError, UnitCommand, WorkRequest, client::Event},
    unit::RemoteExtra,
};

use super::{
    far::{Far, Fault, tail},
    life::{Pace, RemoteRunner},
};
use crate::runner::{CancelOutcome, ReleaseThereError, Report, UnitContext};

impl Far {
    /// Asks the node to release a unit. One that it does not know is released.
    pub(super) async fn release(&self, unit: &str) -> Result<(), ReleaseThereError> {
        match self.order(unit, WorkRequest::Release).await {
            Ok(CancelOutcome::Refused(words)) => Err(words.into()),
            Ok(_) => Ok(()),
            Err(fault) => Err(ReleaseThereError::Unreachable(fault.to_string())),
        }
    }

    async fn order(&self, unit: &str, order: fn(UnitCommand) -> WorkRequest) -> Result<CancelOutcome, Fault> {
        let order = order(UnitCommand { unit: unit.to_owned(), signature: None });
        match self.ask_once(&self.signed(order, None).await?).await? {
            Event::Answered(answer) => match answer.outcome() {
                Ok((outcome, _)) if outcome.ends_with(" pending") => Ok(CancelOutcome::Pending),
                Ok(_) => Ok(CancelOutcome::Cancelled),
                Err(fault) => Err(Fault::nonsense(fault)),
            },
            Event::Refused(words) if words.is_unknown_unit() => Ok(CancelOutcome::Cancelled),
            Event::Refused(words) => Ok(CancelOutcome::Refused(RemoteError::Cancel(tail(&words)))),
            other => Err(Fault::nonsense(format!("an answer to an order: {other:?}"))),
        }
    }
}

impl RemoteRunner {
    /// Waits for the order to cancel a unit that has started, and carries it out: until the other node has taken it. How the
    /// unit ends is seen where it is watched.
    pub(super) async fn carry_out_cancel(&self, unit: &UnitContext) -> Infallible {
        // An earlier daemon, perhaps of receptor, may have been ordered to and not have reached the other node.
        if !self.extra.local_cancelled {
            unit.cancel.cancelled().await;
        }
        let noted = RemoteExtra { local_cancelled: true, ..self.extra.clone() };
        unit.reporter.report(Report { extra_data: Some(noted.into()), ..Report::default() }).await;
        let mut pace = Pace::new(self.far.patience());
        loop {
            let outcome = match self.far.order(&self.extra.remote_unit_id, WorkRequest::Cancel).await {
                Ok(outcome) => outcome,
                Err(fault) => {
                    debug!("unit {}: {} cannot be told to cancel yet: {fault}", unit.id, self.far.node());
                    CancelOutcome::Pending
                }
            };
            let done = outcome == CancelOutcome::Cancelled;
            unit.reporter.report(Report { cancel: Some(outcome), ..Report::default() }).await;
            if done {
                std::future::pending::<()>().await;
            }
            pace.pause(&self.far).await;
        }
    }
}

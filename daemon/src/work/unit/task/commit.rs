//! How a change of a unit gets into its `status`, beside a keeper that writes there too.

use std::sync::Arc;

use tracing::{debug, error};
use worknode_protocol::unit::{Detail, State, Status};

use super::{Progress, UnitTask};
use crate::{runner::Report, work::store::StatusFault};

impl UnitTask {
    pub(super) async fn finish(&mut self, state: State, detail: Detail) {
        self.commit(move |status| (status.state, status.detail) = (state, detail.to_string())).await;
    }

    pub(super) async fn record(&mut self, report: Report) {
        if self.status.state.is_final() {
            debug!("unit {}: news after its end dropped", self.id);
            return;
        }
        let Report { state, detail, extra_data, cancel } = report;
        if let Some(outcome) = cancel {
            self.cancel_answered(&outcome);
        }
        self.commit(move |status| {
            // A keeper has written the end down already; the runner is about to tell it.
            if status.state.is_final() {
                return;
            }
            status.state = state.unwrap_or(status.state);
            if let Some(detail) = detail {
                status.detail = detail.to_string();
            }
            if let Some(extra_data) = extra_data {
                status.extra_data = extra_data;
            }
        })
        .await;
    }

    /// Changes the status on disk, then tells it. A keeper may have written the file meanwhile: what it wrote is kept
    /// where `change` does not touch it, and where it says all that is to be said nothing is written.
    pub(super) async fn commit(&mut self, change: impl FnOnce(&mut Status) + Send + 'static) {
        let dir = self.dir.clone();
        let mut known = self.status.clone();
        let write = move || {
            let mut change = Some(change);
            let mut changed = |status: &mut Status| {
                let before = status.clone();
                if let Some(change) = change.take() {
                    change(status);
                }
                if !before.state.is_final() {
                    status.stdout_size = dir.stdout_bytes();
                }
                *status != before
            };
            let mut now = None;
            let updated = dir.update_status(|status| {
                let differs = changed(status);
                now = Some(status.clone());
                differs.then_some(())
            });
            match (updated, now) {
                (Ok(_), Some(status)) => (status, Ok(())),
                // Too full or too broken to be written: memory is right all the same.
                (Err(StatusFault::Io(fault)), Some(status)) => (status, Err(fault)),
                // Missing or unreadable: what is known takes its place.
                _ => {
                    changed(&mut known);
                    let written = dir.write_status(&known);
                    (known, written)
                }
            }
        };
        match tokio::task::spawn_blocking(write).await {
            Ok((status, written)) => {
                if let Err(fault) = written {
                    error!("unit {}: status not written: {fault}", self.id);
                }
                self.status = status;
            }
            Err(panic) => error!("unit {}: status not written: {panic}", self.id),
        }
        self.progress.send_replace(Progress { status: Arc::new(self.status.clone()), released: false });
    }
}

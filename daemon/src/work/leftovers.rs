//! Clearing away what a unit left outside its directory, for as long as it takes.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::runner::{Found, WorkKind};

/// How long the answer to a release waits for the clearing (work-types 2.6: the API's answer is awaited at most 5 s).
const ANSWER_WAIT: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The clearing of one unit, if one is under way.
pub(super) struct Leftovers {
    task: Option<JoinHandle<()>>,
    stop: CancellationToken,
}

impl Leftovers {
    /// Nothing to clear.
    pub(super) fn none() -> Self {
        Self { task: None, stop: CancellationToken::new() }
    }

    /// Clears what `found` left: tries until it succeeds or is stopped.
    pub(super) fn clear(&mut self, kind: Arc<dyn WorkKind>, found: Found) {
        let stop = CancellationToken::new();
        self.stop = stop.clone();
        self.task = Some(tokio::spawn(async move {
            tokio::select! { biased; () = stop.cancelled() => {}, () = try_until_clear(kind, found) => {} }
        }));
    }

    /// True while something is being cleared.
    pub(super) fn pending(&self) -> bool {
        self.task.is_some()
    }

    /// Returns when the clearing under way has succeeded; never where none is under way.
    pub(super) async fn cleared(&mut self) {
        match &mut self.task {
            Some(task) => {
                let _ = task.await;
                self.task = None;
            }
            None => std::future::pending().await,
        }
    }

    /// True if nothing is left, or was cleared within the time that an answer may take.
    pub(super) async fn cleared_soon(&mut self) -> bool {
        !self.pending() || tokio::time::timeout(ANSWER_WAIT, self.cleared()).await.is_ok()
    }

    /// Ends the clearing where it stands.
    pub(super) async fn stop(&mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

async fn try_until_clear(kind: Arc<dyn WorkKind>, found: Found) {
    let mut pause = FIRST_PAUSE;
    while let Err(fault) = kind.discard(&found).await {
        warn!("unit {}: what it left behind could not be removed yet: {fault}", found.id);
        // Between a half and the whole: many units may wait for the same server.
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..=1.0))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

//! The task that owns the backends that run, so that single ones can be added and removed.

use std::net::SocketAddr;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{BackendError, BackendSettings, Running, Serve};

/// Where each backend of a list listens, in the order of the list; None for peers.
pub type Addresses = Vec<Option<SocketAddr>>;

/// What the manager is told.
pub(crate) enum Order {
    /// These are to run, and no others.
    Set(Vec<BackendSettings>, oneshot::Sender<Result<Addresses, BackendError>>),
    /// None is to run; answered when all are over.
    Stop(oneshot::Sender<()>),
}

/// Carries out orders until nobody can give any.
pub(crate) async fn manage<S: Serve>(serve: S, mut orders: mpsc::Receiver<Order>) {
    let mut manager = Manager { serve, running: Vec::new() };
    while let Some(order) = orders.recv().await {
        match order {
            Order::Set(wanted, done) => {
                let _ = done.send(manager.set(wanted).await);
            }
            Order::Stop(done) => {
                stop(std::mem::take(&mut manager.running)).await;
                let _ = done.send(());
                return;
            }
        }
    }
}

struct Manager<S> {
    serve: S,
    running: Vec<Running>,
}

impl<S: Serve> Manager<S> {
    /// Stops what is not wanted, starts what is new, leaves the rest alone. If something cannot be started, all is as it
    /// was before.
    async fn set(&mut self, wanted: Vec<BackendSettings>) -> Result<Addresses, BackendError> {
        let mut kept: Vec<Option<Running>> = Vec::new();
        let mut old: Vec<Running> = std::mem::take(&mut self.running);
        for settings in &wanted {
            let place = old.iter().position(|running| running.settings() == settings);
            kept.push(place.map(|place| old.remove(place)));
        }
        // First, as a new one may want a port of an old one.
        let stopped: Vec<BackendSettings> = old.iter().map(|running| running.settings().clone()).collect();
        stop(old).await;
        let mut started = Vec::new();
        let mut failed = None;
        for (settings, kept) in wanted.into_iter().zip(kept) {
            match (kept, &failed) {
                (Some(running), _) => self.running.push(running),
                (None, Some(_)) => {}
                (None, None) => match self.start(settings).await {
                    Ok(running) => {
                        started.push(self.running.len());
                        self.running.push(running);
                    }
                    Err(error) => failed = Some(error),
                },
            }
        }
        let Some(error) = failed else { return Ok(self.running.iter().map(Running::address).collect()) };
        let undone = started.into_iter().rev().map(|place| self.running.remove(place)).collect();
        stop(undone).await;
        for settings in stopped {
            match self.start(settings).await {
                Ok(running) => self.running.push(running),
                Err(error) => tracing::error!(%error, "a backend could not be started again"),
            }
        }
        Err(error)
    }

    async fn start(&self, settings: BackendSettings) -> Result<Running, BackendError> {
        Running::start(settings, self.serve.clone(), CancellationToken::new()).await
    }
}

/// Stops backends, all at the same time.
async fn stop(backends: Vec<Running>) {
    for backend in &backends {
        backend.cancel();
    }
    for backend in backends {
        backend.stop().await;
    }
}

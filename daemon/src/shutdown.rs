//! Coming down: what asks for it, and how long it may take.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long sessions and units may take to come to rest before the process ends all the same.
pub const GRACE: Duration = Duration::from_secs(10);

/// The signals that ask the daemon to go.
pub struct Requests {
    term: Signal,
    interrupt: Signal,
}

impl Requests {
    /// Takes over SIGTERM and SIGINT.
    ///
    /// # Errors
    /// The system refuses to hand over the signals.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next request, by name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

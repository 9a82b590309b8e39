//! `reload`: reads the configuration again (control-protocol 1.7).
//!
//! Backends are exchanged in the running node: those that stay as they were go on undisturbed. A file that cannot be used, or
//! that differs in anything else, changes nothing. The comparison is always with the configuration of the start: a
//! refused reload leaves no trace.

use std::sync::Arc;

use tokio::signal::unix::Signal;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use worknode_mesh::{MeshHandle, tls::Named};
use worknode_protocol::{
    config::{
        self, Startup,
        reload::{ReloadItems, compare},
    },
    control::ReloadError,
};

use super::Context;
use crate::{backends, host::ThisHost};

/// Reading the configuration again.
pub struct Reload {
    arguments: Arc<[String]>,
    started_with: Option<Arc<ReloadItems>>,
}

impl Reload {
    /// Remembers how the daemon was started.
    pub fn new(arguments: Vec<String>, started_with: Option<ReloadItems>) -> Self {
        Self { arguments: arguments.into(), started_with: started_with.map(Arc::new) }
    }

    /// Reads, checks and compares, then makes the backends of the file those that run.
    ///
    /// # Errors
    /// The text of the answer; nothing has changed.
    pub async fn run(&self, mesh: &MeshHandle, tls: &Arc<Named>) -> Result<(), ReloadError> {
        let started_with = self.started_with.clone().ok_or(ReloadError::NoFile)?;
        let (arguments, tls) = (self.arguments.clone(), tls.clone());
        let read = tokio::task::spawn_blocking(move || match config::load(&arguments, &ThisHost) {
            Ok(Startup::Run(start)) => {
                compare(&started_with, &start.reload.ok_or(ReloadError::NoFile)?)?;
                backends::of(&start.config, &tls).map_err(|fault| ReloadError::Failed(fault.to_string()))
            }
            Ok(_) => Err(ReloadError::NoFile),
            Err(fault) => Err(fault.into()),
        });
        let wanted = read.await.map_err(|panic| ReloadError::Failed(panic.to_string()))??;
        mesh.set_backends(wanted).await.map(drop).map_err(|fault| ReloadError::Failed(fault.to_string()))
    }
}

/// Reloads at each SIGHUP until `stop`. What came of it is told in the log: nobody waits for an answer.
pub async fn at_hangups(mut hangups: Signal, context: Arc<Context>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            hangup = hangups.recv() => if hangup.is_none() { return },
        }
        match context.reload.run(&context.mesh, &context.tls).await {
            Ok(()) => info!("SIGHUP: configuration reloaded"),
            Err(fault) => error!("SIGHUP: nothing changed: {fault}"),
        }
    }
}

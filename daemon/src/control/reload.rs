//! `reload`: reads the configuration again (control-protocol 1.7).
//!
//! Without a mesh there are no backends to change, so a file that differs in what can be reloaded changes nothing yet;
//! a file that differs in anything else is refused, and so is one that cannot be used. The comparison is always with the
//! configuration of the start: a refused reload leaves no trace.

use std::sync::Arc;

use worknode_protocol::{
    config::{
        self, Startup,
        reload::{ReloadItems, compare},
    },
    control::ReloadError,
};

use crate::host::ThisHost;

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

    /// Reads, checks and compares.
    ///
    /// # Errors
    /// The text of the answer; nothing has changed.
    pub async fn run(&self) -> Result<(), ReloadError> {
        let started_with = self.started_with.clone().ok_or(ReloadError::NoFile)?;
        let arguments = self.arguments.clone();
        let read = tokio::task::spawn_blocking(move || match config::load(&arguments, &ThisHost) {
            Ok(Startup::Run(start)) => compare(&started_with, &start.reload.ok_or(ReloadError::NoFile)?),
            Ok(_) => Err(ReloadError::NoFile),
            Err(fault) => Err(fault.into()),
        });
        read.await.map_err(|panic| ReloadError::Failed(panic.to_string()))?
    }
}

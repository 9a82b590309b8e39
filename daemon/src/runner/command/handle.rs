//! A living process that is no child of this one, to be waited for and signalled.

use std::{
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, pidfd_send_signal, waitid};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::sleep,
};
use tracing::{debug, warn};

use super::process::Process;
use crate::readiness::register;

/// Time between two looks at a process for which there was no descriptor left.
const LOOK: Duration = Duration::from_millis(250);

/// Hold of one process.
pub(super) struct Handle {
    process: Process,
    /// None where the daemon has used up its descriptors.
    pidfd: Option<AsyncFd<OwnedFd>>,
}

impl Handle {
    /// `None` if the process has ended.
    pub(super) fn open(process: Process) -> Option<Self> {
        let opened = match process.open() {
            Ok(None) => return None,
            Ok(Some(pidfd)) => register(pidfd, Interest::READABLE),
            Err(fault) => Err(fault),
        };
        let pidfd = opened.inspect_err(|fault| warn!("no handle on process {}: {fault}", process.pid)).ok();
        Some(Self { process, pidfd })
    }

    /// Returns when the process has ended.
    pub(super) async fn ended(&self) {
        if let Some(pidfd) = &self.pidfd
            && pidfd.readable().await.is_ok()
        {
            // Where the daemon is the first process of a container, orphans are its children.
            let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
            return;
        }
        // What cannot be found out is no reason to give a process up.
        while self.process.is_alive().unwrap_or(true) {
            sleep(LOOK).await;
        }
    }

    /// Sends a signal; to nobody if the process has ended.
    pub(super) fn signal(&self, signal: Signal) {
        let sent = match (&self.pidfd, Pid::from_raw(self.process.pid)) {
            (Some(pidfd), _) => pidfd_send_signal(pidfd.get_ref(), signal),
            (None, Some(pid)) if self.process.is_alive().unwrap_or(false) => kill_process(pid, signal),
            (None, _) => Ok(()),
        };
        if let Err(fault) = sent {
            debug!("signal not sent to process {}: {fault}", self.process.pid);
        }
    }
}

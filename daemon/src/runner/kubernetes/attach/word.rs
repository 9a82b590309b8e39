//! The server's last word on a session, the same for both transports (kubernetes-streams 1.3, 3.5).

use std::io;

use serde::Deserialize;

use super::Delivery;

/// The server's last word.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// The session was brought to its end: for one of stdin alone, all that was sent was handed over.
    Success,
    /// It could not be.
    Failure(String),
    /// A WebSocket's close frame, which says nothing.
    Closed,
    /// There was no word.
    Broken(String),
}

/// What ends a session badly.
#[derive(Debug)]
pub(super) enum Fault {
    NoContainer(String),
    Broken(String),
    Payload(io::Error),
}

impl Word {
    /// Reads a status. `None`: it is none, or not yet.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let status = serde_json::from_slice::<Status>(text).ok()?;
        Some(if status.status == "Success" { Self::Success } else { Self::Failure(status.message) })
    }

    pub(super) fn into_fault(self) -> Result<Delivery, Fault> {
        Err(match self {
            Self::Failure(message) if is_no_container(&message) => Fault::NoContainer(message),
            Self::Failure(message) | Self::Broken(message) => Fault::Broken(message),
            Self::Success | Self::Closed => Fault::Broken("the server closed the session without a word".to_owned()),
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    status: String,
    message: String,
}

/// The kubelet's words where there is no container to attach to, before its start and after its end.
pub(super) fn is_no_container(message: &str) -> bool {
    message.contains("not found in pod") || message.contains("no running task found")
}

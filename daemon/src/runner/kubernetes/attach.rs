//! A unit's payload on its way into the worker's stdin: attach (kubernetes-streams 1 to 3).
//!
//! | File | Holds |
//! |---|---|
//! | `payload` | what is to be sent |
//! | `websocket`, `spdy` | the two transports |
//! | `duplex` | a session for both directions, to be spoken to and listened to at will |
//! | `output` | a session for what the worker writes, and nothing else |
//! | `choice` | which of them this API server and this account let through |
//! | `pump`, `word` | both directions at once, and what the server's last word means |
//!
//! The attach is for stdin alone. Its `Success` then means that the last byte is in the process's pipe, and comes long
//! before the process ends; with stdout it would mean the process's end and tell nothing about stdin. Whatever breaks, the
//! process sees the same clean end of its stdin: so a session that ended otherwise has cut the payload.

mod choice;
mod duplex;
mod output;
mod payload;
mod pump;
mod spdy;
mod websocket;
mod word;

use std::io;

use bytes::Bytes;
use http::{
    Method, Request, Response,
    header::{ACCEPT, CONNECTION, HeaderValue},
};
use kube::client::Body;
use tokio::sync::watch;

pub(crate) use self::{
    choice::{Choices, Refusals},
    duplex::{Ear, Voice, open_duplex},
    output::{OutputEnd, OutputSession, Source},
    payload::Payload,
};
use self::{
    choice::{Session, open},
    pump::{Progress, pump},
    word::{Fault, is_no_container},
};
use super::{
    client::{self, Api, ApiError},
    pod::WORKER,
};

/// What became of a payload that was not cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// All of it was handed over to the process.
    HandedOver,
    /// The session came to its end first: the process ended without reading all of it.
    Unread,
}

/// What became of a payload that did not arrive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError {
    /// No session came about: nothing reached the process, its stdin is as it was.
    #[error("{0}")]
    NotBegun(ApiError),
    /// Neither transport is let through. As `NotBegun`, and final.
    #[error("{0}")]
    Refused(Box<Refusals>),
    /// The kubelet had no running container to attach to: too early, or too late.
    #[error("{0}")]
    NoContainer(String),
    /// The session broke: the process has seen the end of its stdin after part of the payload.
    #[error("{message}")]
    Cut {
        /// Bytes that went out.
        sent: u64,
        /// Not even the first of them: what the process has read is the end, and nothing else.
        unread: bool,
        /// What broke it.
        message: String,
    },
    /// The payload could not be read.
    #[error("{0}")]
    Payload(io::Error),
}

impl AttachError {
    /// A session may have been opened, which uses stdin up, and is of no use.
    pub(crate) fn cut_before_the_first_byte(message: impl Into<String>) -> Self {
        Self::Cut { sent: 0, unread: true, message: message.into() }
    }
}

/// What is attached to.
pub(crate) struct Target<'a> {
    pub(crate) api: &'a Api,
    pub(crate) namespace: &'a str,
    pub(crate) pod: &'a str,
    /// stdout is wanted, too.
    pub(crate) output: bool,
}

impl Target<'_> {
    /// Asks for another protocol, which is not yet named, and for `streams` (`stdin=true`).
    fn request(&self, method: Method, streams: &str) -> Result<Request<Bytes>, AttachError> {
        let output = if self.output { "&stdout=true" } else { "" };
        let pod = client::pod_path(self.namespace, self.pod);
        let path = format!("{pod}/attach?container={WORKER}&{streams}{output}");
        let mut request = client::request(method, &path, Bytes::new()).map_err(AttachError::NotBegun)?;
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        // The kubelet, to which all but v5 go, answers 406 to any other. Refusals are JSON all the same.
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        Ok(request)
    }

    /// Asks for a session. The answer has the status 101.
    async fn upgrade(&self, request: &Request<Bytes>) -> Result<Response<Body>, AttachError> {
        self.api.upgrade(request).await.map_err(|fault| match fault {
            // The kubelet's own words, passed on by v4 and SPDY (kubernetes-streams 1.5).
            ApiError::Refused { code: 500, message, .. } if is_no_container(&message) => {
                AttachError::NoContainer(message)
            }
            // The request went out and nothing came back: an attach may have been opened and broken.
            ApiError::Unreachable { message, sent: true } => AttachError::cut_before_the_first_byte(message),
            fault => AttachError::NotBegun(fault),
        })
    }
}

/// Sends the payload and ends stdin. `progress` is told now and then how many bytes went out.
pub(crate) async fn send(
    target: Target<'_>,
    payload: &Payload,
    progress: watch::Sender<u64>,
) -> Result<Delivery, AttachError> {
    let mut progress = Progress::new(progress);
    let sent = match open(&target).await? {
        Session::WebSocket(mouth, from_server) => {
            pump(mouth, websocket::listen(from_server), payload, &mut progress).await
        }
        Session::Spdy(mouth, ear) => pump(mouth, ear.listen(), payload, &mut progress).await,
    };
    sent.map_err(|fault| match fault {
        Fault::NoContainer(message) => AttachError::NoContainer(message),
        Fault::Broken(message) => AttachError::Cut { sent: progress.sent, unread: !progress.begun, message },
        Fault::Payload(fault) => AttachError::Payload(fault),
    })
}

#[cfg(test)]
mod tests;

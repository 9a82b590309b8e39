//! What goes into a follower and comes out of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::{position::Gap, stamp::Stamp};

/// How far the worker is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// It has not started.
    #[default]
    Waiting,
    /// It runs.
    Running,
    /// It is over, or its pod is gone.
    Over,
    /// It never started, and has no log.
    NotStarted,
}

/// What the follower has to know of its worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Worker {
    pub(crate) stage: Stage,
    /// When the container's process started, in whole seconds of the node's clock.
    pub(crate) started: Option<Stamp>,
    /// When it ended.
    pub(crate) finished: Option<Stamp>,
}

/// The two requests that may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// The one that follows.
    Stream,
    /// The one beside it.
    Side,
}

/// A request for the log, with time stamps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// `sinceTime`.
    pub(crate) since: Option<String>,
    /// `follow`.
    pub(crate) follow: bool,
    /// `limitBytes`.
    pub(crate) limit: Option<u32>,
}

/// What is to be done outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Make the request; nothing is under way in this slot.
    Open(Slot, Request),
    /// Drop the request of this slot, or its answer.
    Close(Slot),
}

/// Why a request has no answer, or no whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The connection broke, or there was none.
    Broken,
    /// The API server or the kubelet said no; trying again may help.
    Refused { retry_after: Option<Duration> },
    /// The container has no log, or not yet.
    NoLog,
    /// The pod does not exist.
    NoPod,
    /// Trying again does not help.
    Final,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Everything that could be had is there; gaps are declared.
    Complete,
    /// The last trouble of this slot is the end.
    GiveUp(Slot),
}

/// What is kept with the output, so that another daemon can go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Notes {
    /// Gaps met so far.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) gaps: Vec<Gap>,
}

//! Why a pod does not start: the words in its unit's detail while it waits.
//!
//! Its status says most of it. A volume that cannot be mounted, a sandbox that cannot be made stand in the cluster's events
//! alone (kubernetes-streams 6), which are asked for where the role allows it.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};
use worknode_protocol::unit::Detail;

use super::{
    client::{self, Api, ApiError},
    view::Pod,
};
use crate::runner::{Report, Reporter};

/// A pod that waits without a word for so long is asked about: most have started by then.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at its events.
const AGAIN: Duration = Duration::from_secs(30);
/// Events read at once; the cluster counts up what happens again.
const EVENTS: u32 = 50;
/// Most characters of a message that are shown: the words of others go into a status that is kept.
const WORDS: usize = 1000;

/// A pod that waits, and what its unit's detail says of it.
pub(super) struct Waiting<'a> {
    api: &'a Api,
    pod: &'a Pod,
    reporter: &'a Reporter,
    /// In the detail now; none: `Pod created`.
    shown: Option<Detail>,
    /// What the events said last.
    events: Option<Detail>,
    /// The status says nothing.
    silent: bool,
    /// When the events are looked at next; none: the role forbids it.
    look_at: Option<Instant>,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(api: &'a Api, pod: &'a Pod, reporter: &'a Reporter) -> Self {
        let look_at = Some(Instant::now() + PATIENCE);
        Self { api, pod, reporter, shown: None, events: None, silent: true, look_at }
    }

    /// Shows what the pod's status says, or that it says nothing any more.
    pub(super) async fn tell(&mut self, why: Option<Detail>) {
        self.silent = why.is_none();
        if why.is_some() {
            self.events = None;
        }
        let words = why.or_else(|| self.events.clone());
        if self.shown == words {
            return;
        }
        self.shown.clone_from(&words);
        let detail = Some(words.unwrap_or(Detail::PodCreated));
        self.reporter.report(Report { detail, ..Report::default() }).await;
    }

    /// Returns when the events of a silent pod have been looked at. May be dropped and asked again: what was under way is
    /// left to the next look.
    pub(super) async fn look_at_events(&mut self) {
        match self.look_at.filter(|_| self.silent) {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
        self.look_at = Some(Instant::now() + AGAIN);
        match self.last_warning().await {
            Ok(warning) => self.events = warning,
            Err(fault) if fault.is_temporary() => tracing::debug!(error = %fault, "events could not be read"),
            Err(fault) => {
                tracing::debug!(error = %fault, "events are not looked at");
                self.look_at = None;
            }
        }
    }

    /// What the cluster last warned of.
    async fn last_warning(&self) -> Result<Option<Detail>, ApiError> {
        let metadata = &self.pod.metadata;
        let fields = client::encode(&format!("involvedObject.uid={},type=Warning", metadata.uid));
        let namespace = client::encode(&metadata.namespace);
        let path = format!("/api/v1/namespaces/{namespace}/events?fieldSelector={fields}&limit={EVENTS}");
        let list: Events = self.api.object(&client::request(Method::GET, &path, Bytes::new())?).await?;
        let last = list.items.into_iter().max_by(|left, right| left.time().cmp(right.time()));
        Ok(last.map(|event| pending(&event.reason, &event.message)))
    }
}

/// `Pending: REASON: MESSAGE`, within bounds.
pub(super) fn pending(reason: &str, message: &str) -> Detail {
    let message = message.trim().chars().take(WORDS).collect();
    Detail::PodPending { reason: reason.to_owned(), message }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Events {
    items: Vec<Event>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Event {
    reason: String,
    message: String,
    last_timestamp: Option<String>,
    event_time: Option<String>,
}

impl Event {
    /// When it last happened: sources fill in the one or the other.
    fn time(&self) -> &str {
        self.last_timestamp.as_deref().or(self.event_time.as_deref()).unwrap_or_default()
    }
}

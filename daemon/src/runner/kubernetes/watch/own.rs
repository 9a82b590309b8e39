//! The watch of one pod by its name: for pods without a label of ours, and where the shared watch is of no use.

use tokio::time::Instant;

use super::{
    Event,
    lines::{Line, Lines, Next},
};
use crate::runner::kubernetes::{
    client::{self, Api, ApiError},
    retry::{Patience, Tries},
    view::Pod,
};

/// The watch of one pod. Dropping it, also while [`OwnWatch::next`] waits, ends it.
pub(super) struct OwnWatch<'a> {
    api: &'a Api,
    namespace: String,
    name: String,
    /// The pod's uid: one of the same name made later is another one.
    uid: String,
    /// Where to go on; none: the pod is to be read first.
    version: Option<String>,
    lines: Option<Lines>,
    tries: Tries,
}

impl<'a> OwnWatch<'a> {
    /// Watches from the state that `pod` is in: the next event is the first one after it.
    pub(super) fn from(api: &'a Api, pod: &Pod, patience: Patience) -> Self {
        Self {
            api,
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            version: Some(pod.metadata.resource_version.clone()).filter(|version| !version.is_empty()),
            lines: None,
            tries: patience.tries(),
        }
    }

    /// The same, but the pod is looked at first.
    pub(super) fn anew(api: &'a Api, pod: &Pod, patience: Patience) -> Self {
        Self { version: None, ..Self::from(api, pod, patience) }
    }

    /// The next state. Fails once patience is at its end, or at once if the API refuses for good.
    pub(super) async fn next(&mut self) -> Result<Event, ApiError> {
        loop {
            let begin = Instant::now();
            match self.step().await {
                Ok(Some(event)) => return Ok(event),
                Ok(None) => {}
                Err(fault) if fault.is_temporary() => {
                    self.api.note_broken(&fault);
                    self.lines = None;
                    let pause = self.tries.after_failure(begin.elapsed(), fault.retry_after());
                    let Some(pause) = pause else { return Err(fault) };
                    tracing::debug!(pod = self.name, error = %fault, ?pause, "watching the pod again");
                    tokio::time::sleep(pause).await;
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// One step: the pod read, the watch opened, or an event. `None`: nothing to tell.
    async fn step(&mut self) -> Result<Option<Event>, ApiError> {
        let Some(version) = self.version.clone() else { return self.read().await.map(Some) };
        let Some(lines) = &mut self.lines else {
            let selector = format!("fieldSelector=metadata.name%3D{}", client::encode(&self.name));
            self.lines = Some(Lines::open(self.api, &self.namespace, &selector, &version).await?);
            return Ok(None);
        };
        let (pod, gone) = match lines.next().await? {
            Next::End => {
                self.lines = None;
                return Ok(None);
            }
            Next::Silent => {
                self.forget();
                return Ok(None);
            }
            Next::Line(Line::TooOld) => {
                self.forget();
                return Err(ApiError::too_old());
            }
            Next::Line(Line::Bookmark(version)) => {
                self.version = Some(version);
                self.tries.reset();
                return Ok(None);
            }
            Next::Line(Line::Pod(pod)) => (pod, false),
            Next::Line(Line::Deleted(pod)) => (pod, true),
        };
        self.version = Some(pod.metadata.resource_version.clone());
        self.tries.reset();
        if pod.metadata.uid != self.uid {
            return Ok(None);
        }
        Ok(Some(if gone { Event::Gone(Some(pod.into())) } else { Event::Pod(pod.into()) }))
    }

    /// The pod is to be read before the next watch.
    fn forget(&mut self) {
        self.lines = None;
        self.version = None;
    }

    async fn read(&mut self) -> Result<Event, ApiError> {
        let request = client::get_pod(&self.namespace, &self.name)?;
        match self.api.object::<Pod>(&request).await {
            Ok(pod) if pod.metadata.uid == self.uid => {
                self.tries.reset();
                self.version = Some(pod.metadata.resource_version.clone());
                Ok(Event::Pod(pod.into()))
            }
            Ok(_) => Ok(Event::Gone(None)),
            Err(fault) if fault.is_not_found() => Ok(Event::Gone(None)),
            Err(fault) => Err(fault),
        }
    }
}

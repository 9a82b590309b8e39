//! Making a unit's pod, once (kubernetes-streams 7).
//!
//! The name is chosen here and on disk before the pod is asked for. After a lost answer the same pod is asked for again: it
//! then either comes into being or is there already, and there is never a second one.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Method;
use tokio::time::Instant;
use worknode_protocol::unit::PodProblem;

use super::{
    client::{self, Api, ApiError},
    names,
    pod::{Labels, Manifest},
    record::{Journal, Record, Step},
    retry::Patience,
    view::Pod,
};

/// Names tried if one is taken: each has 14 million siblings.
const NAMES: u32 = 8;

/// A pod to be made.
pub(crate) struct Creation<'a> {
    pub(crate) api: &'a Api,
    pub(crate) manifest: &'a Manifest,
    pub(crate) labels: &'a Labels,
    pub(crate) namespace: &'a str,
    pub(crate) patience: Patience,
}

impl Creation<'_> {
    /// Makes the pod. If `journal` names one that an earlier daemon may have asked for, it is that one.
    pub(crate) async fn once(&self, journal: &mut Journal) -> Result<Pod, PodProblem> {
        // Asked for by an earlier daemon: it may be there.
        let mut asked = !journal.record().name.is_empty();
        if !asked {
            self.choose(journal).await?;
        }
        for _ in 0..NAMES {
            let name = journal.record().name.clone();
            match self.ask(&name, &mut asked).await {
                Err(fault) => {
                    if !asked {
                        note(journal, |record| record.step = Step::Deleted).await?;
                    }
                    return Err(PodProblem::Message(fault.to_string()));
                }
                Ok(Some(pod)) => {
                    let uid = pod.metadata.uid.clone();
                    note(journal, |record| {
                        record.uid = uid;
                        record.step = Step::Created;
                    })
                    .await?;
                    return Ok(pod);
                }
                Ok(None) => {
                    self.choose(journal).await?;
                    asked = false;
                }
            }
        }
        let taken = format!("pods {:?} already exists", journal.record().name);
        Err(PodProblem::Message(taken))
    }

    async fn choose(&self, journal: &mut Journal) -> Result<(), PodProblem> {
        let name = names::with_suffix(&self.manifest.prefix);
        note(journal, |record| {
            record.name = name;
            record.namespace = self.namespace.to_owned();
            record.step = Step::Creating;
            record.attempts += 1;
            record.asked_at = now();
        })
        .await
    }

    /// Asks for the pod of this name until it is there, or is not ours (`None`). `asked`: a request that was not answered
    /// may have made it, or make it yet.
    async fn ask(&self, name: &str, asked: &mut bool) -> Result<Option<Pod>, ApiError> {
        let body = self.manifest.body(name, self.namespace, self.labels).to_string();
        let request = client::request(Method::POST, &client::pods_path(self.namespace), Bytes::from(body))?;
        let mut tries = self.patience.tries();
        loop {
            let begin = Instant::now();
            let fault = match self.api.create::<Pod>(&request).await {
                Ok(pod) => return Ok(Some(pod)),
                Err(ApiError::Refused { code: 409, .. }) => return self.existing(name, *asked).await,
                Err(fault) if fault.is_temporary() => fault,
                Err(fault) => return Err(fault),
            };
            *asked |= match &fault {
                ApiError::Unreachable { sent, .. } => *sent,
                ApiError::Refused { code, .. } => *code != 429,
                ApiError::NotReady(_) => false,
                _ => true,
            };
            let Some(pause) = tries.after_failure(begin.elapsed(), fault.retry_after()) else { return Err(fault) };
            tracing::debug!(pod = name, error = %fault, ?pause, "asking for the pod again");
            tokio::time::sleep(pause).await;
        }
    }

    /// A pod of that name is there: the one we asked for, if we did and its labels are ours.
    async fn existing(&self, name: &str, asked: bool) -> Result<Option<Pod>, ApiError> {
        if !asked {
            return Ok(None);
        }
        let request = client::get_pod(self.namespace, name)?;
        let pod = match self.api.object_patiently::<Pod>(&request, self.patience).await {
            Ok(pod) => pod,
            Err(fault) if fault.is_not_found() => return Ok(None),
            Err(fault) => return Err(fault),
        };
        Ok(Some(pod).filter(|pod| self.labels.are_on(pod)))
    }
}

async fn note(journal: &mut Journal, change: impl FnOnce(&mut Record)) -> Result<(), PodProblem> {
    journal.note(change).await.map_err(|fault| PodProblem::Message(fault.to_string()))
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

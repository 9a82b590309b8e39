//! Work on other nodes (control-protocol 4.6): a unit here that drives a unit there through the other node's control service.
//!
//! | Part | What it does |
//! |---|---|
//! | [`far`] | the other node: connections to its control service, with deadlines |
//! | [`submit`] | gets the unit started there, once and never twice |
//! | [`watch`] | follows it to its end: pushed by a node of worknode, by questions to one of receptor |
//! | [`output`] | appends its output to the file here |
//! | [`orders`] | cancel and release |
//! | [`life`] | all of it in order, for one unit |
//!
//! **Never twice.** The other node starts a unit at the end of its payload, and not before: as long as that end has not been
//! sent, nothing can have started, and a connection that breaks makes the unit there fail. Once it may have been sent, the
//! unit is never submitted again, unless the other node says that this one did not start.

mod far;
mod life;
mod orders;
mod output;
mod submit;
mod watch;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;
use worknode_mesh::{MeshHandle, tls::Named};
use worknode_protocol::{
    control::{Submit, SubmitError, is_secret_name},
    duration::GoDuration,
    unit::{Detail, RemoteExtra, State, Status},
};

use self::{far::Far, life::RemoteRunner};
use super::{BoxFuture, DiscardError, Found, Params, Plan, PlanError, Recovery, ReleaseThereError, Secrets, WorkKind};
use crate::work::{signature::Signer, store::UnitDir};

/// The work type under which a unit that runs elsewhere is kept.
const NAME: &str = "remote";
/// Where the secret parameters of a unit are, until it has started.
const SECRETS: &str = "secrets.json";

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The greeting of the other node (control-protocol 4.6).
    pub greeting: Duration,
    /// An answer to a question.
    pub answer: Duration,
    /// The answer to a payload: the other node starts the work meanwhile.
    pub start: Duration,
    /// First pause after a failure; each further one is half as long again.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
    /// Questions to a node of receptor: how often, when nothing changes.
    pub poll: Duration,
    /// How long nothing but answers that make no sense, or a disk that takes nothing, is put up with.
    pub nonsense: Duration,
    /// How long a unit there may wait for a payload whose connection is gone.
    pub limbo: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            greeting: Duration::from_secs(5),
            answer: Duration::from_secs(30),
            start: Duration::from_secs(120),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            poll: Duration::from_secs(1),
            nonsense: Duration::from_secs(300),
            limbo: Duration::from_secs(90),
        }
    }
}

/// What units that run elsewhere need of this node.
pub(crate) struct Host {
    pub(crate) mesh: MeshHandle,
    pub(crate) tls: Arc<Named>,
    pub(crate) signer: Signer,
    pub(crate) patience: Patience,
}

/// The type of units that other nodes run.
pub struct RemoteKind {
    host: Arc<Host>,
}

impl RemoteKind {
    /// Work on the nodes of `mesh`, over streams with these named TLS settings, by requests that `signer` signs.
    pub fn new(mesh: MeshHandle, tls: Arc<Named>, signer: Signer, patience: Patience) -> Self {
        Self { host: Arc::new(Host { mesh, tls, signer, patience }) }
    }

    /// Checks a submission for another node. That node is not asked: it may be out of reach for now.
    ///
    /// # Errors
    /// A time to live that ends beyond all calendars.
    pub fn plan_for(&self, submit: Submit, ttl: Option<GoDuration>) -> Result<Plan, SubmitError> {
        let expiration = match ttl {
            None => RemoteExtra::NEVER.to_owned(),
            Some(ttl) => expiration(&ttl).ok_or_else(|| SubmitError::Store("ttl is too long".to_owned()))?,
        };
        let params = submit.params.clone();
        let (secret, plain): (BTreeMap<_, _>, BTreeMap<_, _>) =
            submit.params.into_map().into_iter().partition(|(name, _)| is_secret_name(name));
        let extra = RemoteExtra {
            remote_node: submit.node,
            remote_work_type: submit.work_type,
            remote_params: plain,
            sign_work: submit.sign_work,
            tls_client: submit.tls_client.unwrap_or_default(),
            expiration,
            ..RemoteExtra::default()
        };
        let secrets = (!secret.is_empty()).then(|| Secrets::new(worknode_protocol::json::to_string(&secret)));
        let extra_data = Value::from(extra.clone());
        Ok(Plan { extra_data, secrets, runner: Box::new(self.runner(extra, params)) })
    }

    fn runner(&self, extra: RemoteExtra, params: Params) -> RemoteRunner {
        RemoteRunner::new(Far::of(&self.host, &extra), extra, params)
    }

    async fn release(&self, found: &Found) -> Result<(), ReleaseThereError> {
        match RemoteExtra::from_value(&found.status.extra_data) {
            Some(extra) if !extra.remote_unit_id.is_empty() => {
                Far::of(&self.host, &extra).release(&extra.remote_unit_id).await
            }
            _ => Ok(()),
        }
    }
}

impl WorkKind for RemoteKind {
    fn name(&self) -> &str {
        NAME
    }

    fn verifies_signature(&self) -> bool {
        false
    }

    /// control-protocol 4.7: who signs for the work there has to be asked for a signature here.
    fn verifies_signature_of(&self, unit: &Status) -> bool {
        RemoteExtra::from_value(&unit.extra_data).is_some_and(|extra| extra.sign_work)
    }

    fn begins_early(&self) -> bool {
        true
    }

    /// Nobody can submit under this name: there would be no node to go to.
    fn plan(&self, _: &Params) -> Result<Plan, PlanError> {
        Err(PlanError::NotAllowed(NAME))
    }

    fn recover(&self, found: &Found) -> Recovery {
        let Some(extra) = RemoteExtra::from_value(&found.status.extra_data) else {
            return Recovery::Ended(State::Failed, Detail::Internal("its ExtraData makes no sense".to_owned()));
        };
        let incomplete = [Detail::UnitCreated, Detail::WaitingForInputData].map(|detail| detail.to_string());
        if !extra.remote_started && incomplete.contains(&found.status.detail) {
            return Recovery::Ended(State::Failed, Detail::PendingAtRestart);
        }
        let params = with_secrets(&extra, &found.dir);
        Recovery::Resume(Box::new(self.runner(extra, params).resumed()))
    }

    fn discard<'a>(&'a self, found: &'a Found) -> BoxFuture<'a, Result<(), DiscardError>> {
        Box::pin(async { self.release(found).await.map_err(|fault| DiscardError(fault.to_string())) })
    }

    fn release_there<'a>(&'a self, found: &'a Found) -> Option<BoxFuture<'a, Result<(), ReleaseThereError>>> {
        Some(Box::pin(self.release(found)))
    }

    fn is_release_ordered(&self, unit: &Status) -> bool {
        RemoteExtra::from_value(&unit.extra_data).is_some_and(|extra| extra.local_released)
    }

    fn note_release(&self, extra_data: &mut Value) {
        if let Some(extra) = RemoteExtra::from_value(extra_data) {
            *extra_data = RemoteExtra { local_released: true, ..extra }.into();
        }
    }
}

/// The parameters of a unit on disk: receptor keeps the secret ones with the others. Blocks.
fn with_secrets(extra: &RemoteExtra, dir: &UnitDir) -> Params {
    let mut params = Params::from(extra.remote_params.clone());
    let kept = std::fs::read(dir.file(SECRETS)).ok();
    let kept = kept.and_then(|json| serde_json::from_slice::<BTreeMap<String, String>>(&json).ok());
    for (name, value) in kept.unwrap_or_default() {
        params.insert(name, value);
    }
    params
}

/// The time a unit that begins now expires: RFC 3339 with nanoseconds in the local zone, as receptor writes it.
fn expiration(ttl: &GoDuration) -> Option<String> {
    let end = Timestamp::now().checked_add(jiff::SignedDuration::from_nanos(ttl.nanos())).ok()?;
    Some(end.to_zoned(TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string())
}

/// When a unit expires; none for never, and for what cannot be read.
fn expires(extra: &RemoteExtra) -> Option<Timestamp> {
    (extra.expiration != RemoteExtra::NEVER).then(|| extra.expiration.parse().ok()).flatten()
}

//! Runners: what turns a unit into a local process or a pod, behind two small traits.
//!
//! A [`WorkKind`] is one configured work type. It checks a submission ([`WorkKind::plan`]), takes up a unit that an
//! earlier daemon left unfinished ([`WorkKind::recover`]) and clears away what a unit leaves outside its directory
//! ([`WorkKind::discard`]). A [`Runner`] is the life of one unit's job. It owns the job and nothing else: the unit's
//! state belongs to the unit task, which the runner tells what happened through a [`Reporter`].
//!
//! Two ways of stopping are never mixed: *cancel* ends the job, *detach* leaves the job alone, because the daemon,
//! once restarted, comes back for it.

pub mod command;
pub mod kubernetes;
pub mod remote;

use std::{future::Future, pin::Pin};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use worknode_protocol::{
    id::UnitId,
    unit::{Detail, State, Status},
};

use worknode_protocol::control::RemoteError;
pub use worknode_protocol::control::{ParamError as PlanError, Params};

use crate::work::store::UnitDir;

/// A boxed future, so that the traits of this module can be used as `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One configured work type.
pub trait WorkKind: Send + Sync + 'static {
    /// The name under which work is submitted.
    fn name(&self) -> &str;

    /// True if submissions from elsewhere than the Unix socket need a signature (control-protocol 4.7).
    fn verifies_signature(&self) -> bool;

    /// Checks the parameters of a submission. Creates nothing: every refusal happens here.
    ///
    /// # Errors
    /// The text answered to the client, without `ERROR: `.
    fn plan(&self, params: &Params) -> Result<Plan, PlanError>;

    /// Says what becomes of an unfinished unit of this type found on disk at start. Called on the blocking pool.
    fn recover(&self, found: &Found) -> Recovery;

    /// Removes what the unit owns outside its directory (a pod, a left-over process tree). May be called again after
    /// success, in every state, and after a restart of the daemon.
    ///
    /// # Errors
    /// The fault that stood in the way; the caller tries again later.
    fn discard<'a>(&'a self, found: &'a Found) -> BoxFuture<'a, Result<(), DiscardError>>;

    /// True if a request about this unit from elsewhere than the Unix socket needs a signature.
    fn verifies_signature_of(&self, _unit: &Status) -> bool {
        self.verifies_signature()
    }

    /// True if [`Runner::start`] is called as soon as the unit exists, to use the payload while it comes in.
    fn begins_early(&self) -> bool {
        false
    }

    /// Asks the node on which a unit of this type runs to release it. None: units of this type run here.
    fn release_there<'a>(&'a self, _found: &'a Found) -> Option<BoxFuture<'a, Result<(), ReleaseThereError>>> {
        None
    }

    /// True if the status itself says that a client has ordered the release.
    fn is_release_ordered(&self, _unit: &Status) -> bool {
        false
    }

    /// Notes in `ExtraData` that a client has ordered the release, where this type's does.
    fn note_release(&self, _extra_data: &mut Value) {}

    /// True if objects of this type that belong to no unit are to be deleted, not only reported.
    fn prunes(&self) -> bool {
        false
    }

    /// What is marked as this node's outside this machine, whichever unit and work type it belongs to.
    ///
    /// # Errors
    /// Why it could not be found out.
    fn objects(&self) -> BoxFuture<'_, Result<Vec<Object>, DiscardError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Deletes one of [`WorkKind::objects`]. One that is gone counts as deleted.
    ///
    /// # Errors
    /// The fault that stood in the way.
    fn remove<'a>(&'a self, _object: &'a Object) -> BoxFuture<'a, Result<(), DiscardError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Something outside this machine that is marked as this node's. `Display` is for logs: `pods/NAME in NAMESPACE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its resource: `pods`.
    pub kind: &'static str,
    /// Where it is.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The unit that it says to belong to: as it was found, and possibly no unit's id at all.
    pub unit: String,
    /// It says to belong to the work type that found it.
    pub own: bool,
    /// It is there on purpose: of a unit that has ended, and of a type that keeps such objects.
    pub kept: bool,
}

impl Object {
    /// `pods/NAME`
    pub fn path(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} in {}", self.kind, self.name, self.namespace)
    }
}

/// A checked submission: nothing exists for it yet.
pub struct Plan {
    /// `ExtraData` of the first status on disk. Must not hold secrets.
    pub extra_data: Value,
    /// What goes into the unit's `secrets.json`; none: no such file is made.
    pub secrets: Option<Secrets>,
    /// The life of the job, not yet begun.
    pub runner: Box<dyn Runner>,
}

/// The secret parameters of one unit, a JSON document that reaches nothing but the unit's own `secrets.json` (work-types 2.8).
pub struct Secrets(secrecy::SecretString);

impl Secrets {
    /// Wraps a JSON document.
    pub fn new(json: String) -> Self {
        Self(json.into())
    }

    /// The JSON document, for the file alone.
    pub(crate) fn document(&self) -> &str {
        use secrecy::ExposeSecret;
        self.0.expose_secret()
    }
}

/// A job that could not be started after its payload was accepted. The client gets the text in place of `Job Started`;
/// the unit fails with `Error starting worker: TEXT` (control-protocol 3.7).
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// What a unit left behind could not be removed now.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DiscardError(pub String);

/// Another node did not release a unit.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseThereError {
    /// It cannot be reached now.
    #[error("{0}")]
    Unreachable(String),
    /// It answered so.
    #[error(transparent)]
    Refused(#[from] RemoteError),
}

/// An unfinished unit on disk, or a finished one that is to be discarded.
#[derive(Clone)]
pub struct Found {
    /// Its id.
    pub id: UnitId,
    /// Its directory.
    pub dir: UnitDir,
    /// Its last status.
    pub status: Status,
}

/// What becomes of an unfinished unit.
pub enum Recovery {
    /// The job lives or can go on: [`Runner::run`] is called, [`Runner::start`] is not.
    Resume(Box<dyn Runner>),
    /// The job is over; this is how.
    Ended(State, Detail),
}

/// The life of one job.
pub trait Runner: Send {
    /// Starts the job of a unit whose payload is complete on disk; of a type that begins early, one whose payload is coming.
    ///
    /// # Errors
    /// A job that cannot begin for a reason that the submitter should hear.
    fn start<'a>(&'a mut self, unit: &'a UnitContext) -> BoxFuture<'a, Result<Started, StartError>>;

    /// Follows the started or recovered job to its end. Must obey both tokens of the context.
    fn run(self: Box<Self>, unit: UnitContext) -> BoxFuture<'static, Ending>;
}

/// How a job began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// It runs, or is about to.
    Now,
    /// The node that is to run it cannot be reached yet; it is tried again.
    Later,
}

/// How much of a unit's payload is in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upload {
    /// Bytes.
    pub bytes: u64,
    /// They are all, and the unit's status says so, too.
    pub whole: bool,
}

/// The payload of a unit, seen by its runner.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    coming: Option<watch::Receiver<Upload>>,
}

impl Payload {
    /// One that is whole.
    pub fn whole() -> Self {
        Self::default()
    }

    pub(crate) fn coming() -> (watch::Sender<Upload>, Self) {
        let (upload, coming) = watch::channel(Upload::default());
        (upload, Self { coming: Some(coming) })
    }

    /// True if all of it is in the file.
    pub fn is_whole(&self) -> bool {
        self.coming.as_ref().is_none_or(|coming| coming.borrow().whole)
    }

    /// Returns when more than `bytes` are in the file, or when it is whole: then with true. Never, if neither can happen any
    /// more, as the client is gone: the unit's end is ordered then.
    pub async fn grown(&mut self, bytes: u64) -> bool {
        let Some(coming) = &mut self.coming else { return true };
        let whole =
            coming.wait_for(|upload| upload.whole || upload.bytes > bytes).await.map(|upload| upload.whole).ok();
        match whole {
            Some(whole) => whole,
            None => std::future::pending().await,
        }
    }

    /// Returns when it is whole.
    pub async fn sealed(&mut self) {
        while !self.grown(u64::MAX).await {}
    }
}

/// What a runner is given.
#[derive(Clone)]
pub struct UnitContext {
    /// The unit's id.
    pub id: UnitId,
    /// The unit's directory: `stdin` is complete when the job starts, `stdout` exists and is the runner's to append to.
    pub dir: UnitDir,
    /// How far `stdin` is, for a type that begins early.
    pub payload: Payload,
    /// The way to the unit task.
    pub reporter: Reporter,
    /// Cancelled when the job is to be ended: [`Ending::Cancelled`] once all of it is gone.
    pub cancel: CancellationToken,
    /// Cancelled when the daemon leaves: [`Ending::Detached`] at once, the job goes on.
    pub detach: CancellationToken,
}

/// How [`Runner::run`] came back.
#[derive(Debug)]
pub enum Ending {
    /// The job is over and all of its output is in `stdout`.
    Done(State, Detail),
    /// The job was ended by order. With `leftover`, [`WorkKind::discard`] is called until it succeeds.
    Cancelled {
        /// Something outside the unit's directory may still exist.
        leftover: bool,
    },
    /// The runner left the job alone, for a later daemon to find.
    Detached,
}

/// News of a unfinished job. Unset fields stay as they are.
#[derive(Debug, Default)]
pub struct Report {
    /// Pending or Running; ends are told by [`Ending`].
    pub state: Option<State>,
    /// The new detail.
    pub detail: Option<Detail>,
    /// The new `ExtraData`.
    pub extra_data: Option<Value>,
    /// What became of an order to cancel that does not end the job by itself.
    pub cancel: Option<CancelOutcome>,
}

/// What became of the order to cancel a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// Carried out, or nothing was left to do.
    Cancelled,
    /// The node that runs the unit cannot be reached now; it is tried again.
    Pending,
    /// That node has refused it.
    Refused(RemoteError),
}

/// A report, and who waits for it to be on disk. Boxed: an empty channel has room for 32 of them.
pub(crate) type Told = Box<(Report, oneshot::Sender<()>)>;

/// The runner's way to the unit task.
#[derive(Clone)]
pub struct Reporter {
    news: mpsc::Sender<Told>,
}

impl Reporter {
    /// Reports waiting at once; a runner has one task, so a second one is slack only.
    pub(crate) const QUEUE: usize = 2;

    pub(crate) fn channel() -> (Self, mpsc::Receiver<Told>) {
        let (news, inbox) = mpsc::channel(Self::QUEUE);
        (Self { news }, inbox)
    }

    /// Hands over news and returns once they are on disk. News of a unit that has ended meanwhile are dropped.
    pub async fn report(&self, report: Report) {
        let (done, written) = oneshot::channel();
        if self.news.send(Box::new((report, done))).await.is_ok() {
            let _ = written.await;
        }
    }
}

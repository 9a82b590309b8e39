//! From a pod that exists to a worker that is over: three things at once, the pod's states, stdin, and the log.
//!
//! | File | Holds |
//! |---|---|
//! | `watching` | the pod's states: what the others have to know, and the detail's words while it waits |
//! | `stdin` | attach after attach, until the payload was handed over or cannot be |

mod stdin;
mod watching;

use tokio::sync::watch;
use worknode_protocol::unit::Detail;

use super::{
    Cluster,
    attach::{Payload, Target},
    client::Api,
    follower::{Stage, Worker},
    logs::{Log, LogError},
    outcome::{End, Judge},
    output::Output,
    position::Gap,
    record::{Journal, Record, Step},
    shim::{self, Shim},
    view::Pod,
};
use crate::runner::UnitContext;

/// A unit whose pod exists.
pub(crate) struct Following<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) api: &'a Api,
    pub(crate) unit: &'a UnitContext,
    /// The pod as it was last seen.
    pub(crate) pod: &'a Pod,
    pub(crate) payload: Payload,
}

/// The unit's `stdout`, by what it is written from.
#[derive(Debug)]
pub(crate) enum Stdout {
    /// The container's log.
    Log(Output),
    /// What the helper in the pod keeps.
    Shim(shim::Stdout),
}

impl Stdout {
    /// True if nothing was ever written.
    pub(crate) async fn is_empty(&mut self) -> bool {
        self.settle().await.is_ok()
            && match self {
                Self::Log(output) => output.length() == 0,
                Self::Shim(stdout) => stdout.length() == 0,
            }
    }

    /// Returns when no write is under way.
    pub(crate) async fn settle(&mut self) -> std::io::Result<()> {
        match self {
            Self::Log(output) => output.settle().await,
            Self::Shim(stdout) => stdout.settle().await,
        }
    }
}

/// A worker that is over, with all of its output on disk.
#[derive(Debug)]
pub(crate) struct Followed {
    /// How it ended.
    pub(crate) end: End,
    /// It was seen running.
    pub(crate) ran: bool,
    /// Containers of the pod.
    pub(crate) containers: usize,
    /// The cluster's node.
    node: String,
    /// What rotation took of the output.
    gaps: Vec<Gap>,
    /// Where the output ends that the helper could not hand over all of.
    cut: Option<u64>,
    /// The log did not agree with the output that was there.
    pub(crate) differs: bool,
}

/// Why a unit failed although its worker may go on.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) detail: Detail,
    /// The pod is to go: nothing good can come of it.
    pub(crate) delete: bool,
    /// The worker has got nothing of its payload: another pod may be tried in its place.
    pub(crate) unread: bool,
}

impl Failure {
    fn new(detail: Detail, delete: bool) -> Self {
        Self { detail, delete, unread: false }
    }
}

/// What the watcher saw.
struct Seen {
    end: End,
    ran: bool,
    containers: usize,
    node: String,
}

impl Followed {
    /// Writes the end down.
    pub(crate) fn note(&self, record: &mut Record) {
        record.ran = self.ran;
        record.node.clone_from(&self.node);
        record.gaps.extend_from_slice(&self.gaps);
        record.output_cut = self.cut;
        record.set_end(&self.end);
    }
}

impl Following<'_> {
    /// Follows the worker to its end.
    pub(crate) async fn to_the_end(&self, journal: &mut Journal, stdout: &mut Stdout) -> Result<Followed, Failure> {
        let (stage, stages) = watch::channel(Stage::Waiting);
        let (worker, seen) = watch::channel(Worker::default());
        let judge = Judge::new(journal.record().step >= Step::SendingStdin);
        let deadline = watching::pending_deadline(journal.record());
        let watching = self.watch(judge, deadline, stage, worker);
        let (seen, gaps, cut, differs) = match stdout {
            Stdout::Log(output) => {
                let log = Log {
                    api: self.api,
                    namespace: &self.pod.metadata.namespace,
                    pod: &self.pod.metadata.name,
                    patience: self.cluster.patience(),
                };
                let followed = tokio::try_join!(watching, self.send_stdin(journal, stages), async {
                    log.follow(output, seen).await.map_err(|fault| self.log_failure(fault))
                },);
                let (seen, (), gaps) = followed?;
                (seen, gaps, None, output.differs())
            }
            Stdout::Shim(stdout) => {
                let (seen, ()) = tokio::try_join!(watching, self.through_shim(journal, stdout, stages))?;
                let cut = journal.record().job_code.is_none().then(|| stdout.length());
                (seen, Vec::new(), cut, false)
            }
        };
        let Seen { end, ran, containers, node } = seen;
        Ok(Followed { end, ran, containers, node, gaps, cut, differs })
    }

    async fn through_shim(
        &self,
        journal: &mut Journal,
        stdout: &mut shim::Stdout,
        stages: watch::Receiver<Stage>,
    ) -> Result<(), Failure> {
        let shim = Shim {
            target: self.target(true),
            payload: &self.payload,
            patience: self.cluster.patience(),
            reporter: &self.unit.reporter,
        };
        match shim.follow(journal, stdout, stages).await {
            Ok(()) => Ok(()),
            Err(shim::Fault::Attach { fault, begun }) => {
                let failure = self.stdin_failure(journal, fault).await;
                Err(Failure { unread: !begun, ..failure })
            }
            Err(shim::Fault::NotReceived) => {
                let words = "the shim could not be received or run: it takes sh, head and chmod in the worker's image, \
                             and a node of the daemon's kind of processor";
                let words = words.to_owned();
                Err(Failure::new(Detail::ErrorStreamingStdin { pod: self.path(), message: words }, true))
            }
            Err(shim::Fault::Lost(at)) => Err(Failure::new(Detail::OutputCut(at), true)),
            Err(shim::Fault::Output(fault)) => Err(Failure::new(Detail::PodStdout(fault.to_string()), false)),
            Err(shim::Fault::Payload(fault)) => Err(Failure::new(Detail::ErrorReadingStdin(fault.to_string()), true)),
            Err(shim::Fault::Record(fault)) => Err(not_noted(&fault)),
        }
    }

    fn target(&self, output: bool) -> Target<'_> {
        let metadata = &self.pod.metadata;
        Target { api: self.api, namespace: &metadata.namespace, pod: &metadata.name, output }
    }

    fn path(&self) -> String {
        self.pod.path()
    }

    fn log_failure(&self, fault: LogError) -> Failure {
        let detail = match fault {
            LogError::Api(fault) => Detail::ErrorOpeningLogStream { pod: self.path(), message: fault.to_string() },
            LogError::Output(fault) => Detail::PodStdout(fault.to_string()),
        };
        Failure::new(detail, false)
    }
}

async fn note(journal: &mut Journal, change: impl FnOnce(&mut Record)) -> Result<(), Failure> {
    journal.note(change).await.map_err(|fault| not_noted(&fault))
}

fn not_noted(fault: &std::io::Error) -> Failure {
    Failure::new(Detail::Internal(format!("{}: {fault}", super::record::FILE)), true)
}

//! The life of one container of a pod: image, start, end, and perhaps again.
//!
//! A slot is one task. It tells the pod's task what there is to be seen, and ends when its container is over for good.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as Spec, Pod};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::container::{Container, End};
use super::image::{Lookup, look_up};
use super::program::Source;
use super::status::{State, Terminated};
use super::{PodHandle, events};
use crate::cluster::Cluster;
use crate::options::Image;

/// The longest pause between two restarts, as a multiple of the first.
const RESTART_FACTOR_LIMIT: u32 = 30;

/// News of one slot.
#[derive(Debug)]
pub(super) struct Report {
    /// Which slot.
    pub(super) name: String,
    pub(super) state: State,
    pub(super) last: Option<Terminated>,
    pub(super) restarts: u32,
}

pub(super) struct Slot {
    pub(super) cluster: Arc<Cluster>,
    pub(super) pod: Arc<Pod>,
    pub(super) handle: Arc<PodHandle>,
    pub(super) spec: Spec,
    /// Holds the logs, one file per run, and the scratch directory.
    pub(super) directory: PathBuf,
    /// Whether the container is to run again after this exit code.
    pub(super) restarts_after: fn(i32) -> bool,
    pub(super) reports: mpsc::Sender<Report>,
    /// The pod is going: nothing new is started.
    pub(super) stop: CancellationToken,
    /// Its time is over: nothing may run any more.
    pub(super) kill: CancellationToken,
}

impl Slot {
    pub(super) async fn run(self) {
        let (mut last, mut restarts) = (None, 0_u32);
        while let Some(image) = self.image(&last, restarts).await {
            let Some(end) = self.run_once(&image, &last, restarts).await else { return };
            let again = (self.restarts_after)(end.exit_code) && !self.stop.is_cancelled();
            self.report(State::Terminated(end.clone()), last.take(), restarts).await;
            if !again {
                return;
            }
            let factor = 1_u32.checked_shl(restarts).unwrap_or(u32::MAX).min(RESTART_FACTOR_LIMIT);
            let pause = self.cluster.options.timing.restart.saturating_mul(factor);
            if restarts > 0 {
                let message = format!(
                    "back-off {}s restarting failed container={} pod={}",
                    pause.as_secs(),
                    self.spec.name,
                    self.handle.key.name
                );
                let state = State::Waiting { reason: "CrashLoopBackOff", message: Some(message) };
                self.report(state, Some(end.clone()), restarts).await;
                if !self.pause(pause).await {
                    return;
                }
            }
            last = Some(end);
            restarts = restarts.saturating_add(1);
        }
    }

    async fn report(&self, state: State, last: Option<Terminated>, restarts: u32) {
        // The pod's task is gone only when the pod is.
        let _ = self.reports.send(Report { name: self.spec.name.clone(), state, last, restarts }).await;
    }

    async fn report_waiting(&self, reason: &'static str, message: &str, last: &Option<Terminated>, restarts: u32) {
        let state = State::Waiting { reason, message: Some(message.to_owned()) };
        self.report(state, last.clone(), restarts).await;
    }

    /// False: the pod is going.
    async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(time) => true,
        }
    }

    /// Waits until the image can be had, which may be never. `None`: the pod is going.
    async fn image(&self, last: &Option<Terminated>, restarts: u32) -> Option<Image> {
        let name = self.spec.image.as_deref().unwrap_or("");
        let retry = self.cluster.options.timing.pull_retry;
        loop {
            match look_up(&self.cluster.options.images, name, self.spec.image_pull_policy.as_deref()) {
                Lookup::Found(image) => return Some(image.clone()),
                Lookup::Invalid(message) => {
                    self.report_waiting("InvalidImageName", &message, last, restarts).await;
                    events::warn(&self.cluster, &self.pod, "InspectFailed", &message);
                    self.stop.cancelled().await;
                    return None;
                }
                Lookup::NeverPull(message) => {
                    self.report_waiting("ErrImageNeverPull", &message, last, restarts).await;
                    self.stop.cancelled().await;
                    return None;
                }
                Lookup::Missing(message) => {
                    self.report_waiting("ErrImagePull", &message, last, restarts).await;
                    events::warn(
                        &self.cluster,
                        &self.pod,
                        "Failed",
                        &format!("Failed to pull image \"{name}\": {message}"),
                    );
                    if !self.pause(retry / 2).await {
                        return None;
                    }
                    let message = format!("Back-off pulling image \"{name}\": ErrImagePull: {message}");
                    self.report_waiting("ImagePullBackOff", &message, last, restarts).await;
                    if !self.pause(retry / 2).await {
                        return None;
                    }
                }
            }
        }
    }

    /// One run from start to end, as it is seen. `None`: the pod is going and nothing was started.
    async fn run_once(&self, image: &Image, last: &Option<Terminated>, restarts: u32) -> Option<Terminated> {
        let container = match self.start(image, last, restarts).await? {
            Ok(container) => container,
            Err(error) => return Some(self.start_error(&error)),
        };
        let observe = self.cluster.options.timing.observe;
        // Ended before anyone looked: never seen running. Without a delay every start is seen.
        let unseen = !observe.is_zero() && tokio::time::timeout(observe, container.ended()).await.is_ok();
        if !unseen {
            let state = State::Running { started: container.started, id: container.id.clone() };
            self.report(state, last.clone(), restarts).await;
        }
        let end = container.ended().await;
        if !unseen {
            tokio::time::sleep(observe).await;
        }
        Some(terminated(&container, end))
    }

    /// Starts the container once its configuration can be put together. `None`: the pod is going.
    async fn start(
        &self,
        image: &Image,
        last: &Option<Terminated>,
        restarts: u32,
    ) -> Option<io::Result<Arc<Container>>> {
        let scratch = self.directory.join("scratch");
        if let Err(error) = std::fs::create_dir_all(&scratch) {
            return Some(Err(error));
        }
        let uid = self.pod.metadata.uid.as_deref().unwrap_or_default();
        let volumes = self.cluster.pod_directory(uid).join("volumes");
        let source = Source {
            store: &self.cluster.store,
            pod: &self.pod,
            container: &self.spec,
            image,
            directory: &scratch,
            volumes: &volumes,
            mark: &self.cluster.mark,
        };
        let program = loop {
            match source.program() {
                Ok(program) => break program,
                Err(message) => self.report_waiting("CreateContainerConfigError", &message, last, restarts).await,
            }
            if !self.pause(self.cluster.options.timing.pull_retry).await {
                return None;
            }
        };
        if self.stop.is_cancelled() {
            return None;
        }
        let once = self.spec.stdin_once.unwrap_or(false);
        let log = self.directory.join(format!("{restarts}.log"));
        let started = Container::start(program, once, &log, &self.cluster.tasks).await;
        if let Ok(container) = &started {
            self.handle.set_current(&self.spec.name, Arc::clone(container));
            // Whoever ended the pod meanwhile may not have seen this container.
            if self.kill.is_cancelled() {
                container.kill();
            } else if self.stop.is_cancelled() {
                container.terminate();
            }
        }
        Some(started)
    }

    /// What the runtime says of a command that cannot be run.
    fn start_error(&self, error: &io::Error) -> Terminated {
        let words = self.spec.command.iter().flatten().chain(self.spec.args.iter().flatten());
        let program = words.into_iter().next().map_or("sh", String::as_str);
        let why = match error.kind() {
            io::ErrorKind::NotFound if program.contains('/') => "no such file or directory".to_owned(),
            io::ErrorKind::NotFound => "executable file not found in $PATH".to_owned(),
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => error.to_string(),
        };
        let text = if program.contains('/') { format!("stat {program}: {why}") } else { why };
        Terminated {
            exit_code: 128,
            reason: "StartError",
            message: Some(format!(
                "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"{program}\": {text}: unknown"
            )),
            started: Timestamp::UNIX_EPOCH,
            finished: Timestamp::now(),
            id: format!("containerd://{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>()),
        }
    }
}

fn terminated(container: &Container, end: End) -> Terminated {
    let reason = match end {
        End { out_of_memory: true, .. } => "OOMKilled",
        End { exit_code: 0, .. } => "Completed",
        End { .. } => "Error",
    };
    Terminated {
        exit_code: end.exit_code,
        reason,
        message: None,
        started: container.started,
        finished: end.finished,
        id: container.id.clone(),
    }
}

//! What can be chosen before a simulator starts.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a [`PodSim`](crate::PodSim) is set up. The default is fast, quiet and faultless.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory for kubeconfigs, container logs and scratch directories; made if absent and left in place
    /// afterwards. `None`: a temporary one that goes with the simulator.
    pub dir: Option<PathBuf>,
    /// TCP port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// How long a pod stays in each state.
    pub timing: Timing,
    /// Images that can be pulled, as they are written in a pod, and what a container of theirs runs without a command.
    pub images: Vec<Image>,
    /// Rotation of container logs as the kubelet does it; `None`: a log is one file for ever.
    pub log_rotation: Option<LogRotation>,
    /// Changes kept for watches that start in the past; an older resource version is answered with 410.
    pub history: usize,
    /// Serve faults and requests on the Unix socket [`ADMIN_SOCKET`](crate::ADMIN_SOCKET) in the directory.
    pub admin_socket: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dir: None,
            port: 0,
            timing: Timing::default(),
            images: ["busybox", "busybox:1", "busybox:latest"].map(|name| Image::new(name, &["sh"])).to_vec(),
            log_rotation: None,
            history: 4096,
            admin_socket: false,
        }
    }
}

/// An image that the simulated registry has. Its name decides nothing but whether it can be pulled, and what runs
/// in a container that gives no command: the process always sees the machine's own files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// As in `spec.containers[].image`.
    pub name: String,
    /// Runs where a container has neither `command` nor `args`.
    pub command: Vec<String>,
}

impl Image {
    /// An image with the given default command.
    pub fn new(name: &str, command: &[&str]) -> Self {
        Self { name: name.to_owned(), command: command.iter().map(|&word| word.to_owned()).collect() }
    }
}

/// Delays between what happens and what the API says about it (kubernetes-streams 6). All are lower bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timing {
    /// From creation to `PodScheduled`.
    pub schedule: Duration,
    /// From `PodScheduled` to the first container's start; until then `ContainerCreating`.
    pub create: Duration,
    /// From a container's start, or end, to the status that says so.
    pub observe: Duration,
    /// From a status with all containers `terminated` to the phase `Succeeded` or `Failed`.
    pub phase: Duration,
    /// From a container's end to the end of a followed log.
    pub log_end: Duration,
    /// From one attempt to pull a missing image to the next; the first half of it is `ErrImagePull`.
    pub pull_retry: Duration,
    /// Between two restarts of a container, doubled each time up to ten times this.
    pub restart: Duration,
    /// From a pod's last container's end, when it is being deleted, to the `DELETED` event.
    pub removal: Duration,
    /// From a deletion with grace 0, which takes the object away at once, to the end of its processes.
    pub force_grace: Duration,
    /// Between two bookmarks of a watch that asked for them.
    pub bookmark: Duration,
}

impl Default for Timing {
    /// Every step is there, none takes time.
    fn default() -> Self {
        Self {
            schedule: Duration::ZERO,
            create: Duration::ZERO,
            observe: Duration::ZERO,
            phase: Duration::ZERO,
            log_end: Duration::ZERO,
            pull_retry: Duration::from_millis(200),
            restart: Duration::from_millis(50),
            removal: Duration::ZERO,
            force_grace: Duration::ZERO,
            bookmark: Duration::from_secs(60),
        }
    }
}

impl Timing {
    /// The times seen on a real one-node cluster (kubernetes-streams 4.4 and 6).
    pub fn like_a_cluster() -> Self {
        Self {
            schedule: Duration::from_millis(30),
            create: Duration::from_millis(900),
            observe: Duration::from_millis(300),
            phase: Duration::from_millis(1100),
            log_end: Duration::from_secs(1),
            pull_retry: Duration::from_secs(26),
            restart: Duration::from_secs(10),
            removal: Duration::from_millis(700),
            force_grace: Duration::from_secs(2),
            bookmark: Duration::from_secs(60),
        }
    }
}

/// When and how logs are rotated (kubernetes-streams 4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRotation {
    /// A log file larger than this is put aside.
    pub limit_bytes: u64,
    /// Files kept per container, the current one included. Only the current one can be read by the API.
    pub files: usize,
    /// Time between two looks at the sizes.
    pub interval: Duration,
}

impl LogRotation {
    /// The kubelet's own setting: 10 MiB, 5 files, looked at every 10 s.
    pub fn kubelet_default() -> Self {
        Self { limit_bytes: 10 * 1024 * 1024, files: 5, interval: Duration::from_secs(10) }
    }
}

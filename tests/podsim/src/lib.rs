//! A small Kubernetes API on loopback that runs each container as a local process, with faults on demand.
//!
//! It stands in for a cluster where there is none: TLS, bearer tokens, pods that are created, watched, attached to,
//! read by log and deleted, with the timelines, texts and weaknesses of the real thing, as a reference taken from a
//! real cluster describes them ("kubernetes-streams" in the comments). Where the two differ, podsim is wrong; the
//! suite in `tests/contract.rs` runs against both.
//!
//! What cannot be the same, because a process is no container: it sees this machine's files and users, its first
//! process can kill itself with SIGKILL, volumes are not mounted, and memory limits are a [`Fault`].
//!
//! ```no_run
//! use worknode_podsim::{Fault, Options, PodSim, Use, Which};
//!
//! let sim = PodSim::start(Options::default())?;
//! println!("KUBECONFIG={}", sim.kubeconfig_path().display());
//! sim.faults().inject(Fault::Cut(Which::of(Use::Log)))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod accounts;
mod admin;
mod api;
mod cluster;
mod connect_proxy;
mod connections;
mod control;
mod faults;
mod kubeconfig;
mod kubelet;
mod log;
mod options;
mod pki;
mod pods;
mod refusal;
mod requests;
mod resource;
mod selector;
mod server;
mod sim;
mod store;
mod wire;

pub use accounts::Rule;
pub use admin::{ADMIN_SOCKET, ask};
pub use connect_proxy::{ConnectProxy, Tunnel};
pub use connections::{Use, Which};
pub use control::{FaultError, Faults};
pub use faults::{Effect, Fault, Matching, Trap};
pub use options::{Image, LogRotation, Options, Timing};
pub use pods::{NotInTime, Pods};
pub use requests::{Request, Requests};
pub use sim::{PodSim, StartError};

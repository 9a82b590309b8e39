//! Units that run as pods, without the rest of the daemon: on the simulator always, and on the cluster that
//! `WORKNODE_KUBECONFIG` names. What a real cluster cannot be made to do on demand runs on the simulator alone.

mod attached;
mod contract;
mod credentials;
mod faults;
pub(super) mod harness;
mod outages;
mod restart;
mod roles;
mod shared_watch;
mod stdin;
mod tcp;
mod waiting;

//! The work node daemon: accepts work over a control socket and runs it as commands or pods.
//!
//! `docs/architecture.md` follows one job through the rooms.

pub mod backends;
pub mod certs;
pub mod control;
pub mod host;
pub mod logging;
pub mod node;
pub mod readiness;
pub mod runner;
pub mod service;
pub mod service_manager;
pub mod shutdown;
pub mod work;

/// The version of this program, as `status` shows it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

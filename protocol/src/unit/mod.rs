//! Work units: states, status documents, detail texts.
//!
//! Everything here is a value: what stands in a unit's `status` file, what `work status` answers, and the words in
//! between. Who writes which file when is the daemon's affair.

mod detail;
mod extra;
mod state;
mod status;
mod system;

pub use detail::{Detail, PodProblem, RestartProblem};
pub use extra::{CommandExtra, KubernetesExtra, RemoteExtra, UNKNOWN_WORK_TYPE};
pub use state::State;
pub use status::{Status, StatusAnswer, StatusError};
pub use system::{errno_text, signal_name};

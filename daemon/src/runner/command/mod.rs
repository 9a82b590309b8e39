//! Work on this machine: each job runs below a small keeper process that outlives the daemon.
//!
//! [`CommandKind`] is one configured work type, [`job`] follows one unit of it,
//! [`cancel`] ends it by order. [`keepers`] is the way from the daemon to
//! the processes of [`keeper`], [`launch`] what is said on it. A keeper writes down who it is and how its job ended in a
//! [`record`]. [`strays`] ends jobs without a keeper, [`receptor`] finds those of Go receptor.

mod cancel;
mod handle;
mod job;
pub mod keeper;
mod keepers;
mod kind;
mod launch;
mod process;
mod receptor;
mod record;
mod strays;

pub use job::CommandHost;
pub use kind::{CommandKind, CommandKindError};

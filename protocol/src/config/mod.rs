//! Configuration: three dialects, one checked [`model::NodeConfig`].
//!
//! ```text
//! command line ─┐
//! v1 file ──────┼─▶ Item (action + converted parameters) ─▶ build: checks in receptor's order ─▶ NodeConfig
//! v2 file ──────┘          ▲
//!                     schema: the one table
//! ```
//!
//! [`load`] is the entry. It reads through [`Host`] and changes nothing; the first problem in receptor's order becomes
//! the start-up error, all of them the report of the check mode.

mod build;
mod command_line;
pub mod error;
mod help;
mod host;
mod item;
pub mod model;
mod not_built;
pub mod reload;
mod report;
pub mod schema;
mod setting;
mod settings;
mod startup;
mod v1;
mod v2;

pub use error::{ConfigError, Problem};
pub use host::Host;
pub use not_built::{Gap, NOT_BUILT};
pub use report::CheckReport;
pub use startup::{DEFAULT_FILES, Start, StartError, Startup, load};

#[cfg(test)]
mod tests;

//! Command units with real keepers and real jobs (control-protocol 4.3 to 4.5, work-types 3).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, unreachable_pub, reason = "nobody reads the documentation of tests")]

mod cancelling;
mod endings;
mod kills;
mod node;
mod receptor;
mod settings;
mod survival;

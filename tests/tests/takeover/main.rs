//! A data directory of the Go daemon is taken over in place, whatever its units are doing; and the way back.
#![allow(clippy::indexing_slicing, reason = "a missing member fails the test, as it should")]

mod commands;
mod kubernetes;
mod live;
mod remote;
mod upgrade;

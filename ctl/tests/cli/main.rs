//! `ctl` run as a process against a scripted node: what it sends, what it prints, how it ends.
//!
//! A test scripts the connections that `ctl` is to make, in order, and then looks at the outcome. A connection that is
//! not made, or a byte that is not sent as scripted, fails the test.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod connection;
mod fake_node;
mod help;
mod node_verbs;
mod output;
mod results;
mod submit;
mod terminal;
mod units;
mod waiting;

//! The clients that people use, unchanged from PyPI, and `ctl` beside them.
#![allow(clippy::indexing_slicing, reason = "a missing member fails the test, as it should")]
#![allow(clippy::print_stdout, reason = "figures for who asks for them with --nocapture")]

mod console;
mod controller;
mod runner;
mod transfer;

//! Harness for the black-box tests and the benchmark of worknode.
//!
//! A test builds its world with [`Harness`], which writes a configuration file into a directory of its own, starts the
//! daemon as a process and hands back a [`Node`]. The test then speaks to it in raw bytes ([`Session`]), in transcripts
//! quoted from the reference ([`transcript`]), or in whole units of work (the methods of [`Node`] in [`work`]). All waits
//! are on events and end at a deadline; everything a node has started is gone when the [`Node`] is dropped.
//!
//! The same harness starts the Go daemon, because it speaks the same protocol: [`Program::receptor`].

pub mod binaries;
pub mod certificates;
pub mod cluster;
mod config;
pub mod console;
mod harness;
pub mod manual;
pub mod mesh;
mod node;
pub mod process;
pub mod python;
mod session;
pub mod transcript;

pub mod wait;
pub mod work;

pub use binaries::{Kind, Program};
pub use harness::Harness;
pub use node::Node;
pub use session::Session;
pub use work::{State, UnitStatus};

/// Says on the terminal why something has not been tested, once for each reason. (Written directly, for the test runner
/// hides what `eprintln!` writes in a test that passes.)
pub fn skipped(reason: impl std::fmt::Display) {
    use std::io::Write as _;
    use std::sync::Mutex;

    static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let reason = reason.to_string();
    let Ok(mut said) = SAID.lock() else { return };
    if !said.contains(&reason) {
        let _ = writeln!(std::io::stderr(), "skipped: {reason}");
        said.push(reason);
    }
}

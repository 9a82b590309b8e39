//! Whole meshes: several nodes in one process, each with a mesh of its own, over real sockets; and real Go nodes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "what goes wrong here fails a test"
)]

mod chain;
mod go;
mod hostile;
mod interop;
mod nodes;
mod pair;
mod pki;
mod tls;

//! Units on another node that does as it is told here: nodes of receptor with their bad days, and strangers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what goes wrong here fails a test"
)]

mod hostile;
mod once;
mod world;

//! Routers against messages as receptor sends them, and against each other.

mod advertisements;
mod establishment;
mod support;
mod updates;

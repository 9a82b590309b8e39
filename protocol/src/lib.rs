//! Types, parsing and wire texts of worknode. Nothing in this crate does I/O.
//!
//! | Module | Holds |
//! |---|---|
//! | [`config`] | the three configuration dialects, all ending in one checked [`config::model::NodeConfig`] |
//! | [`control`] | the control protocol: requests, answers, error texts, the client's half of the dialogue |
//! | [`duration`] | Go duration texts (`1h20m`, `321.399µs`) |
//! | [`id`] | node and unit identifiers, checked on entry |
//! | [`json`] | the JSON writer with the wire's key order and escapes |
//! | [`mesh`] | messages of the mesh: data header, routing updates, advertisements, notices |
//! | [`quote`] | quoting as Go prints it, for error texts |
//! | [`shell`] | splitting of command parameters like a shell |
//! | [`mod@unit`] | states, status documents and detail texts of work units |
//! | [`yaml`] | the one place that reads YAML |
pub mod config;
pub mod control;
pub mod duration;
pub mod id;
pub mod json;
pub mod mesh;
pub mod quote;
pub mod shell;
pub mod unit;
pub mod yaml;

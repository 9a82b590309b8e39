//! Any bytes as what the peers of a node do: links that come and go, messages in any order, time that passes.
//!
//! The router is pure. It is taken in by path, with the script that its property test plays, so that nothing else of
//! the mesh is instrumented for it.
#![no_main]

#[allow(dead_code, unreachable_pub, unused_imports, reason = "the mesh uses more of it")]
#[path = "../../mesh/src/router/mod.rs"]
mod router;
#[path = "../../mesh/src/router/tests/script.rs"]
mod script;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| script::play(input));

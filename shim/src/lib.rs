//! The shim: a small program in the pod that stands between a job and the streams of its container.
//!
//! It runs the job's command, keeps what the job writes until the daemon has it on disk, and says how much of the payload
//! the job was given. Both directions go through one attach, in lines that survive a torn one; an attach that broke is
//! followed by another, and both sides go on where they had agreed to be.
//!
//! | Module | Holds |
//! |---|---|
//! | [`wire`] | frames to and from lines |
//! | [`relay`] | the shim's half of the conversation |
//! | [`client`] | the daemon's half |
//! | [`crc`] | the checksum of frames and of the program itself |
//!
//! None of these do I/O. The program (`main.rs`) does, with the standard library alone: it is compiled without cargo.

pub mod client;
pub mod crc;
pub mod relay;
pub mod wire;

//! TLS of backends and of streams: named settings as rustls configurations, receptor names, pins (mesh-protocol 1.4,
//! 1.5, 7.4). One stack for the whole node: rustls with ring.
//!
//! A configuration is made for one connection. That is cheap, and it is what lets a new certificate be used without a
//! restart, and the node at the other end of a stream be checked within the handshake.

mod client;
mod fault;
mod files;
mod insecure;
mod named;
mod names;
mod rules;
mod server;
#[cfg(test)]
mod tests;
mod watched;

pub use client::Client;
pub use fault::TlsError;
pub use insecure::{INSECURE_COMMON_NAME, insecure_client, insecure_server};
pub use named::{DEFAULT, Named, NamedError};
pub use names::{NameFault, RECEPTOR_NAME_OID, certificate_names, receptor_names, receptor_names_in};
pub use rules::Refusal;
pub(crate) use rules::plain;
pub use server::Server;

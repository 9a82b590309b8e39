//! The mesh of nodes, wire-compatible with receptor: links, routes, datagrams, QUIC streams. It knows no work units.

pub mod firewall;
pub mod router;
pub mod tls;

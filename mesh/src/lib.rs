//! The mesh of nodes, wire-compatible with receptor: links, routes, datagrams, QUIC streams. It knows no work units.

pub mod backend;
mod datagram;
mod driver;
pub mod firewall;
mod handle;
mod ping;
mod quic;
pub mod router;
mod session;
pub mod sim;
mod socket;
pub mod tls;

pub use datagram::{Dropped, ListenError};
pub use handle::{Advertised, MeshError, MeshHandle, Settings, start};
pub use ping::Echo;
pub use quic::{Listener, Stream};
pub use socket::{DatagramSocket, Received, SendError};

//! A connection to a control service: finding it, opening it, and the dialogue on it.
//!
//! [`Target`] says where and how; [`Session`] drives the sans-IO client of the protocol crate over a [`Connection`].

mod address;
mod connection;
mod session;
mod tls;

pub(crate) use self::address::{Address, Target};
pub(crate) use self::connection::Connection;
pub(crate) use self::session::{Hop, Received, Results, Session};
pub(crate) use self::tls::{TlsFiles, TlsSettings};

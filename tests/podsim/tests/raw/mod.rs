//! A client of the Kubernetes API that hides nothing of the wire, for the test programs beside it.

#![allow(dead_code)] // Each program uses its own part.

pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod kubeconfig;
pub(crate) mod spdy;
pub(crate) mod websocket;

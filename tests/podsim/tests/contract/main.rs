//! What a client of Kubernetes may rely on, checked on the wire: one suite for podsim, and unchanged for any real
//! cluster. Where they differ, podsim is wrong.
//!
//! Each check runs on a podsim of its own, and once more on the cluster that `WORKNODE_KUBECONFIG` names, in its
//! namespace `default`, with the image `busybox`. `WORKNODE_RESTRICTED_KUBECONFIG` names a kubeconfig for the same
//! cluster with the stock role of an AWX container group. What is not named is skipped, and says so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // A test's way to fail.
#![allow(missing_docs)]

mod attach;
mod deletion;
mod logs;
#[path = "../raw/mod.rs"]
mod raw;
mod refusals;
mod spdy;
mod timelines;
mod watches;

/// Makes two tests of each function that takes a cluster: on podsim, and on the real one.
macro_rules! contract {
    ($($(#[$attribute:meta])* fn $name:ident($cluster:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $(#[$attribute])*
            fn check($cluster: &$crate::raw::cluster::Cluster) $body

            #[test]
            fn podsim() {
                check(&$crate::raw::cluster::Cluster::podsim());
            }

            #[test]
            fn cluster() {
                if let Some(cluster) = $crate::raw::cluster::Cluster::real() {
                    check(&cluster);
                }
            }
        }
    )*};
}

pub(crate) use contract;

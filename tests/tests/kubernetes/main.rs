//! Pods from end to end: the daemon, its control socket and a cluster. Each test runs on a podsim of its own and once more,
//! unchanged, on the real cluster that `WORKNODE_KUBECONFIG` names, in its namespace `default`, with the image `busybox`.
#![allow(clippy::indexing_slicing, reason = "a missing member fails the test, as it should")]

mod access;
mod ends;
mod methods;
mod orphans;
mod outputs;
mod rotation;
mod shim;
mod survival;
mod world;

/// Makes two tests of each function that takes a cluster: on podsim, and on the real one.
macro_rules! on_clusters {
    ($($(#[$attribute:meta])* fn $name:ident($cluster:ident) -> Result<()> $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports, reason = "not every test uses everything")]
            use super::*;

            $(#[$attribute])*
            fn check($cluster: &worknode_tests::cluster::Cluster) -> anyhow::Result<()> $body

            #[test]
            fn podsim() -> anyhow::Result<()> {
                check(&worknode_tests::cluster::Cluster::podsim()?)
            }

            #[test]
            fn cluster() -> anyhow::Result<()> {
                worknode_tests::cluster::Cluster::real()?.map_or(Ok(()), |cluster| check(&cluster))
            }
        }
    )*};
}

pub(crate) use on_clusters;

//! Routers against messages as receptor sends them, against each other, and against anything.

mod advertisements;
mod establishment;
mod script;
mod support;
mod updates;

use proptest::prelude::*;

proptest! {
    #[test]
    fn whatever_peers_do_the_router_keeps_its_promises(bytes in proptest::collection::vec(any::<u8>(), 0..1_500)) {
        script::play(&bytes);
    }
}

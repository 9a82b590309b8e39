//! Payloads that are cut, and pods that take the place of others, on the simulator.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use worknode_podsim::{Effect, Fault, Matching, Trap, Use, Which};

use super::harness::{PATIENCE, Unit, World};

const PAYLOAD: usize = 20_000_000;

fn attach_once(world: &World, effect: Effect) {
    world.sim().faults().set(Trap::once(Matching::new("get", "pods/attach"), effect));
}

/// Returns when the daemon knows that the worker is over: it asks for the rest of the log.
async fn rest_is_asked_for(world: &World) {
    let mut number = world.sim().requests().subscribe();
    let asked = number.wait_for(|_| world.sim().requests().count("get", "pods/log") >= 2);
    assert!(timeout(PATIENCE, asked).await.is_ok(), "{:?}", world.sim().requests().counts());
}

/// The process has read the end of its stdin in the middle of the payload and has ended well; that is known here.
async fn over_before_it_is_told(world: &World) -> Unit {
    attach_once(world, Effect::EndStdinAfter { bytes: 3_000_000 });
    let unit = world.script(&world.kind(""), "cat >/dev/null; exit 0", &vec![b'x'; PAYLOAD]).await;
    rest_is_asked_for(world).await;
    unit
}

async fn was_cut(world: &World, unit: &mut Unit) {
    let end = unit.end().await;
    assert!(end.starts_with("3 stdin was cut at byte ") && end.ends_with(" of 20000000"), "{end}");
    unit.discard().await.unwrap();
    world.sim().pods().until("default", &unit.pod_name(), PATIENCE, |pod| pod.is_none()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_after_its_worker_was_over_was_cut() {
    let world = World::simulated();
    let mut unit = over_before_it_is_told(&world).await;
    world.sim().faults().inject(Fault::Cut(Which::of(Use::Attach))).unwrap();
    was_cut(&world, &mut unit).await;
}

/// The connection to the client never breaks.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_a_word_after_its_worker_was_over_was_cut() {
    let world = World::simulated();
    let mut unit = over_before_it_is_told(&world).await;
    was_cut(&world, &mut unit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_has_read_nothing_makes_room_for_another() {
    let world = World::simulated();
    attach_once(&world, Effect::LoseAnswer);
    let kind = world.kind("stdinretry: 1");
    let mut unit = world.script(&kind, "x=$(cat); [ -n \"$x\" ] && echo $x", b"payload\n").await;
    let first = unit.asked().await;
    assert_eq!(unit.end().await, "2 Finished");
    assert_eq!(unit.stdout(), b"payload\n");
    let record = unit.record();
    assert_ne!(record["name"], first.as_str());
    assert_eq!((record["attempts"].as_u64(), record["retries"].as_u64()), (Some(2), Some(1)));
    world.sim().pods().until("default", &first, PATIENCE, |pod| pod.is_none()).await.unwrap();
    unit.discard().await.unwrap();
}

/// Once is what was asked for.
#[tokio::test(flavor = "multi_thread")]
async fn no_more_pods_are_tried_than_allowed() {
    let world = World::simulated();
    world.sim().faults().set(Trap::times(2, Matching::new("get", "pods/attach"), Effect::LoseAnswer));
    let mut unit = world.script(&world.kind("stdinretry: 1"), "sleep 1; cat", b"payload\n").await;
    assert_eq!(unit.end().await, "3 stdin was cut at byte 0 of 8");
    assert_eq!(world.sim().requests().count("create", "pods"), 2);
    unit.discard().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_may_have_read_is_the_last() {
    let world = World::simulated();
    attach_once(&world, Effect::CutAfter { bytes: 1 });
    let mut unit = world.script(&world.kind("stdinretry: 3"), "cat >/dev/null", b"payload\n").await;
    let end = unit.end().await;
    assert!(end.starts_with("3 stdin was cut at byte "), "{end}");
    assert_eq!(world.sim().requests().count("create", "pods"), 1);
    unit.discard().await.unwrap();
}

/// The API server is away when the first pod is to go, and the daemon is killed then.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_survives_an_outage_and_a_kill() {
    let world = World::simulated();
    attach_once(&world, Effect::LoseAnswer);
    let faults = world.sim().faults();
    let away = faults.set(Trap::always(Matching::new("delete", "pods"), Effect::server_error(503)));
    let mut unit = world.script(&world.kind("stdinretry: 1"), "x=$(cat); [ -n \"$x\" ] && echo $x", b"payload\n").await;
    let first = unit.asked().await;
    let deadline = Instant::now() + PATIENCE;
    while unit.record()["anew"] != true {
        assert!(Instant::now() < deadline, "{}", unit.record());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    unit.kill().await;
    assert_eq!(unit.recover(), None);
    faults.remove(away);
    assert_eq!(unit.end().await, "2 Finished");
    assert_eq!(unit.stdout(), b"payload\n");
    world.sim().pods().until("default", &first, PATIENCE, |pod| pod.is_none()).await.unwrap();
    unit.discard().await.unwrap();
    assert_eq!(world.sim().pods().list().len(), 0);
}

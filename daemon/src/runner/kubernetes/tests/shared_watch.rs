//! One watch for many units, on the simulator.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::Instant;
use worknode_podsim::{Effect, Fault, Matching, Trap, Use, Which};

use super::harness::{PATIENCE, Unit, World};
use crate::runner::kubernetes::{KubernetesKind, pool::CREATIONS, watch::LINGER};

const UNITS: usize = 12;

async fn started(world: &World, kind: &Arc<KubernetesKind>, script: &str) -> Vec<Unit> {
    let mut units = Vec::new();
    for _ in 0..UNITS {
        units.push(world.script(kind, script, b"x\n").await);
    }
    for unit in &mut units {
        unit.told("1 Pod Running").await;
    }
    units
}

async fn finish(units: &mut [Unit]) {
    for unit in units {
        assert_eq!(unit.end().await, "2 Finished");
        assert_eq!(unit.stdout(), b"x\n");
        unit.discard().await.unwrap();
    }
}

fn watches(world: &World) -> u64 {
    world.sim().requests().count("watch", "pods")
}

/// Ends the watches that are open, properly or not, and says how many there were.
fn cut_watches(world: &World) -> usize {
    world.sim().faults().inject(Fault::Cut(Which::of(Use::Watch))).unwrap()
}

/// A script that goes on until the world's directory has a file `go`.
fn waiting(world: &World) -> String {
    format!("cat; while [ ! -e {}/go ]; do sleep 0.05; done", world.directory.path().display())
}

fn go(world: &World) {
    std::fs::write(world.directory.path().join("go"), "").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn units_share_one_watch_and_it_ends_with_them() {
    let world = World::simulated();
    let kind = world.kind("");
    let mut units = started(&world, &kind, &waiting(&world)).await;
    let requests = world.sim().requests();
    assert_eq!((requests.count("list", "pods"), watches(&world)), (1, 1), "{:?}", requests.counts());
    assert_eq!(requests.count("get", "pods"), 0);
    go(&world);
    finish(&mut units).await;
    // A unit that comes soon finds the watch still there.
    finish(&mut [world.script(&kind, "cat", b"x\n").await]).await;
    assert_eq!(watches(&world), 1);
    let deadline = Instant::now() + LINGER + PATIENCE;
    while kind.cluster.pool.watched() > 0 {
        assert!(Instant::now() < deadline, "a watch that nobody needs goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    finish(&mut [world.script(&kind, "cat", b"x\n").await]).await;
    assert_eq!(watches(&world), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_breaks_is_one_request_for_all() {
    let world = World::simulated();
    let mut units = started(&world, &world.kind(""), &waiting(&world)).await;
    assert_eq!(cut_watches(&world), 1);
    go(&world);
    finish(&mut units).await;
    assert!(watches(&world) <= 3, "{}", watches(&world));
    assert_eq!(world.sim().requests().count("get", "pods"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_too_old_is_one_list_for_all() {
    let world = World::simulated();
    let mut units = started(&world, &world.kind(""), &waiting(&world)).await;
    let away = world.sim().faults().set(Trap::always(Matching::new("watch", "pods"), Effect::LoseRequest));
    cut_watches(&world);
    // The pods end and one is deleted while nobody looks.
    let mut lost = units.pop().unwrap();
    let (namespace, pod) = ("default".to_owned(), lost.pod_name());
    world.sim().faults().inject(Fault::DeletePod { namespace, pod, grace_seconds: Some(0) }).unwrap();
    go(&world);
    for unit in &units {
        let over = |pod: Option<&serde_json::Value>| pod.is_some_and(|pod| pod["status"]["phase"] == "Succeeded");
        world.sim().pods().until("default", &unit.pod_name(), PATIENCE, over).await.unwrap();
    }
    world.sim().faults().inject(Fault::ForgetHistory).unwrap();
    world.sim().faults().remove(away);
    finish(&mut units).await;
    // The log may have known it first.
    let end = lost.end().await;
    assert!(end.starts_with("3 Error ") && end.ends_with("not found"), "{end}");
    assert_eq!(world.sim().requests().count("list", "pods"), 2);
    assert!(world.sim().requests().count("get", "pods") <= 1, "only the missing one is asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_says_nothing_is_not_believed() {
    let world = World::simulated();
    let mut units = started(&world, &world.kind(""), &waiting(&world)).await;
    world.sim().faults().inject(Fault::SilenceWatches).unwrap();
    go(&world);
    finish(&mut units).await;
    assert_eq!(world.sim().requests().count("list", "pods"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_late_is_told_what_is() {
    let world = World::simulated();
    let kind = world.kind("");
    let mut units = started(&world, &kind, &waiting(&world)).await;
    let mut late = units.pop().unwrap();
    late.kill().await;
    go(&world);
    let over = |pod: Option<&serde_json::Value>| pod.is_some_and(|pod| pod["status"]["phase"] == "Succeeded");
    world.sim().pods().until("default", &late.pod_name(), PATIENCE, over).await.unwrap();
    assert_eq!(late.recover(), None);
    finish(&mut [late]).await;
    finish(&mut units).await;
    assert_eq!(watches(&world), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_loses_its_label_is_followed_by_name() {
    let world = World::simulated();
    let kind = world.kind("");
    let mut units = started(&world, &kind, &waiting(&world)).await;
    let path = format!("/api/v1/namespaces/default/pods/{}", units[0].pod_name());
    world.patch(&kind, &path, json!({"metadata": {"labels": {"worknode/node": null}}})).await;
    let selector = format!("fieldSelector=metadata.name%3D{}", units[0].pod_name());
    let deadline = Instant::now() + PATIENCE;
    while !world.sim().requests().recent().iter().any(|request| request.target.contains(&selector)) {
        assert!(Instant::now() < deadline, "the pod is not followed by name");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    go(&world);
    finish(&mut units).await;
    assert_eq!(watches(&world), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_list_has_a_watch_for_each_pod() {
    let world = World::simulated();
    world.sim().faults().set(Trap::always(Matching::new("list", "pods"), Effect::Deny));
    let mut units = started(&world, &world.kind(""), &waiting(&world)).await;
    go(&world);
    finish(&mut units).await;
    assert_eq!(watches(&world), UNITS as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_gone_before_the_watch_has_seen_it_is_missed() {
    let world = World::simulated();
    world.sim().faults().set(Trap::once(Matching::new("list", "pods"), Effect::Delay { millis: 1500 }));
    let mut unit = world.script(&world.kind(""), "sleep 1000", b"").await;
    unit.told("0 Pod created").await;
    let (namespace, pod) = ("default".to_owned(), unit.pod_name());
    world.sim().faults().inject(Fault::DeletePod { namespace, pod: pod.clone(), grace_seconds: Some(0) }).unwrap();
    assert_eq!(unit.end().await, format!("3 Error creating pod: pods \"{pod}\" not found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_unit_has_a_patience_of_its_own_and_nobody_hurries() {
    let world = World::simulated();
    let patient = world.kind("");
    let mut units = started(&world, &patient, &waiting(&world)).await;
    // Under the same identity: another work type of the node.
    let mut impatient = world.beside(&patient, "apiretrytimeout: 2s");
    let mut hasty = world.script(&impatient, &waiting(&world), b"x\n").await;
    hasty.told("1 Pod Running").await;
    impatient = world.beside(&patient, "apiretrytimeout: 0s");
    let mut receptors = world.script(&impatient, &waiting(&world), b"x\n").await;
    receptors.told("1 Pod Running").await;
    assert_eq!(watches(&world), 1);
    let trap = Trap::always(Matching::new("watch", "pods"), Effect::server_error(503));
    let away = world.sim().faults().set(trap);
    let begin = Instant::now();
    cut_watches(&world);
    let words = "Error: the server is currently unable to handle the request";
    let end = hasty.end().await;
    assert!(end.starts_with("3 Error getting pod default/") && end.ends_with(words), "{end}");
    assert!(begin.elapsed() >= Duration::from_secs(2), "{:?}", begin.elapsed());
    let end = receptors.end().await;
    assert!(end.ends_with(words), "{end}");
    // The first, four more, and what was there before.
    assert!((5..=9).contains(&watches(&world)), "{}", watches(&world));
    world.sim().faults().remove(away);
    go(&world);
    finish(&mut units).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_ends_at_once_is_no_busy_loop() {
    let world = World::simulated();
    let mut units = started(&world, &world.kind(""), &waiting(&world)).await;
    let trap = Trap::always(Matching::new("watch", "pods"), Effect::CutAfter { bytes: 0 });
    let away = world.sim().faults().set(trap);
    cut_watches(&world);
    let (mut total, begin) = (world.sim().requests().subscribe(), Instant::now());
    while begin.elapsed() < Duration::from_secs(4) {
        let _ = tokio::time::timeout(Duration::from_millis(500), total.changed()).await;
    }
    assert!(watches(&world) <= 9, "{} watches in 4 s", watches(&world));
    world.sim().faults().remove(away);
    go(&world);
    finish(&mut units).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn few_pods_are_asked_for_at_a_time() {
    let world = World::simulated();
    let slow = Trap::always(Matching::new("create", "pods"), Effect::Delay { millis: 1000 });
    let slow = world.sim().faults().set(slow);
    let kind = world.kind("");
    let mut units = Vec::new();
    for _ in 0..CREATIONS + 8 {
        units.push(world.script(&kind, "cat", b"x\n").await);
    }
    let requests = world.sim().requests();
    let mut total = requests.subscribe();
    while requests.count("create", "pods") < CREATIONS as u64 {
        tokio::time::timeout(PATIENCE, total.changed()).await.unwrap().unwrap();
    }
    let more = tokio::time::timeout(
        Duration::from_millis(400),
        total.wait_for(|_| requests.count("create", "pods") > CREATIONS as u64),
    );
    assert!(more.await.is_err(), "{} at once", requests.count("create", "pods"));
    world.sim().faults().remove(slow);
    finish(&mut units).await;
    assert_eq!(requests.count("create", "pods"), CREATIONS as u64 + 8);
}

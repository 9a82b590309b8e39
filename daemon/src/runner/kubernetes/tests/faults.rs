//! What goes wrong between this daemon and its cluster, on the simulator.

use std::time::Duration;

use worknode_podsim::{Effect, Fault, Matching, Options, Timing, Trap, Use, Which};

use super::harness::{PATIENCE, Unit, World};

fn trap(world: &World, verb: &str, resource: &str, times: u64, effect: Effect) {
    world.sim().faults().set(Trap::times(times, Matching::new(verb, resource), effect));
}

fn lines(count: u32) -> String {
    (1..=count).map(|number| format!("line {number}\n")).collect()
}

/// A script that writes `count` lines and takes a while.
fn slow_lines(count: u32) -> String {
    format!(
        "cat; i=1; while [ $i -le {count} ]; do echo line $i; i=$((i+1)); [ $((i % 50)) = 0 ] && sleep 0.02; done; exit 0"
    )
}

async fn finished(unit: &mut Unit, output: &str) {
    assert_eq!(unit.end().await, "2 Finished");
    assert_eq!(String::from_utf8_lossy(&unit.stdout()), output);
    unit.discard().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_the_create_makes_no_second_pod() {
    let world = World::simulated();
    trap(&world, "create", "pods", 2, Effect::LoseAnswer);
    let mut unit = world.script(&world.kind(""), "cat", b"x\n").await;
    finished(&mut unit, "x\n").await;
    assert_eq!(
        world.sim().requests().count("create", "pods"),
        3,
        "two answers are lost, the third says that it exists"
    );
    world.sim().pods().until("default", &unit.pod_name(), PATIENCE, |pod| pod.is_none()).await.unwrap();
    assert_eq!(world.sim().pods().list().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_asked_for_until_the_api_server_can() {
    let world = World::simulated();
    trap(&world, "create", "pods", 1, Effect::server_error(503));
    trap(&world, "create", "pods", 1, Effect::TooManyRequests { retry_after: 1 });
    trap(&world, "create", "pods", 1, Effect::LoseRequest);
    let mut unit = world.script(&world.kind(""), "cat", b"x\n").await;
    finished(&mut unit, "x\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_final_and_verbatim() {
    let world = World::simulated();
    let quota = serde_json::json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "rq"}, "spec": {"hard": {"pods": "0"}}});
    world.make(&world.kind(""), "/api/v1/namespaces/default/resourcequotas", quota).await;
    let mut unit = world.script(&world.kind(""), "cat", b"").await;
    let end = unit.end().await;
    assert!(end.starts_with("3 Error creating pod: pods \"test-"), "{end}");
    assert!(end.contains("exceeded quota: "), "{end}");
    unit.discard().await.unwrap();
    let mut unit = world.submit(&world.kind(""), &[("kube_namespace", "nosuch"), ("kube_image", "busybox")], b"").await;
    assert_eq!(unit.end().await, "3 Error creating pod: namespaces \"nosuch\" not found");
    for (pod, words) in [("{kind: Pod}", "at least one container must be named worker"), ("[", "yaml: line 1: ")] {
        let mut unit = world.submit(&world.kind(""), &[("secret_kube_pod", pod)], b"").await;
        let end = unit.end().await;
        assert!(end.starts_with(&format!("3 Error creating pod: {words}")), "{end}");
        unit.discard().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_impatient_work_type_gives_up() {
    let world = World::simulated();
    world.sim().faults().set(Trap::always(Matching::new("create", "pods"), Effect::server_error(503)));
    let mut unit = world.script(&world.kind("apiretrytimeout: 1s"), "cat", b"").await;
    assert_eq!(unit.end().await, "3 Error creating pod: the server is currently unable to handle the request");
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_that_break_lose_no_state() {
    for effect in
        [Effect::Gone, Effect::CutAfter { bytes: 700 }, Effect::ResetAfter { bytes: 10 }, Effect::server_error(500)]
    {
        let world = World::simulated();
        trap(&world, "watch", "pods", 2, effect);
        let mut unit = world.script(&world.kind(""), "cat", b"x\n").await;
        finished(&mut unit, "x\n").await;
    }
    let world = World::simulated();
    let mut unit = world.script(&world.kind(""), "cat; sleep 1", b"x\n").await;
    unit.told("1 Pod Running").await;
    world.sim().faults().inject(Fault::ForgetHistory).unwrap();
    world.sim().faults().inject(Fault::ExpireWatches).unwrap();
    finished(&mut unit, "x\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_streams_that_break_lose_and_double_nothing() {
    for effect in [
        Effect::CutAfter { bytes: 4321 },
        Effect::ResetAfter { bytes: 3210 },
        Effect::LoseRequest,
        Effect::server_error(500),
    ] {
        let world = World::simulated();
        trap(&world, "get", "pods/log", 4, effect);
        let mut unit = world.script(&world.kind(""), &slow_lines(2000), b"").await;
        finished(&mut unit, &lines(2000)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_away_is_waited_for() {
    for orderly in [false, true] {
        let world = World::simulated();
        let mut unit = world.script(&world.kind(""), &slow_lines(3000), b"").await;
        unit.has_written(2000).await;
        let faults = world.sim().faults();
        faults.inject(Fault::StopApi { orderly }).unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
        faults.inject(Fault::StartApi).unwrap();
        finished(&mut unit, &lines(3000)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_api_server_is_sat_out() {
    let world = World::simulated();
    let mut unit = world.script(&world.kind(""), &slow_lines(2000), b"").await;
    unit.has_written(1000).await;
    world.sim().faults().inject(Fault::freeze(Duration::from_secs(2))).unwrap();
    finished(&mut unit, &lines(2000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_stdin_is_a_failure_whatever_the_exit_code() {
    for effect in [Effect::CutAfter { bytes: 3_000_000 }, Effect::ResetAfter { bytes: 3_000_000 }] {
        let world = World::simulated();
        trap(&world, "get", "pods/attach", 1, effect);
        let payload = vec![b'x'; 20_000_000];
        let mut unit = world.script(&world.kind(""), "cat >/dev/null; exit 0", &payload).await;
        let end = unit.end().await;
        assert!(end.starts_with("3 stdin was cut at byte ") && end.ends_with(" of 20000000"), "{end}");
        assert_eq!(
            world.sim().pods().list().iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).count(),
            0
        );
        unit.discard().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attach_that_did_not_begin_is_tried_again() {
    for effect in [Effect::server_error(503), Effect::TooManyRequests { retry_after: 1 }] {
        let world = World::simulated();
        trap(&world, "get", "pods/attach", 1, effect);
        let mut unit = world.script(&world.kind(""), "cat", b"x\n").await;
        finished(&mut unit, "x\n").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_that_the_cluster_decides() {
    let world = World::simulated();
    let faults = world.sim().faults();
    let running = async || {
        let unit = world.script(&world.kind(""), "cat; trap 'exit 0' TERM; echo on; sleep 60 & wait", b"").await;
        unit.has_written(3).await;
        let pod = unit.pod_name();
        (unit, pod)
    };
    let namespace = || "default".to_owned();

    let (mut unit, pod) = running().await;
    faults.inject(Fault::DeletePod { namespace: namespace(), pod: pod.clone(), grace_seconds: Some(2) }).unwrap();
    assert_eq!(unit.end().await, format!("3 Error getting pod default/{pod}. Error: pods \"{pod}\" not found"));

    let (mut unit, pod) = running().await;
    faults.inject(Fault::DeletePod { namespace: namespace(), pod: pod.clone(), grace_seconds: Some(0) }).unwrap();
    assert_eq!(unit.end().await, format!("3 Error getting pod default/{pod}. Error: pods \"{pod}\" not found"));

    let (mut unit, pod) = running().await;
    faults.inject(Fault::NodePressure { namespace: namespace(), pod: pod.clone() }).unwrap();
    let end = unit.end().await;
    assert!(end.starts_with(&format!("3 Pod default/{pod} evicted: ")), "{end}");

    let (mut unit, pod) = running().await;
    let container = "worker".to_owned();
    faults.inject(Fault::OutOfMemory { namespace: namespace(), pod, container }).unwrap();
    assert_eq!(unit.end().await, "3 exit status 137 (OOMKilled)");
}

/// A unit whose log is put aside while nobody follows it.
async fn rotated_away(world: &World, keys: &str, code: u8) -> Unit {
    let script = format!("cat; seq 1 1000; sleep 1; seq 1001 2000; sleep 1; echo end; exit {code}");
    let unit = world.script(&world.kind(keys), &script, b"").await;
    unit.has_written(3000).await;
    let faults = world.sim().faults();
    let away = faults.set(Trap::always(Matching::new("get", "pods/log"), Effect::LoseRequest));
    faults.inject(Fault::Cut(Which::of(Use::Log))).unwrap();
    tokio::time::sleep(Duration::from_millis(1400)).await;
    faults.inject(Fault::RotateLogs { namespace: "default".into(), pod: unit.pod_name() }).unwrap();
    faults.remove(away);
    unit
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_is_told_where_it_may_have_taken_lines() {
    let world = World::simulated();
    let mut unit = rotated_away(&world, "", 0).await;
    let end = unit.end().await;
    assert!(end.starts_with("2 Output may be incomplete: log rotated between 2"), "{end}");
    let output = String::from_utf8(unit.stdout()).unwrap();
    assert!(output.ends_with("end\n") && output.starts_with("1\n2\n"));
    assert_eq!(unit.record()["gaps"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_unit_fails_where_rotation_may_have_taken_lines() {
    let world = World::simulated();
    let mut unit = rotated_away(&world, "outputguard: fail", 0).await;
    let end = unit.end().await;
    assert!(end.starts_with("3 Output may be incomplete: log rotated between 2"), "{end}");
    // What the job says of itself comes first.
    let mut unit = rotated_away(&world, "", 3).await;
    let end = unit.end().await;
    assert!(end.starts_with("3 exit status 3; Output may be incomplete: log rotated between 2"), "{end}");
}

/// A log that was rotated while its follower was at its end lacks nothing, and nobody says so.
#[tokio::test(flavor = "multi_thread")]
async fn rotation_of_a_log_that_was_read_is_no_gap() {
    let world = World::simulated();
    let mut unit = world.script(&world.kind("outputguard: fail"), "cat; seq 1 9000; sleep 3; seq 9001 9002", b"").await;
    unit.has_written(43_893).await;
    world.sim().faults().inject(Fault::RotateLogs { namespace: "default".into(), pod: unit.pod_name() }).unwrap();
    let output: String = (1..=9002).map(|number| format!("{number}\n")).collect();
    finished(&mut unit, &output).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_while_the_api_server_is_away_leaves_its_pod_to_the_release() {
    let world = World::simulated();
    let mut unit = world.script(&world.kind("graceperiod: 1s"), "cat; sleep 1000", b"").await;
    unit.told("1 Pod Running").await;
    let faults = world.sim().faults();
    faults.inject(Fault::StopApi { orderly: false }).unwrap();
    unit.cancel.cancel();
    assert_eq!(format!("{:?}", unit.ending().await), "Cancelled { leftover: true }");
    assert!(unit.discard().await.is_err());
    faults.inject(Fault::StartApi).unwrap();
    unit.discard().await.unwrap();
    let namespace_is_empty = |pod: Option<&serde_json::Value>| pod.is_none();
    world.sim().pods().until("default", &unit.pod_name(), PATIENCE, namespace_is_empty).await.unwrap();
    assert_eq!(world.sim().pods().running_containers(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_after_a_lost_answer_finds_the_pod() {
    let world = World::simulated();
    trap(&world, "create", "pods", 1, Effect::LoseAnswer);
    let mut unit = world.script(&world.kind("graceperiod: 1s"), "cat; sleep 1000", b"").await;
    let name = unit.asked().await;
    let there = |pod: Option<&serde_json::Value>| pod.is_some();
    world.sim().pods().until("default", &name, PATIENCE, there).await.unwrap();
    unit.cancel.cancel();
    assert_eq!(format!("{:?}", unit.ending().await), "Cancelled { leftover: false }");
    world.sim().pods().until("default", &name, PATIENCE, |pod| pod.is_none()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_before_the_answer_is_not_sure() {
    let world = World::simulated();
    trap(&world, "create", "pods", 1, Effect::Delay { millis: 60_000 });
    let mut unit = world.script(&world.kind(""), "cat; sleep 1000", b"").await;
    unit.asked().await;
    unit.cancel.cancel();
    assert_eq!(format!("{:?}", unit.ending().await), "Cancelled { leftover: true }");
    assert!(unit.discard().await.unwrap_err().ends_with("it may yet be created"));
    // Long after, nothing is left to wait for.
    let record = std::fs::read_to_string(unit.dir.file("worknode.json")).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&record).unwrap();
    record["askedAt"] = 0.into();
    std::fs::write(unit.dir.file("worknode.json"), record.to_string()).unwrap();
    unit.discard().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn few_requests_are_made_for_a_pod() {
    let world = World::simulated();
    let mut unit = world.script(&world.kind(""), "cat; sleep 0.5", b"x\n").await;
    finished(&mut unit, "x\n").await;
    let counts = world.sim().requests().counts();
    // Two of them are for the watch that it would share with others.
    assert!(world.sim().requests().total() <= 7, "{counts:?}");
}

/// Where many logs are followed, small ones come to their own end.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_small_logs_the_rest_is_not_asked_for() {
    const MANY: usize = 48;
    // As a real kubelet ends them.
    let timing = Timing { log_end: Duration::from_secs(1), ..Timing::default() };
    let world = World::simulated_with(Options { timing, ..Options::default() });
    let (kind, gate) = (world.kind(""), world.directory.path().join("gate"));
    let script = format!("cat; while [ ! -e {} ]; do sleep 0.1; done; echo done", gate.display());
    let mut units = Vec::new();
    for _ in 0..MANY {
        units.push(world.script(&kind, &script, b"").await);
    }
    for unit in &mut units {
        unit.told("1 Pod Running").await;
    }
    std::fs::write(gate, "").unwrap();
    for unit in &mut units {
        assert_eq!(unit.end().await, "2 Finished");
        assert_eq!(unit.stdout(), b"done\n");
    }
    // Of the last ones, when they are few, it is.
    let asked = world.sim().requests().count("get", "pods/log");
    assert!((MANY..MANY + MANY / 2).contains(&usize::try_from(asked).unwrap()), "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_decide_when_a_finished_pod_goes() {
    let world = World::simulated();
    for (policy, code, gone) in [
        ("always", 0, true),
        ("always", 3, true),
        ("onsuccess", 0, true),
        ("onsuccess", 3, false),
        ("release", 0, false),
    ] {
        let kind = world.kind(&format!("deletepodpolicy: {policy}"));
        let mut unit = world.script(&kind, &format!("cat; exit {code}"), b"").await;
        unit.end().await;
        assert_eq!(unit.record()["step"] == "deleted", gone, "{policy} {code}");
        unit.discard().await.unwrap();
        assert_eq!(unit.record()["step"], "deleted");
    }
    let mut unit = world.script(&world.kind("deletepodpolicy: never"), "cat", b"").await;
    unit.end().await;
    unit.discard().await.unwrap();
    assert_eq!(unit.record()["step"], "ended");
    assert!(world.sim().pods().get("default", &unit.pod_name()).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_say_whose_a_pod_is() {
    let world = World::simulated();
    let mut unit = world.script(&world.kind("deletepodpolicy: never"), "cat", b"").await;
    unit.end().await;
    let labels = world.sim().pods().get("default", &unit.pod_name()).unwrap()["metadata"]["labels"].clone();
    assert_eq!(
        labels,
        serde_json::json!({"worknode/node": "node-1", "worknode/unit": unit.id.as_str(), "worknode/worktype": "kubeit"})
    );
    let mut unit = world.script(&world.kind("deletepodpolicy: never, labelunits: false"), "cat", b"").await;
    unit.end().await;
    assert!(world.sim().pods().get("default", &unit.pod_name()).unwrap()["metadata"].get("labels").is_none());
}

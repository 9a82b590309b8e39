//! Units that outlive the daemon, on the simulator.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use worknode_podsim::{Effect, Matching, Trap};
use worknode_protocol::unit::State;

use super::harness::{PATIENCE, Unit, World, pod};

/// Writes for about half a second, in bursts.
const SCRIPT: &str =
    "cat; i=1; while [ $i -le 40 ]; do seq $i 500; sleep 0.01; i=$((i+1)); done; printf 'no line feed'";

fn output(payload: &str) -> String {
    let bursts = (1..=40).map(|from| (from..=500).map(|number| format!("{number}\n")).collect::<String>());
    format!("{payload}{}no line feed", bursts.collect::<String>())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_a_unit_goes_on() {
    let world = World::simulated();
    let rounds = std::env::var("WORKNODE_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(30);
    let expected = output("payload\n");
    // A shell that is the first process of its container does not end on SIGTERM.
    let kind = world.kind("graceperiod: 1s");
    for seed in 0..rounds {
        let rng = &mut StdRng::seed_from_u64(seed);
        let mut unit = world.script(&kind, SCRIPT, b"payload\n").await;
        let mut told = None;
        for _ in 0..rng.random_range(1..4) {
            // Most of what can go wrong lies in the first moments.
            let wait = if rng.random() { rng.random_range(0..30_000) } else { rng.random_range(0..600_000) };
            tokio::time::sleep(Duration::from_micros(wait)).await;
            unit.kill().await;
            told = unit.recover();
            if told.is_some() {
                break;
            }
        }
        let end = match told {
            Some(end) => end,
            None => unit.end().await,
        };
        if end == "2 Finished" {
            assert!(unit.stdout() == expected.as_bytes(), "seed {seed}: {} bytes", unit.stdout().len());
        } else {
            assert_eq!(end, "3 stdin was cut at byte 0 of 8", "seed {seed}");
        }
        let pods = world.sim().pods().list();
        let alive = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).count();
        assert!(alive <= 1, "seed {seed}: {alive} pods");
        unit.discard().await.unwrap();
        let name = unit.record()["name"].as_str().unwrap().to_owned();
        world.sim().pods().until("default", &name, PATIENCE, |pod| pod.is_none()).await.unwrap();
    }
    assert_eq!(world.sim().pods().list().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_leaves_lets_the_pod_go_on() {
    let world = World::simulated();
    let mut unit = world.script(&world.kind(""), SCRIPT, b"payload\n").await;
    unit.has_written(20_000).await;
    unit.detach.cancel();
    assert_eq!(format!("{:?}", unit.ending().await), "Detached");
    assert_eq!(unit.found().status.state, State::Running);
    assert_eq!(unit.recover(), None);
    assert_eq!(unit.end().await, "2 Finished");
    assert!(unit.stdout() == output("payload\n").as_bytes());
    assert_eq!(world.sim().requests().count("create", "pods"), 1);
    assert_eq!(world.sim().requests().count("get", "pods/attach"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_asked_for_before_the_kill_is_found() {
    let world = World::simulated();
    for effect in [Effect::Delay { millis: 300 }, Effect::LoseRequest] {
        world.sim().faults().set(Trap::once(Matching::new("create", "pods"), effect));
        let mut unit = world.script(&world.kind(""), "cat", b"x\n").await;
        unit.asked().await;
        unit.kill().await;
        assert_eq!(unit.recover(), None);
        assert_eq!(unit.end().await, "2 Finished");
        assert_eq!(world.sim().pods().list().len(), 1);
        unit.discard().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stdin_under_way_at_the_kill_was_cut() {
    let world = World::simulated();
    let payload = vec![b'x'; 30_000_000];
    let mut unit = world.script(&world.kind(""), "sleep 1; cat >/dev/null; exit 0", &payload).await;
    unit.told("0 Sending stdin to pod").await;
    while unit.record()["stdinSent"] == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        if unit.record()["step"] != "sending-stdin" && unit.record()["step"] != "created" {
            break;
        }
    }
    unit.kill().await;
    assert_eq!(unit.recover(), None);
    let end = unit.end().await;
    assert!(end.starts_with("3 stdin was cut at byte ") && end.ends_with(" of 30000000"), "{end}");
    assert_eq!(unit.record()["step"], "deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_whose_payload_was_not_accepted_cannot_go_on() {
    let world = World::simulated();
    for detail in ["Unit Created", "Waiting for Input Data", "Starting Worker"] {
        let prepared = world.prepare(&world.kind(""), &[("secret_kube_pod", &pod("cat"))], b"half").unwrap();
        let mut unit = prepared.unit;
        set_status(&unit, State::Pending, detail, "");
        let words = "3 Failed to restart: work unit is not in running state, cannot be restarted";
        assert_eq!(unit.recover().as_deref(), Some(words), "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_deleted_while_the_daemon_was_away() {
    let world = World::simulated();
    let mut unit = world.script(&world.kind("graceperiod: 1s"), "cat; echo on; sleep 1000", b"").await;
    unit.has_written(3).await;
    unit.kill().await;
    unit.discard().await.unwrap();
    let name = unit.pod_name();
    world.sim().pods().until("default", &name, PATIENCE, |pod| pod.is_none()).await.unwrap();
    // As if another had deleted it.
    let record = std::fs::read_to_string(unit.dir.file("worknode.json")).unwrap();
    std::fs::write(unit.dir.file("worknode.json"), record.replace("\"deleted\"", "\"stdin-sent\"")).unwrap();
    let params = serde_json::json!({"secret_kube_pod": pod("cat")});
    std::fs::write(unit.dir.file("secrets.json"), params.to_string()).unwrap();
    assert_eq!(unit.recover(), None);
    assert_eq!(unit.end().await, format!("3 Error getting pod default/{name}. Error: pods \"{name}\" not found"));
}

fn set_status(unit: &Unit, state: State, detail: &str, pod_name: &str) {
    let mut status = unit.dir.read_status().unwrap();
    status.state = state;
    status.detail = detail.to_owned();
    status.extra_data["PodName"] = pod_name.into();
    unit.dir.write_status(&status).unwrap();
}

/// Turns a unit into one that receptor left: secrets in the status, none of our files.
fn make_receptors(unit: &Unit, world: &World, definition: &str) {
    let mut status = unit.dir.read_status().unwrap();
    status.extra_data["KubePod"] = definition.into();
    status.extra_data["KubeConfig"] = world.kubeconfig_text().into();
    status.extra_data["KubeNamespace"] = "another".into();
    unit.dir.write_status(&status).unwrap();
    for file in ["worknode.json", "secrets.json", "stdout.position"] {
        let _ = std::fs::remove_file(unit.dir.file(file));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_unit_of_receptor_is_taken_over() {
    let world = World::simulated();
    let definition = pod(SCRIPT).replace("\"generateName\"", "\"namespace\":\"default\",\"generateName\"");
    let mut unit = world.submit(&world.kind(""), &[("secret_kube_pod", &definition)], b"payload\n").await;
    unit.told("1 Pod Running").await;
    unit.has_written(5000).await;
    unit.kill().await;
    make_receptors(&unit, &world, &definition);
    assert_eq!(unit.recover(), None);
    assert_eq!(unit.end().await, "2 Finished");
    assert!(
        unit.stdout() == output("payload\n").as_bytes(),
        "the namespace is the definition's, nothing is written over"
    );
    unit.discard().await.unwrap();
    let name = unit.pod_name();
    world.sim().pods().until("default", &name, PATIENCE, |pod| pod.is_none()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_unit_of_receptor_fails_and_loses_its_pod() {
    let world = World::simulated();
    let definition = pod("cat; sleep 1000").replace("\"generateName\"", "\"namespace\":\"default\",\"generateName\"");
    let mut unit = world.submit(&world.kind("graceperiod: 1s"), &[("secret_kube_pod", &definition)], b"").await;
    unit.told("1 Pod Running").await;
    unit.kill().await;
    make_receptors(&unit, &world, &definition);
    let name = unit.pod_name();
    set_status(&unit, State::Pending, "Pod created", &name);
    assert_eq!(unit.recover(), None);
    assert_eq!(unit.end().await, "3 Failed to restart: work unit is not in running state, cannot be restarted");
    world.sim().pods().until("default", &name, PATIENCE, |pod| pod.is_none()).await.unwrap();
}

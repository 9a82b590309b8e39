//! What a unit says while its pod waits, on the simulator.

use worknode_podsim::{Effect, Matching, Trap};

use super::harness::{World, pod};

fn with(script: &str, change: impl FnOnce(&mut serde_json::Value)) -> String {
    let mut definition: serde_json::Value = serde_json::from_str(&pod(script)).unwrap();
    change(&mut definition);
    definition.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_pulled_is_named_while_it_is_tried() {
    let world = World::simulated();
    let definition = with("cat", |pod| pod["spec"]["containers"][0]["image"] = "nosuch.example/missing:1".into());
    let mut unit = world.submit(&world.kind(""), &[("secret_kube_pod", &definition)], b"").await;
    unit.told_begin("0 Pending: ErrImagePull: ").await;
    unit.told_begin("0 Pending: ImagePullBackOff: Back-off pulling image \"nosuch.example/missing:1\"").await;
    unit.cancel.cancel();
    unit.ending().await;
}

/// A volume that is not there: the pod's status says nothing of it, the cluster's events do.
#[tokio::test(flavor = "multi_thread")]
async fn events_say_what_the_status_does_not() {
    let world = World::simulated();
    let definition = with("cat", |pod| {
        pod["spec"]["volumes"] = serde_json::json!([{"name": "v", "secret": {"secretName": "nosuch"}}]);
        pod["spec"]["containers"][0]["volumeMounts"] = serde_json::json!([{"name": "v", "mountPath": "/v"}]);
    });
    let mut unit = world.submit(&world.kind(""), &[("secret_kube_pod", &definition)], b"").await;
    unit.told_begin("0 Pending: FailedMount: ").await;
    assert_eq!(world.sim().requests().count("list", "events"), 1);
    unit.cancel.cancel();
    unit.ending().await;
}

/// A role without the right to read events is asked for no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_forbids_events_changes_nothing() {
    let world = World::simulated();
    world.sim().faults().set(Trap::always(Matching::new("list", "events"), Effect::Deny));
    let definition = with("cat", |pod| {
        pod["spec"]["volumes"] = serde_json::json!([{"name": "v", "secret": {"secretName": "nosuch"}}]);
    });
    let params = [("secret_kube_pod", definition.as_str()), ("pod_pending_timeout", "13s")];
    let mut unit = world.submit(&world.kind(""), &params, b"").await;
    assert_eq!(unit.end().await, "3 Error creating pod: timed out waiting for the condition");
    assert_eq!(unit.news(), ["0 Connecting to Kubernetes", "0 Pod created"]);
    assert_eq!(world.sim().requests().count("list", "events"), 1);
    unit.discard().await.unwrap();
}

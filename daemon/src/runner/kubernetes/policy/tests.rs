use serde_json::json;

use super::super::tests::harness::World;
use crate::runner::Params;

const KEYS: &str = "authmethod: incluster, namespace: ns, allowruntimepod: true, allowruntimecommand: true";

fn refused(keys: &str, params: &[(&str, &str)]) -> String {
    use crate::runner::WorkKind;
    let params = params.iter().copied().collect();
    let planned = World::none().file_kind(&format!("{KEYS}, {keys}")).plan(&params);
    planned.err().map(|fault| fault.to_string()).unwrap_or_default()
}

/// What is said of a pod whose `worker` has these fields, and whose `spec` has those.
fn judged(keys: &str, worker: serde_json::Value, spec: serde_json::Value) -> String {
    let mut container = json!({"name": "worker", "image": "busybox"});
    container.as_object_mut().unwrap().extend(worker.as_object().unwrap().clone());
    let mut pod = json!({"kind": "Pod", "spec": {"containers": [{"name": "side", "image": "busybox"}, container]}});
    pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    refused(keys, &[("secret_kube_pod", &pod.to_string())])
}

#[test]
fn every_image_must_match_a_pattern() {
    let keys = "imageallow: ['busybox', 'registry.example.org/tools/*', 'quay.io/**/task:*']";
    for image in ["busybox", "registry.example.org/tools/a:1", "quay.io/org/team/task:2", "quay.io/task:3", ""] {
        assert_eq!(refused(keys, &[("kube_image", image)]), "", "{image}");
    }
    for image in ["busybox:1", "Busybox", "x/busybox", "registry.example.org/tools/a/b", "evil.org/quay.io/task:1"] {
        assert_eq!(refused(keys, &[("kube_image", image)]), format!("image \"{image}\" is not allowed"));
    }
    let with = |field: &str| judged(keys, json!({}), json!({field: [{"name": "x", "image": "evil"}]}));
    for list in ["initContainers", "ephemeralContainers"] {
        assert_eq!(with(list), "image \"evil\" is not allowed", "{list}");
    }
    let mounted = json!({"volumes": [{"name": "v", "image": {"reference": "evil:1"}}]});
    assert_eq!(judged(keys, json!({}), mounted), "image \"evil:1\" is not allowed");
    assert_eq!(judged(keys, json!({}), json!({})), "");
}

#[test]
fn a_configured_image_must_match_too() {
    assert_eq!(refused("image: evil, imageallow: [good]", &[]), "image \"evil\" is not allowed");
}

#[test]
fn what_is_forbidden_is_named_with_its_place() {
    let all =
        "podforbid: [privileged, hostpath, hostnetwork, hostpid, hostipc, capabilities, namespace, serviceaccount]";
    let cases = [
        (json!({"securityContext": {"privileged": true}}), "spec.containers[1].securityContext.privileged: privileged"),
        (
            json!({"securityContext": {"windowsOptions": {"hostProcess": true}}}),
            "spec.containers[1].securityContext.windowsOptions.hostProcess: privileged",
        ),
        (
            json!({"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}),
            "spec.containers[1].securityContext.capabilities.add: capabilities",
        ),
        (json!({"ports": [{"hostPort": 0}, {"hostPort": 80}]}), "spec.containers[1].ports[1].hostPort: hostnetwork"),
    ];
    for (worker, place) in cases {
        assert_eq!(judged("", worker.clone(), json!({})), "", "nothing is forbidden");
        assert_eq!(judged(all, worker, json!({})), format!("secret_kube_pod: {place} is not allowed"));
    }
    let cases = [
        (json!({"volumes": [{"emptyDir": {}}, {"hostPath": {"path": "/"}}]}), "spec.volumes[1].hostPath: hostpath"),
        (json!({"hostNetwork": true}), "spec.hostNetwork: hostnetwork"),
        (json!({"hostPID": true}), "spec.hostPID: hostpid"),
        (json!({"hostIPC": true}), "spec.hostIPC: hostipc"),
        (json!({"serviceAccountName": "admin"}), "spec.serviceAccountName: serviceaccount"),
        (json!({"serviceAccount": "admin"}), "spec.serviceAccount: serviceaccount"),
        (
            json!({"initContainers": [{"name": "i", "securityContext": {"privileged": true}}]}),
            "spec.initContainers[0].securityContext.privileged: privileged",
        ),
    ];
    for (spec, place) in cases {
        assert_eq!(judged("", json!({}), spec.clone()), "", "nothing is forbidden");
        assert_eq!(judged(all, json!({}), spec), format!("secret_kube_pod: {place} is not allowed"));
    }
    let elsewhere = "{kind: Pod, metadata: {namespace: kube-system}, spec: {containers: [{name: worker}]}}";
    assert_eq!(
        refused(all, &[("secret_kube_pod", elsewhere)]),
        "secret_kube_pod: metadata.namespace: namespace is not allowed"
    );
}

#[test]
fn what_says_no_is_not_forbidden() {
    let keys = "podforbid: [privileged, hostnetwork, capabilities, serviceaccount, hostpath]";
    let worker = json!({"securityContext": {"privileged": false, "capabilities": {"drop": ["ALL"], "add": []}}});
    let spec = json!({"hostNetwork": false, "serviceAccountName": "", "volumes": [{"emptyDir": {}, "hostPath": null}]});
    assert_eq!(judged(keys, worker, spec), "");
}

#[test]
fn limits_have_a_ceiling_for_all_that_runs_at_once() {
    let pod = |containers: serde_json::Value, init: serde_json::Value| {
        let pod = json!({"kind": "Pod", "spec": {"containers": containers, "initContainers": init}});
        refused("maxcpulimit: 2, maxmemorylimit: 1Gi", &[("secret_kube_pod", &pod.to_string())])
    };
    let with = |cpu: serde_json::Value, memory: &str| json!({"name": "worker", "resources": {"limits": {"cpu": cpu, "memory": memory}}});
    assert_eq!(pod(json!([with(json!(2), "1Gi")]), json!([])), "");
    assert_eq!(pod(json!([with(json!("1500m"), "512Mi"), with(json!("0.5"), "512Mi")]), json!([])), "");
    assert_eq!(
        pod(json!([with(json!("2001m"), "1Gi")]), json!([])),
        "secret_kube_pod: spec.containers[0].resources.limits.cpu exceeds the maximum of 2"
    );
    assert_eq!(
        pod(json!([with(json!(1), "1Gi"), with(json!(1), "1")]), json!([])),
        "secret_kube_pod: spec.containers[1].resources.limits.memory exceeds the maximum of 1Gi"
    );
    assert_eq!(
        pod(json!([{"name": "worker"}]), json!([])),
        "secret_kube_pod: spec.containers[0].resources.limits.cpu is missing: the maximum is 2"
    );
    // What ends before the worker begins takes nothing from it; what stays does.
    let mut init = with(json!(2), "1Gi");
    assert_eq!(pod(json!([with(json!(2), "1Gi")]), json!([init])), "");
    init["restartPolicy"] = json!("Always");
    assert_eq!(
        pod(json!([with(json!(2), "1Gi")]), json!([init])),
        "secret_kube_pod: spec.containers[0].resources.limits.cpu exceeds the maximum of 2"
    );
    assert_eq!(
        pod(json!([with(json!("a lot"), "1Gi")]), json!([])),
        "secret_kube_pod: spec.containers[0].resources.limits.cpu exceeds the maximum of 2"
    );
}

#[test]
fn the_operators_own_definition_is_judged_by_its_images_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pod.yml");
    let pod = "{kind: Pod, spec: {hostNetwork: true, containers: [{name: worker, image: evil}]}}";
    std::fs::write(&file, pod).unwrap();
    let keys = |more: &str| {
        let keys = format!("authmethod: incluster, namespace: ns, pod: {}, {more}", file.display());
        use crate::runner::WorkKind;
        let planned = World::none().file_kind(&keys).plan(&Params::default());
        planned.err().map(|fault| fault.to_string()).unwrap_or_default()
    };
    assert_eq!(keys("podforbid: [hostnetwork], maxcpulimit: 1"), "");
    assert_eq!(keys("imageallow: [good]"), "image \"evil\" is not allowed");
}

#[test]
fn what_is_no_pod_is_left_to_the_creation() {
    for text in ["{", "just words", "[]", "{spec: {containers: 5, volumes: {a: 1}}}"] {
        assert_eq!(refused("podforbid: [hostpath], imageallow: [x]", &[("secret_kube_pod", text)]), "", "{text}");
    }
}

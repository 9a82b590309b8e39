//! kubernetes-streams 6 and 7: ends from outside.

use serde_json::{Value, json};

use crate::contract;
use crate::raw::cluster::{PODS, pod_object, script};

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

contract! {
    fn with_grace_the_last_word_is_the_container_s(cluster) {
        let mut spec = script("trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.1; done");
        spec["terminationGracePeriodSeconds"] = json!(10);
        let pod = cluster.pod(spec);
        pod.until_running();
        let mut log = cluster.admin.open("GET", &format!("{}/log?follow=true", pod.path()), &[], b"");
        assert_eq!(log.line(), b"ready\n");
        let answer = pod.delete("");
        assert_eq!(answer.code(), 200);
        let deleted = answer.json();
        assert_eq!(deleted["kind"], "Pod");
        assert!(!text(&deleted, "/metadata/deletionTimestamp").is_empty());
        assert_eq!(deleted["metadata"]["deletionGracePeriodSeconds"], 10);

        let again = cluster.admin.post(PODS, &pod_object(json!({"name": pod.name}), script("true")));
        let message = format!("object is being deleted: pods \"{}\" already exists", pod.name);
        again.assert_status(409, "AlreadyExists", &message);

        let events = pod.events_until(|event| event.kind == "DELETED");
        let last = events.last().unwrap();
        assert_eq!((last.phase(), last.state("worker").as_str()), ("Failed", "terminated 7 Error"));
        assert_eq!(last.pod["metadata"]["deletionGracePeriodSeconds"], 0);
        assert_eq!(String::from_utf8(log.rest()).unwrap(), "bye\n");
        assert!(log.ended_properly);
        assert_eq!(cluster.admin.get(&pod.path()).code(), 404);
        assert_eq!(pod.delete("").code(), 404);
    }

    fn what_does_not_listen_is_killed(cluster) {
        // No handler: the first process of a container is not ended by SIGTERM.
        let pod = cluster.pod(script("exec sleep 100"));
        pod.until_running();
        let answer = pod.delete("gracePeriodSeconds=2");
        assert_eq!(answer.json()["metadata"]["deletionGracePeriodSeconds"], 2);
        let events = pod.events_until(|event| event.kind == "DELETED");
        assert_eq!(events.last().unwrap().state("worker"), "terminated 137 Error");
    }

    fn options_in_the_body(cluster) {
        let pod = cluster.pod(script("exec sleep 100"));
        pod.until_running();
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 1});
        let answer = cluster.admin.send("DELETE", &pod.path(), Some(&options));
        assert_eq!(answer.json()["metadata"]["deletionGracePeriodSeconds"], 1);
        // A second one with more time changes nothing.
        let again = pod.delete("gracePeriodSeconds=100");
        assert_eq!(again.json()["metadata"]["deletionGracePeriodSeconds"], 1);
        pod.events_until(|event| event.kind == "DELETED");
    }

    fn without_grace_the_object_is_gone_at_once(cluster) {
        let pod = cluster.pod(script("exec sleep 100"));
        pod.until_running();
        let answer = pod.delete("gracePeriodSeconds=0");
        assert_eq!((answer.code(), answer.json()["kind"].as_str()), (200, Some("Pod")));
        assert_eq!(cluster.admin.get(&pod.path()).code(), 404);
        let again = cluster.pod_with(json!({"name": pod.name}), script("true"));
        assert_ne!(again.uid, pod.uid);
        again.until_over();
    }

    fn a_pod_that_is_over_is_gone_at_once(cluster) {
        let pod = cluster.pod(script("true"));
        pod.until_over();
        assert_eq!(pod.delete("").code(), 200);
        assert_eq!(cluster.admin.get(&pod.path()).code(), 404);
    }

    fn only_the_one_that_is_meant(cluster) {
        let pod = cluster.pod(script("exec sleep 100"));
        let options = |uid: &str| json!({"preconditions": {"uid": uid}, "gracePeriodSeconds": 0});
        let answer = cluster.admin.send("DELETE", &pod.path(), Some(&options("0000")));
        let message = format!(
            "Operation cannot be fulfilled on Pod \"{}\": the UID in the precondition (0000) does not match the UID in record ({}). The object might have been deleted and then recreated",
            pod.name, pod.uid
        );
        answer.assert_status(409, "Conflict", &message);
        assert_eq!(cluster.admin.send("DELETE", &pod.path(), Some(&options(&pod.uid))).code(), 200);
    }

    fn by_label(cluster) {
        let label = crate::raw::cluster::unique("label");
        let pods = [(); 2].map(|()| cluster.pod_with(json!({"labels": {"l": label}}), script("exec sleep 100")));
        let other = cluster.pod(script("exec sleep 100"));
        let answer = cluster.admin.delete(&format!("{PODS}?labelSelector=l%3D{label}&gracePeriodSeconds=0"));
        assert_eq!(answer.code(), 200, "{}", answer.text());
        for pod in &pods {
            assert_eq!(cluster.admin.get(&pod.path()).code(), 404);
        }
        assert_eq!(cluster.admin.get(&other.path()).code(), 200);
    }

    fn an_eviction(cluster) {
        let pod = cluster.pod(script("exec sleep 100"));
        pod.until_running();
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod.name},
            "deleteOptions": {"gracePeriodSeconds": 1},
        });
        let answer = cluster.admin.post(&format!("{}/eviction", pod.path()), &eviction);
        assert_eq!(answer.code(), 201, "{}", answer.text());
        let events = pod.events_until(|event| event.kind == "DELETED");
        let condition = events.last().unwrap().condition("DisruptionTarget").unwrap();
        assert_eq!((condition["status"].as_str(), condition["reason"].as_str()), (Some("True"), Some("EvictionByEvictionAPI")));
    }

    fn a_namespace_with_all_that_is_in_it(cluster) {
        let name = crate::raw::cluster::unique("contract");
        let path = format!("/api/v1/namespaces/{name}");
        let created = cluster.admin.post("/api/v1/namespaces", &json!({"metadata": {"name": name}}));
        assert_eq!((created.code(), text(&created.json(), "/status/phase")), (201, "Active"));
        let version = created.json()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        let answer = cluster.admin.delete(&path);
        assert_eq!((answer.code(), text(&answer.json(), "/status/phase")), (200, "Terminating"));
        let watch = format!("/api/v1/namespaces?watch=1&timeoutSeconds=60&fieldSelector=metadata.name%3D{name}&resourceVersion={version}");
        let mut watch = cluster.admin.open("GET", &watch, &[], b"");
        while crate::raw::cluster::Event::parse(&watch.line()).kind != "DELETED" {}
        assert_eq!(cluster.admin.get(&path).code(), 404);
    }
}

//! kubernetes-streams 5: lists and watches.

use serde_json::{Value, json};

use crate::contract;
use crate::raw::cluster::{Cluster, Event, PODS, script, unique};

fn list_version(cluster: &Cluster, query: &str) -> String {
    let list = cluster.admin.get(&format!("{PODS}?{query}")).json();
    assert_eq!(list["kind"], "PodList");
    list["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

fn name(event: &Event) -> &str {
    event.pod["metadata"]["name"].as_str().unwrap_or("")
}

contract! {
    fn from_a_list_on(cluster) {
        let label = unique("label");
        let selector = format!("labelSelector=l%3D{label}");
        let before = cluster.pod_with(json!({"labels": {"l": label}}), script("true"));
        before.until_over();
        let version = list_version(cluster, &selector);
        let path = format!("{PODS}?watch=1&{selector}&resourceVersion={version}&timeoutSeconds=60");
        let mut watch = cluster.admin.open("GET", &path, &[], b"");
        assert_eq!(watch.head.header("transfer-encoding"), Some("chunked"));
        let pod = cluster.pod_with(json!({"labels": {"l": label}}), script("true"));
        let first = Event::parse(&watch.line());
        assert_eq!((first.kind.as_str(), name(&first)), ("ADDED", pod.name.as_str()));
        let mut last_version: u64 = version.parse().unwrap();
        let mut event = first;
        while event.phase() != "Succeeded" {
            let version: u64 = event.pod["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
            assert!(version > last_version);
            last_version = version;
            event = Event::parse(&watch.line());
            assert_eq!(event.kind, "MODIFIED");
        }
        pod.delete("");
        let marked = Event::parse(&watch.line());
        assert_eq!((marked.kind.as_str(), &marked.pod["metadata"]["deletionGracePeriodSeconds"]), ("MODIFIED", &json!(0)));
        let last = Event::parse(&watch.line());
        assert_eq!((last.kind.as_str(), name(&last)), ("DELETED", pod.name.as_str()));
    }

    fn without_a_version_it_begins_with_what_is_there(cluster) {
        let pod = cluster.pod(script("true"));
        pod.until_over();
        for version in ["", "&resourceVersion=0"] {
            let path = format!("{PODS}?watch=1&fieldSelector=metadata.name%3D{}&timeoutSeconds=1{version}", pod.name);
            let mut watch = cluster.admin.open("GET", &path, &[], b"");
            let first = Event::parse(&watch.line());
            assert_eq!((first.kind.as_str(), first.phase()), ("ADDED", "Succeeded"));
            // And its time is over without an error.
            assert_eq!(watch.rest(), b"");
            assert!(watch.ended_properly);
        }
    }

    fn initial_events_end_with_a_bookmark(cluster) {
        let pod = cluster.pod(script("true"));
        pod.until_over();
        let path = format!(
            "{PODS}?watch=1&fieldSelector=metadata.name%3D{}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=30",
            pod.name
        );
        let mut watch = cluster.admin.open("GET", &path, &[], b"");
        assert_eq!(Event::parse(&watch.line()).kind, "ADDED");
        let bookmark = Event::parse(&watch.line());
        assert_eq!(bookmark.kind, "BOOKMARK");
        assert_eq!(bookmark.pod["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
        assert_eq!(bookmark.pod["kind"], "Pod");
    }

    fn a_label_taken_away_is_a_deletion(cluster) {
        let label = unique("label");
        let pod = cluster.pod_with(json!({"labels": {"l": label}}), script("exec sleep 100"));
        let path = format!("{PODS}?watch=1&labelSelector=l%3D{label}&timeoutSeconds=60");
        let mut watch = cluster.admin.open("GET", &path, &[], b"");
        assert_eq!(Event::parse(&watch.line()).kind, "ADDED");
        let patch = json!({"metadata": {"labels": {"l": null}}}).to_string();
        let headers = [("Content-Type", "application/merge-patch+json"), ("Connection", "close")];
        let patched = cluster.admin.open("PATCH", &pod.path(), &headers, patch.as_bytes()).finish();
        assert_eq!(patched.code(), 200, "{}", patched.text());
        loop {
            let event = Event::parse(&watch.line());
            if event.kind == "DELETED" {
                break;
            }
            assert_eq!(event.kind, "MODIFIED");
        }
        assert_eq!(cluster.admin.get(&pod.path()).code(), 200);
    }

    fn garbled_and_future_versions(cluster) {
        let answer = cluster.admin.get(&format!("{PODS}?watch=1&resourceVersion=abc"));
        assert_eq!(answer.code(), 500);
        let why = "resourceVersion: Invalid value: \"abc\": strconv.ParseUint: parsing \"abc\": invalid syntax";
        assert_eq!(answer.json()["message"], why);
        let answer = cluster.admin.get(&format!("{PODS}?resourceVersion=abc"));
        answer.assert_status(400, "BadRequest", &format!("invalid resource version: {why}"));
        let answer = cluster.admin.get(&format!("{PODS}?resourceVersion=1&resourceVersionMatch=Exact"));
        // A cluster that has just come up still has its first version.
        if answer.code() != 200 {
            answer.assert_status(410, "Expired", "The resourceVersion for the provided list is too old.");
        }
        let answer = cluster.admin.get(&format!("{PODS}?resourceVersion=99999999"));
        assert_eq!((answer.code(), answer.json()["reason"].as_str()), (504, Some("Timeout")));
        // A watch of the future is silent.
        let mut watch = cluster.admin.open("GET", &format!("{PODS}?watch=1&resourceVersion=99999999&timeoutSeconds=1"), &[], b"");
        assert_eq!((watch.head.code, watch.rest().as_slice()), (200, b"".as_slice()));
    }

    fn selectors_that_cannot_be(cluster) {
        for (query, message) in [
            ("fieldSelector=spec.bogus%3D1", "field label not supported: spec.bogus"),
            ("fieldSelector=abc", "invalid selector: 'abc'; can't understand 'abc'"),
            ("labelSelector=a%20b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ] {
            cluster.admin.get(&format!("{PODS}?{query}")).assert_status(400, "BadRequest", message);
        }
    }

    fn lists_by_label(cluster) {
        let label = unique("label");
        let pods = ["a", "b"].map(|value| cluster.pod_with(json!({"labels": {"l": label, "v": value}}), script("true")));
        let names = |query: &str| -> Vec<String> {
            let list = cluster.admin.get(&format!("{PODS}?labelSelector=l%3D{label}{query}")).json();
            let items = list["items"].as_array().unwrap();
            items.iter().map(|item: &Value| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
        };
        let mut all: Vec<_> = pods.iter().map(|pod| pod.name.clone()).collect();
        all.sort();
        assert_eq!(names(""), all);
        assert_eq!(names("%2Cv%3Da"), [pods[0].name.clone()]);
        assert_eq!(names("%2Cv%21%3Da"), [pods[1].name.clone()]);
        assert_eq!(names("%2Cv%20in%20(a%2Cb)").len(), 2);
        assert_eq!(names("%2C%21v").len(), 0);
        assert_eq!(names(&format!("&fieldSelector=metadata.name%3D{}", pods[1].name)), [pods[1].name.clone()]);
    }
}

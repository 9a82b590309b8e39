//! kubernetes-streams 6: what a pod's status says, in which order.

use serde_json::{Value, json};

use crate::contract;
use crate::raw::cluster::{Event, container, script, state};

/// Each (phase, state of `worker`) as it was first said, repetitions left out.
fn steps(events: &[Event]) -> Vec<String> {
    let mut steps: Vec<String> =
        events.iter().map(|event| format!("{}: {}", event.phase(), event.state("worker"))).collect();
    steps.dedup();
    steps
}

/// Asserts that these steps are among those, in this order.
#[track_caller]
fn assert_order(steps: &[String], wanted: &[&str]) {
    let mut rest = steps.iter();
    for step in wanted {
        assert!(rest.any(|found| found == step), "{step} is not in its place in {steps:#?}");
    }
}

fn is_over(event: &Event) -> bool {
    ["Succeeded", "Failed"].contains(&event.phase())
}

fn terminated<'a>(pod: &'a Value, container: &str) -> &'a Value {
    let statuses = pod["status"]["containerStatuses"].as_array().unwrap();
    &statuses.iter().find(|status| status["name"] == container).unwrap()["state"]["terminated"]
}

contract! {
    fn a_normal_pod(cluster) {
        let pod = cluster.pod(script("sleep 3"));
        let events = pod.events_until(is_over);
        assert_order(&steps(&events), &[
            "Pending: ",
            "Pending: waiting ContainerCreating",
            "Running: running",
            "Running: terminated 0 Completed",
            "Succeeded: terminated 0 Completed",
        ]);
        let scheduled = events.iter().find(|event| event.pod["spec"].get("nodeName").is_some()).unwrap();
        assert_eq!(scheduled.condition("PodScheduled").unwrap()["status"], "True");
        let running = events.iter().find(|event| event.state("worker") == "running").unwrap();
        assert_eq!(running.condition("Ready").unwrap()["status"], "True");
        let last = &events.last().unwrap().pod;
        let end = terminated(last, "worker");
        for time in ["startedAt", "finishedAt"] {
            assert_eq!(end[time].as_str().unwrap().len(), "2026-11-21T08:32:26Z".len());
        }
        assert_eq!(end.get("signal"), None);
        assert!(end["containerID"].as_str().unwrap().starts_with("containerd://"));
    }

    fn exit_codes(cluster) {
        let failed = cluster.pod(script("exit 3"));
        let killed = cluster.pod(script("sh -c 'kill -9 $$$$'; exit $?"));
        let events = failed.events_until(is_over);
        assert_order(&steps(&events), &["Pending: waiting ContainerCreating", "Failed: terminated 3 Error"]);
        let over = killed.until_over();
        assert_eq!(state(&over, "worker"), "terminated 137 Error");
    }

    fn a_command_that_is_not_there(cluster) {
        let mut spec = script("");
        spec["containers"][0]["command"] = json!(["nosuch"]);
        let over = cluster.pod(spec).until_over();
        assert_eq!(over["status"]["phase"], "Failed");
        let end = terminated(&over, "worker");
        assert_eq!(state(&over, "worker"), "terminated 128 StartError");
        assert_eq!(end["startedAt"], "1970-01-01T00:00:00Z");
        let message = end["message"].as_str().unwrap();
        assert!(message.contains("exec: \"nosuch\": executable file not found in $PATH"), "{message}");
    }

    fn an_image_that_is_not_there(cluster) {
        let mut spec = script("true");
        spec["containers"][0]["image"] = json!("nosuch-image:1");
        let pod = cluster.pod(spec);
        let events = pod.events_until(|event| event.state("worker") == "waiting ImagePullBackOff");
        assert_order(&steps(&events), &["Pending: waiting ErrImagePull", "Pending: waiting ImagePullBackOff"]);
        let waiting = &events.last().unwrap().pod["status"]["containerStatuses"][0]["state"]["waiting"];
        assert!(waiting["message"].as_str().unwrap().contains("nosuch-image:1"), "{waiting}");
        let answer = pod.log("");
        assert_eq!((answer.code(), answer.json()["reason"].as_str()), (400, Some("BadRequest")));
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        let start = format!("container \"worker\" in pod \"{}\" is waiting to start: ", pod.name);
        assert!(message.starts_with(&start), "{message}");
    }

    fn an_image_with_a_bad_name(cluster) {
        let mut spec = script("true");
        spec["containers"][0]["image"] = json!("Bad//Name");
        cluster.pod(spec).until(|event| event.state("worker") == "waiting InvalidImageName");
    }

    fn no_node_to_run_on(cluster) {
        let mut spec = script("true");
        spec["nodeSelector"] = json!({"no": "such"});
        let pod = cluster.pod(spec);
        let found = pod.until(|event| event.condition("PodScheduled").is_some());
        let event = Event { kind: String::new(), pod: found };
        let condition = event.condition("PodScheduled").unwrap();
        assert_eq!((condition["status"].as_str(), condition["reason"].as_str()), (Some("False"), Some("Unschedulable")));
        let message = condition["message"].as_str().unwrap();
        assert!(message.starts_with("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."), "{message}");
        assert_eq!(event.pod["spec"].get("nodeName"), None);
        // Neither log nor attach has a node to go to.
        assert_eq!(pod.log("follow=true").code(), 204);
        let refused = pod.try_attach("stdin=true", crate::raw::cluster::V5).err().unwrap();
        refused.assert_status(400, "BadRequest", &format!("pod {} does not have a host assigned", pod.name));
        // It is gone at once.
        assert_eq!(pod.delete("").code(), 200);
        assert_eq!(cluster.admin.get(&pod.path()).code(), 404);
    }

    fn a_secret_that_is_not_there(cluster) {
        let mut spec = script("true");
        let from = json!({"secretKeyRef": {"name": "nosuch", "key": "k"}});
        spec["containers"][0]["env"] = json!([{"name": "A", "valueFrom": from}]);
        let pod = cluster.pod(spec);
        let found = pod.until(|event| event.state("worker") == "waiting CreateContainerConfigError");
        let waiting = &found["status"]["containerStatuses"][0]["state"]["waiting"];
        assert_eq!(waiting["message"], "secret \"nosuch\" not found");
    }

    fn a_volume_that_is_not_there(cluster) {
        let mut spec = script("true");
        spec["volumes"] = json!([{"name": "v", "secret": {"secretName": "nosuch"}}]);
        spec["containers"][0]["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
        let pod = cluster.pod(spec);
        let path = format!(
            "/api/v1/namespaces/default/events?watch=1&timeoutSeconds=60&fieldSelector=involvedObject.name%3D{}%2Creason%3DFailedMount",
            pod.name
        );
        let event = Event::parse(&cluster.admin.open("GET", &path, &[], b"").line());
        let message = event.pod["message"].as_str().unwrap();
        assert_eq!(message, "MountVolume.SetUp failed for volume \"v\" : secret \"nosuch\" not found");
        assert_eq!(state(&pod.get(), "worker"), "waiting ContainerCreating");
    }

    fn init_containers_come_first(cluster) {
        let mut spec = script("echo main");
        spec["initContainers"] = json!([container("first", "echo one"), container("second", "echo two")]);
        let pod = cluster.pod(spec);
        let events = pod.events_until(is_over);
        assert_order(&steps(&events), &["Pending: waiting PodInitializing", "Succeeded: terminated 0 Completed"]);
        let last = &events.last().unwrap().pod;
        assert_eq!(state(last, "first"), "terminated 0 Completed");
        assert_eq!(last["status"]["initContainerStatuses"][1]["name"], "second");
        assert_eq!(pod.log_text("container=second"), "two\n");
    }

    fn a_failed_init_container_ends_it(cluster) {
        let mut spec = script("echo main");
        spec["initContainers"] = json!([container("first", "exit 5")]);
        let over = cluster.pod(spec).until_over();
        assert_eq!(over["status"]["phase"], "Failed");
        assert_eq!(state(&over, "first"), "terminated 5 Error");
        assert_eq!(state(&over, "worker"), "waiting PodInitializing");
    }

    fn a_second_container_goes_on(cluster) {
        let mut spec = script("exit 4");
        spec["containers"] = json!([container("worker", "exit 4"), container("another", "sleep 4")]);
        let pod = cluster.pod(spec);
        let events = pod.events_until(is_over);
        assert_order(&steps(&events), &["Running: terminated 4 Error", "Failed: terminated 4 Error"]);
        let last = &events.last().unwrap().pod;
        let names: Vec<_> = last["status"]["containerStatuses"].as_array().unwrap().iter().map(|status| &status["name"]).collect();
        assert_eq!(names, ["another", "worker"]);
    }

    fn a_deadline(cluster) {
        let mut spec = script("sleep 100");
        spec["activeDeadlineSeconds"] = json!(2);
        spec["terminationGracePeriodSeconds"] = json!(1);
        let over = cluster.pod(spec).until_over();
        assert_eq!(over["status"]["phase"], "Failed");
        assert_eq!(over["status"]["reason"], "DeadlineExceeded");
        assert_eq!(state(&over, "worker"), "terminated 137 Error");
    }

    fn environment(cluster) {
        let mut spec = script("echo $A $B $NAME \"$0\" \"$1\"");
        spec["containers"][0]["args"] = json!(["zero $(A)", "$$(A)"]);
        let name = json!({"fieldRef": {"fieldPath": "metadata.name"}});
        spec["containers"][0]["env"] =
            json!([{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2 $(C)"}, {"name": "NAME", "valueFrom": name}]);
        let pod = cluster.pod(spec);
        pod.until_over();
        assert_eq!(pod.log_text(""), format!("1 12 $(C) {} zero 1 $(A)\n", pod.name));
    }

    fn a_container_without_a_command(cluster) {
        let mut spec = script("");
        spec["containers"] = json!([{"name": "worker", "image": "busybox", "args": ["echo", "args"]}]);
        let pod = cluster.pod(spec);
        pod.until_over();
        assert_eq!(pod.log_text(""), "args\n");
    }

    fn a_restart(cluster) {
        let mut spec = script("echo run; exit 1");
        spec["restartPolicy"] = json!("OnFailure");
        let pod = cluster.pod(spec);
        let found = pod.until(|event| event.state("worker") == "waiting CrashLoopBackOff");
        let status = &found["status"]["containerStatuses"][0];
        assert!(status["restartCount"].as_u64().unwrap() >= 1, "{status}");
        assert_eq!(status["lastState"]["terminated"]["exitCode"], 1);
        assert_eq!(found["status"]["phase"], "Running");
        assert_eq!(pod.log_text("previous=true"), "run\n");
    }
}

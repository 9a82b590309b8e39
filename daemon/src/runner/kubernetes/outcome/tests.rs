use serde_json::{Value, json};

use super::*;

fn pod(status: Value) -> Pod {
    pod_with(json!({}), status)
}

fn pod_with(metadata: Value, status: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": metadata, "spec": {"activeDeadlineSeconds": 4, "containers": [{"name": "worker"}]}, "status": status,
    }))
    .unwrap()
}

fn worker(state: Value) -> Value {
    json!([{"name": "aside", "state": {"running": {"startedAt": "x"}}}, {"name": "worker", "state": state}])
}

const CASE: Case<'_> = Case { namespace: "ns", name: "pod-1", ran: true, containers: 1, fail_on_exit_code: true };

fn words(judge: &mut Judge, pod: &Pod, fail_on_exit_code: bool) -> String {
    match judge.look(pod) {
        Sight::Over(end) => {
            let case = Case { ran: judge.ran(), fail_on_exit_code, ..CASE };
            let (state, detail) = case.outcome(&end);
            format!("{} {detail}", state.number())
        }
        sight => format!("{sight:?}"),
    }
}

/// One look at a pod whose worker has not been seen running.
fn first(status: Value) -> String {
    words(&mut Judge::default(), &pod(status), true)
}

/// One look at a pod whose worker has been seen running.
fn later(status: Value) -> String {
    words(&mut Judge::new(true), &pod(status), true)
}

#[test]
fn the_normal_timeline() {
    let mut judge = Judge::default();
    let mut look = |status| words(&mut judge, &pod(status), true);
    assert_eq!(look(json!({"phase": "Pending"})), "Waiting(None)");
    let waiting = worker(json!({"waiting": {"reason": "ContainerCreating"}}));
    assert_eq!(look(json!({"phase": "Pending", "containerStatuses": waiting})), "Waiting(None)");
    let running = worker(json!({"running": {"startedAt": "2026-11-21T08:32:26Z"}}));
    assert_eq!(look(json!({"phase": "Running", "containerStatuses": running})), "Running");
    // The phase lags behind: still Running.
    let ended = worker(json!({"terminated": {"exitCode": 0, "reason": "Completed"}}));
    assert_eq!(look(json!({"phase": "Running", "containerStatuses": ended})), "2 Finished");
    assert!(judge.ran());
}

#[test]
fn exits() {
    let ended =
        |terminated: Value| json!({"phase": "Pending", "containerStatuses": worker(json!({"terminated": terminated}))});
    for status in [first, later] {
        assert_eq!(status(ended(json!({"exitCode": 0, "reason": "Completed"}))), "2 Finished");
        assert_eq!(status(ended(json!({"exitCode": 3, "reason": "Error"}))), "3 exit status 3");
        assert_eq!(status(ended(json!({"exitCode": 137, "reason": "Error"}))), "3 exit status 137");
        assert_eq!(status(ended(json!({"exitCode": 137, "reason": "OOMKilled"}))), "3 exit status 137 (OOMKilled)");
        assert_eq!(status(ended(json!({"exitCode": 9, "message": "mm\n"}))), "3 exit status 9: mm");
    }
    let start_error = json!({"exitCode": 128, "reason": "StartError", "message": "no such file", "startedAt": "1970-01-01T00:00:00Z"});
    assert_eq!(first(ended(start_error)), "3 exit status 128: no such file");
}

#[test]
fn receptors_rule_looks_at_exit_codes_only_before_ready() {
    let ended = json!({"phase": "Failed", "containerStatuses": [{"name": "worker", "state": {"terminated": {"exitCode": 7, "message": "boom"}}}]});
    let ended = pod(ended);
    assert_eq!(words(&mut Judge::new(true), &ended, false), "2 Finished");
    assert_eq!(
        words(&mut Judge::default(), &ended, false),
        "3 Error creating pod: pod failed to start, exit code 7: boom"
    );
    let (_, detail) = Case { ran: false, containers: 2, fail_on_exit_code: false, ..CASE }
        .outcome(&End::Exited(Terminated { exit_code: 7, ..Terminated::default() }));
    assert_eq!(detail.to_string(), "Error creating pod: pod failed to start");
}

#[test]
fn images_that_do_not_come() {
    let mut judge = Judge::default();
    let mut look = |version: &str, reason: &str| {
        let status = json!({"phase": "Pending", "containerStatuses": worker(json!({"waiting": {"reason": reason}}))});
        words(&mut judge, &pod_with(json!({"resourceVersion": version}), status), true)
    };
    let waits = |reason: &str| format!("{:?}", Sight::Waiting(Some(pending(reason, ""))));
    let (backs_off, pulls) = (waits("ImagePullBackOff"), waits("ErrImagePull"));
    assert_eq!(look("1", "ImagePullBackOff"), backs_off);
    assert_eq!(look("1", "ImagePullBackOff"), backs_off, "the same state seen again is no new event");
    assert_eq!(look("2", "ErrImagePull"), pulls);
    assert_eq!(look("3", "ImagePullBackOff"), backs_off);
    assert_eq!(look("4", "ErrImagePull"), pulls);
    assert_eq!(look("5", "ImagePullBackOff"), backs_off);
    assert_eq!(look("6", "ImagePullBackOff"), "3 Error creating pod: container failed to start, ImagePullBackOff");
}

#[test]
fn hopeless_containers_end_at_once() {
    for reason in HOPELESS {
        let state = json!({"waiting": {"reason": reason, "message": "m"}});
        let text = format!("3 Error creating pod: container failed to start, {reason}");
        assert_eq!(first(json!({"phase": "Pending", "containerStatuses": worker(state.clone())})), text);
        let init = json!({"phase": "Pending", "initContainerStatuses": [{"name": "setup", "state": state}]});
        assert_eq!(first(init), text);
    }
    // The worker runs beside a container that cannot start.
    let aside = json!([{"name": "aside", "state": {"waiting": {"reason": "InvalidImageName"}}}, {"name": "worker", "state": {"running": {}}}]);
    assert_eq!(first(json!({"phase": "Pending", "containerStatuses": aside})), "Running");
}

#[test]
fn unschedulable_pods_wait_with_the_schedulers_words() {
    let words = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.";
    let status = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}]});
    assert_eq!(first(status), format!("{:?}", Sight::Waiting(Some(Detail::PodUnschedulable(words.to_owned())))));
    let gated = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "Scheduling is blocked"}]});
    assert_eq!(
        first(gated),
        format!("{:?}", Sight::Waiting(Some(pending("SchedulingGated", "Scheduling is blocked"))))
    );
}

#[test]
fn containers_that_wait_say_why() {
    let state = |reason: &str, message: &str| json!({"waiting": {"reason": reason, "message": message}});
    let waits = |words: Option<Detail>| format!("{:?}", Sight::Waiting(words));
    let pull = state("ErrImagePull", "pull access denied");
    let words = Some(pending("ErrImagePull", "pull access denied"));
    assert_eq!(first(json!({"phase": "Pending", "containerStatuses": worker(pull.clone())})), waits(words.clone()));
    let init = json!({"phase": "Pending", "initContainerStatuses": [{"name": "setup", "state": pull}],
        "containerStatuses": worker(state("PodInitializing", ""))});
    assert_eq!(first(init), waits(words));
    for reason in ["", "ContainerCreating", "PodInitializing"] {
        assert_eq!(first(json!({"phase": "Pending", "containerStatuses": worker(state(reason, ""))})), waits(None));
    }
}

#[test]
fn failed_before_the_worker_started() {
    let init = json!({"phase": "Failed",
        "initContainerStatuses": [{"name": "setup", "state": {"terminated": {"exitCode": 5}}}],
        "containerStatuses": worker(json!({"waiting": {"reason": "PodInitializing"}}))});
    assert_eq!(first(init), "3 Error creating pod: pod failed to start, init container setup: exit status 5");
    let waiting = worker(json!({"waiting": {"reason": "PodInitializing"}}));
    assert_eq!(
        first(json!({"phase": "Failed", "containerStatuses": waiting})),
        "3 Error creating pod: pod failed to start, PodInitializing"
    );
    assert_eq!(
        first(json!({"phase": "Failed", "reason": "OutOfcpu", "message": "Pod was rejected"})),
        "3 Error creating pod: pod failed to start, OutOfcpu: Pod was rejected"
    );
    assert_eq!(first(json!({"phase": "Failed"})), "3 Error creating pod: pod failed to start");
}

#[test]
fn ended_by_the_cluster() {
    let killed = worker(json!({"terminated": {"exitCode": 137, "reason": "Error"}}));
    let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "low on disk"});
    assert_eq!(first(evicted.clone()), "3 Pod ns/pod-1 evicted: low on disk");
    assert_eq!(later(evicted), "3 Pod ns/pod-1 evicted: low on disk");
    let disrupted = json!({"phase": "Running", "containerStatuses": killed, "conditions": [
        {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}]});
    assert_eq!(later(disrupted), "3 Pod ns/pod-1 evicted: Eviction API: evicting");
    let deadline = json!({"phase": "Failed", "reason": "DeadlineExceeded", "containerStatuses": killed});
    assert_eq!(later(deadline), "3 Pod ns/pod-1 exceeded its deadline of 4s (DeadlineExceeded)");
    assert_eq!(later(json!({"phase": "Failed", "reason": "NodeLost", "message": "m"})), "3 Pod ns/pod-1 nodelost: m");
}

#[test]
fn a_pod_that_is_being_failed_is_waited_for() {
    let ended = worker(json!({"terminated": {"exitCode": 0}}));
    let failing = json!({"phase": "Running", "containerStatuses": ended, "conditions": [
        {"type": "Ready", "status": "False", "reason": "PodFailed"}]});
    assert_eq!(later(failing.clone()), "Running");
    let mut failed = failing;
    failed["phase"] = "Failed".into();
    failed["reason"] = "DeadlineExceeded".into();
    assert_eq!(later(failed), "3 Pod ns/pod-1 exceeded its deadline of 4s (DeadlineExceeded)");
}

#[test]
fn deleted_by_somebody() {
    let mut judge = Judge::default();
    let (_, detail) = Case { ran: false, ..CASE }.outcome(&judge.gone(None));
    assert_eq!(detail.to_string(), r#"Error creating pod: pods "pod-1" not found"#);
    let (_, detail) = CASE.outcome(&judge.gone(None));
    assert_eq!(detail.to_string(), r#"Error getting pod ns/pod-1. Error: pods "pod-1" not found"#);

    let metadata = json!({"deletionTimestamp": "2026-11-21T08:32:36Z", "deletionGracePeriodSeconds": 10});
    let at = |time: &str, code: i32| {
        let terminated = json!({"terminated": {"exitCode": code, "finishedAt": time}});
        let pod = pod_with(metadata.clone(), json!({"phase": "Failed", "containerStatuses": worker(terminated)}));
        Judge::new(true).gone(Some(&pod))
    };
    assert!(matches!(at("2026-11-21T08:32:25Z", 3), End::Exited(_)), "ended before the deletion was asked for");
    assert!(matches!(at("2026-11-21T08:32:26Z", 0), End::Exited(_)));
    assert_eq!(at("2026-11-21T08:32:26Z", 143), End::Deleted);
    assert_eq!(at("2026-11-21T08:32:27Z", 0), End::Deleted);
}

#[test]
fn a_succeeded_pod_without_container_statuses_succeeded() {
    assert_eq!(first(json!({"phase": "Succeeded"})), "2 Finished");
}

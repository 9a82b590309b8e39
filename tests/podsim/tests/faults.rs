//! What can be made to go wrong, as a client sees it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // A test's way to fail.
#![allow(missing_docs)]

mod raw;

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use raw::client::Streaming;
use raw::cluster::{Cluster, Event, PODS, Pod, V5, pod_object, script, script_with_stdin, state};
use raw::websocket::STDIN;
use serde_json::json;
use worknode_podsim::{Effect, Fault, LogRotation, Matching, Options, Trap, Use, Which};

/// For what happens at once, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

fn follow(pod: &Pod<'_>) -> Streaming {
    pod.cluster.admin.open("GET", &format!("{}/log?follow=true", pod.path()), &[], b"")
}

fn watch(cluster: &Cluster, query: &str) -> Streaming {
    cluster.admin.open("GET", &format!("{PODS}?watch=1&{query}"), &[], b"")
}

fn inject(cluster: &Cluster, fault: Fault) -> usize {
    cluster.sim().faults().inject(fault).unwrap()
}

fn names(pod: &Pod<'_>) -> (String, String) {
    ("default".to_owned(), pod.name.clone())
}

#[test]
fn a_cut_hits_only_what_it_is_for() {
    let cluster = Cluster::podsim();
    let pod = cluster.pod(script("echo one; sleep 100"));
    let other = cluster.pod(script("echo other; sleep 100"));
    pod.until_running();
    other.until_running();
    let (mut log, mut other_log, mut watch) = (follow(&pod), follow(&other), watch(&cluster, ""));
    assert_eq!((log.line(), other_log.line()), (b"one\n".to_vec(), b"other\n".to_vec()));
    watch.line();
    assert_eq!(inject(&cluster, Fault::Cut(Which::of_pod(Use::Log, &pod.name))), 1);
    assert_eq!(log.rest_or_break(), (Vec::new(), Some(ErrorKind::UnexpectedEof)));
    assert!(!log.ended_properly);
    other.delete("gracePeriodSeconds=0");
    assert_eq!(other_log.rest(), b"");
    assert!(other_log.ended_properly);
    let event = loop {
        let event = Event::parse(&watch.line());
        if event.kind == "DELETED" {
            break event;
        }
    };
    assert_eq!(event.pod["metadata"]["name"], other.name.as_str());
}

#[test]
fn a_cut_after_so_many_bytes_is_exact() {
    let cluster = Cluster::podsim();
    let pod = cluster.pod(script("seq 1 100000"));
    pod.until_over();
    let whole = pod.log_text("timestamps=true");
    let logs = Matching::new("get", "pods/log");
    for (bytes, effect, broken) in [
        (12_345, Effect::CutAfter { bytes: 12_345 }, ErrorKind::UnexpectedEof),
        (0, Effect::CutAfter { bytes: 0 }, ErrorKind::UnexpectedEof),
        (1_000_001, Effect::CutAfter { bytes: 1_000_001 }, ErrorKind::UnexpectedEof),
        (77, Effect::ResetAfter { bytes: 77 }, ErrorKind::ConnectionReset),
    ] {
        cluster.sim().faults().set(Trap::once(logs.clone(), effect));
        let path = format!("{}/log?follow=true&timestamps=true", pod.path());
        let (got, how) = cluster.admin.open("GET", &path, &[], b"").rest_or_break();
        assert_eq!(how, Some(broken));
        if broken == ErrorKind::ConnectionReset {
            // What was not read yet when the reset came is gone.
            assert!(got.len() <= bytes && whole.as_bytes().starts_with(&got), "{}", got.len());
        } else {
            assert_eq!(got.len(), bytes);
            assert!(whole.as_bytes().starts_with(&got));
        }
    }
    assert_eq!(pod.log_text("timestamps=true"), whole);
}

#[test]
fn a_cut_of_stdin_after_so_many_bytes() {
    let cluster = Cluster::podsim();
    let attaches = Matching::new("get", "pods/attach");
    cluster.sim().faults().set(Trap::once(attaches, Effect::CutAfter { bytes: 100_000 }));
    let pod = cluster.pod(script_with_stdin("wc -c"));
    pod.until_running();
    let mut session = pod.attach("stdin=true&stdout=true", V5);
    for _ in 0..10 {
        // The connection ends in one of them.
        let _ = session.frame(0x82, &[&[STDIN], &[0; 30_000][..]].concat());
    }
    let said = session.rest();
    assert_eq!((said.errors.len(), said.close), (0, None));
    // The process sees a clean end after what came through.
    assert_eq!(state(&pod.until_over(), "worker"), "terminated 0 Completed");
    assert_eq!(pod.log_text("").trim(), "100000");
}

#[test]
fn a_stall_delays_and_loses_nothing() {
    const STALL: Duration = Duration::from_secs(3);
    let cluster = Cluster::podsim();
    let pod = cluster.pod(script("for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.1; done"));
    pod.until_running();
    let mut log = follow(&pod);
    assert_eq!(log.line(), b"1\n");
    let begun = Instant::now();
    assert_eq!(inject(&cluster, Fault::stall(Which::of(Use::Log), STALL)), 1);
    // Others go on.
    assert_eq!(cluster.admin.get(&pod.path()).code(), 200);
    assert!(begun.elapsed() < STALL);
    assert!(log.rest().ends_with(b"5\n6\n7\n8\n"));
    assert!(log.ended_properly && begun.elapsed() >= STALL, "{:?}", begun.elapsed());
}

#[test]
fn a_freeze_holds_new_connections_too() {
    let cluster = Cluster::podsim();
    let begun = Instant::now();
    inject(&cluster, Fault::freeze(Duration::from_millis(700)));
    assert_eq!(cluster.admin.get("/version").code(), 200);
    assert!(begun.elapsed() >= Duration::from_millis(700), "{:?}", begun.elapsed());
}

#[test]
fn watches_expire_inside_the_stream() {
    let cluster = Cluster::podsim();
    let pod = cluster.pod(script("sleep 100"));
    pod.until_running();
    let mut open = watch(&cluster, "");
    assert_eq!(Event::parse(&open.line()).kind, "ADDED");
    inject(&cluster, Fault::ExpireWatches);
    let expired = |watch: &mut Streaming| {
        let error = Event::parse(&watch.line());
        assert_eq!(
            (error.kind.as_str(), &error.pod["code"], &error.pod["reason"]),
            ("ERROR", &json!(410), &json!("Expired"))
        );
        let message = error.pod["message"].as_str().unwrap();
        assert!(message.starts_with("too old resource version: "), "{message}");
        assert_eq!(watch.rest(), b"");
        assert!(watch.ended_properly);
    };
    expired(&mut open);

    let version = cluster.admin.get(PODS).json()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    inject(&cluster, Fault::ForgetHistory);
    expired(&mut watch(&cluster, &format!("resourceVersion={version}")));
    let version = cluster.admin.get(PODS).json()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let mut fresh = watch(&cluster, &format!("resourceVersion={version}&timeoutSeconds=1"));
    assert_eq!((fresh.rest().as_slice(), fresh.ended_properly), (b"".as_slice(), true));

    cluster.sim().faults().set(Trap::once(Matching::new("watch", "pods"), Effect::Gone));
    expired(&mut watch(&cluster, &format!("resourceVersion={version}")));
}

#[test]
fn old_versions_are_forgotten_by_themselves() {
    let cluster = Cluster::podsim_with(Options { history: 5, ..Options::default() });
    cluster.pod(script("true")).until_over();
    let mut old = watch(&cluster, "resourceVersion=1");
    assert_eq!((old.head.code, Event::parse(&old.line()).kind.as_str()), (200, "ERROR"));
}

#[test]
fn a_silent_watch_is_open_and_says_nothing() {
    let cluster = Cluster::podsim();
    cluster.sim().faults().set(Trap::once(Matching::new("watch", "pods"), Effect::Silence));
    let mut silent = watch(&cluster, "timeoutSeconds=2");
    let mut later = watch(&cluster, "timeoutSeconds=2");
    cluster.pod(script("true")).until_over();
    assert_eq!(Event::parse(&later.line()).kind, "ADDED");
    inject(&cluster, Fault::SilenceWatches);
    cluster.pod(script("true")).until_over();
    assert_eq!(silent.rest(), b"");
    let rest = String::from_utf8(later.rest()).unwrap();
    assert!(silent.ended_properly && later.ended_properly);
    assert!(!rest.contains("ADDED"), "{rest}");
}

#[test]
fn a_killed_server_and_its_return() {
    let cluster = Cluster::podsim();
    let pod = cluster.pod(script("for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.2; done"));
    pod.until_running();
    let (mut log, mut open) = (follow(&pod), watch(&cluster, ""));
    assert_eq!(log.line(), b"1\n");
    inject(&cluster, Fault::StopApi { orderly: false });
    for stream in [&mut log, &mut open] {
        assert_eq!(stream.rest_or_break().1, Some(ErrorKind::UnexpectedEof));
    }
    let refused = std::net::TcpStream::connect(cluster.sim().address());
    assert_eq!(refused.err().map(|error| error.kind()), Some(ErrorKind::ConnectionRefused));
    inject(&cluster, Fault::StartApi);
    // The pod has gone on by itself.
    pod.until_over();
    assert_eq!(pod.log_text(""), "1\n2\n3\n4\n5\n6\n7\n8\n9\n");
}

#[test]
fn a_server_that_is_told_to_end() {
    let cluster = Cluster::podsim();
    let pod = cluster.pod(script("echo one; sleep 1; echo two"));
    pod.until_running();
    let (mut log, mut open) = (follow(&pod), watch(&cluster, ""));
    assert_eq!(log.line(), b"one\n");
    open.line();
    inject(&cluster, Fault::StopApi { orderly: true });
    open.rest();
    assert!(open.ended_properly);
    assert!(std::net::TcpStream::connect(cluster.sim().address()).is_err());
    assert_eq!(log.rest(), b"two\n");
    assert!(log.ended_properly);
    inject(&cluster, Fault::StartApi);
    assert_eq!(cluster.admin.get("/version").code(), 200);
}

#[test]
fn overload_and_server_errors() {
    let cluster = Cluster::podsim();
    let faults = cluster.sim().faults();
    faults.set(Trap::once(Matching::new("list", "pods"), Effect::TooManyRequests { retry_after: 7 }));
    let answer = cluster.admin.get(PODS);
    assert_eq!((answer.code(), answer.head.header("retry-after")), (429, Some("7")));
    assert_eq!(answer.text(), "Too many requests, please try again later.\n");
    faults.set(Trap::times(2, Matching::new("list", "pods"), Effect::server_error(503)));
    let codes: Vec<u16> = (0..3).map(|_| cluster.admin.get(PODS).code()).collect();
    assert_eq!(codes, [503, 503, 200]);
    let trap = faults.set(Trap::always(Matching::new("list", "pods"), Effect::Deny));
    let message = "pods is forbidden: User \"kubernetes-admin\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"";
    cluster.admin.get(PODS).assert_status(403, "Forbidden", message);
    faults.remove(trap);
    assert_eq!(cluster.admin.get(PODS).code(), 200);
}

#[test]
fn lost_answers_and_lost_requests() {
    let cluster = Cluster::podsim();
    let faults = cluster.sim().faults();
    let create = |name: &str| {
        let body = pod_object(json!({"name": name}), script("true")).to_string();
        cluster.admin.try_open("POST", PODS, &[("Content-Type", "application/json")], body.as_bytes())
    };
    for (name, effect, exists) in [("answer", Effect::LoseAnswer, 200), ("request", Effect::LoseRequest, 404)] {
        faults.set(Trap::once(Matching::new("create", "pods"), effect));
        let error = create(name).err().expect("no answer");
        assert!([ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset].contains(&error.kind()), "{error}");
        assert_eq!(cluster.admin.get(&format!("{PODS}/{name}")).code(), exists);
    }
    assert_eq!(create("answer").unwrap().head.code, 409);
}

#[test]
fn a_rotated_log_can_be_followed_but_not_read_again() {
    let cluster = Cluster::podsim();
    let pod = cluster.pod(script_with_stdin("echo before; read x; echo after; read x"));
    pod.until_running();
    let mut session = pod.attach("stdin=true&stdout=true", V5);
    let mut log = follow(&pod);
    assert_eq!(log.line(), b"before\n");
    let (namespace, name) = names(&pod);
    assert_eq!(inject(&cluster, Fault::RotateLogs { namespace, pod: name }), 1);
    assert_eq!(pod.log_text(""), "");
    session.send(STDIN, b"go\n");
    assert_eq!(log.line(), b"after\n");
    assert_eq!(pod.log_text(""), "after\n");
    session.half_close();
    assert_eq!(log.rest(), b"");
}

#[test]
fn rotation_by_size_loses_nothing_for_a_follower_that_keeps_up() {
    let rotation = LogRotation { limit_bytes: 6_000, files: 2, interval: Duration::from_millis(20) };
    let cluster = Cluster::podsim_with(Options { log_rotation: Some(rotation), ..Options::default() });
    let pod = cluster.pod(script("for i in $(seq 1 300); do echo line number $i; sleep 0.01; done; sleep 0.5"));
    pod.until_running();
    let text = String::from_utf8(follow(&pod).rest()).unwrap();
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    assert_eq!(lines, (1..=300).map(|number| format!("line number {number}")).collect::<Vec<_>>());
    let newest = pod.log_text("").lines().count();
    assert!(newest < 250, "{newest} lines are still in the newest file");
}

#[test]
fn rotation_loses_what_a_slow_follower_has_not_seen() {
    let cluster = Cluster::podsim();
    let pod = cluster.pod(script_with_stdin("seq 1 2000000; echo ready; read x; echo last"));
    pod.until_running();
    let mut session = pod.attach("stdin=true", V5);
    while pod.log_text("tailLines=1") != "ready\n" {}
    // Much more than fits into all buffers on the way, so that it stays behind as long as nothing is read.
    let path = format!("{}/log?follow=true&timestamps=true", pod.path());
    let mut log = cluster.admin.open("GET", &path, &[], b"");
    assert!(log.line().ends_with(b"Z 1\n"));
    let (namespace, name) = names(&pod);
    inject(&cluster, Fault::RotateLogs { namespace, pod: name });
    session.send(STDIN, b"go\n");
    session.half_close();
    pod.until_over();
    // A proper end, and no sign that a line is missing.
    let text = String::from_utf8(log.rest()).unwrap();
    assert!(log.ended_properly);
    assert!(text.ends_with("Z ready\n"), "{}", &text[text.len() - 80..]);
    assert_eq!(pod.log_text(""), "last\n");
}

#[test]
fn ends_that_are_not_the_work_s() {
    let cluster = Cluster::podsim();
    let pods = [(); 3].map(|()| cluster.pod(script("exec sleep 100")));
    for pod in &pods {
        pod.until_running();
    }
    let [oom, evicted, deleted] = &pods;
    let (namespace, pod) = names(oom);
    inject(&cluster, Fault::OutOfMemory { namespace, pod, container: "worker".to_owned() });
    let over = oom.until_over();
    assert_eq!(
        (over["status"]["phase"].as_str(), state(&over, "worker").as_str()),
        (Some("Failed"), "terminated 137 OOMKilled")
    );

    let (namespace, pod) = names(evicted);
    inject(&cluster, Fault::NodePressure { namespace, pod });
    let over = evicted.until_over();
    assert_eq!(
        (over["status"]["phase"].as_str(), over["status"]["reason"].as_str()),
        (Some("Failed"), Some("Evicted"))
    );
    assert_eq!(cluster.admin.get(&evicted.path()).code(), 200);

    let (namespace, pod) = names(deleted);
    inject(&cluster, Fault::DeletePod { namespace, pod, grace_seconds: Some(0) });
    assert_eq!(cluster.admin.get(&deleted.path()).code(), 404);
    let (namespace, pod) = names(deleted);
    assert!(cluster.sim().faults().inject(Fault::EvictPod { namespace, pod }).is_err());
}

#[test]
fn a_token_that_was_renewed() {
    let cluster = Cluster::podsim();
    assert_eq!(cluster.admin.get(PODS).code(), 200);
    let token = cluster.sim().faults().renew_token("kubernetes-admin").unwrap();
    cluster.admin.get(PODS).assert_status(401, "Unauthorized", "Unauthorized");
    let client = cluster.admin.with_authorization(Some(&format!("Bearer {token}")));
    assert_eq!(client.get(PODS).code(), 200);
}

#[test]
fn requests_are_counted() {
    let cluster = Cluster::podsim();
    let pod = cluster.pod(script("echo hi"));
    pod.until_over();
    pod.log_text("");
    pod.log_text("");
    let requests = cluster.sim().requests();
    assert_eq!((requests.count("create", "pods"), requests.count("get", "pods/log")), (1, 2));
    let verbs: Vec<_> =
        requests.of_pod(&pod.name).iter().map(|request| format!("{} {}", request.verb, request.resource)).collect();
    assert_eq!(verbs, ["watch pods", "get pods/log", "get pods/log"]);
    assert_eq!(requests.recent()[0].user, "kubernetes-admin");
}

#[test]
fn five_hundred_pods_at_once() {
    let cluster = Cluster::podsim();
    std::thread::scope(|scope| {
        for worker in 0..10 {
            let cluster = &cluster;
            scope.spawn(move || {
                for number in 0..50 {
                    let name = format!("many-{worker}-{number}");
                    let answer = cluster
                        .admin
                        .post(PODS, &pod_object(json!({"name": name}), script("echo $HOSTNAME; exec sleep 1000")));
                    assert_eq!(answer.code(), 201, "{}", answer.text());
                }
            });
        }
    });
    let pods = cluster.sim().pods();
    for worker in 0..10 {
        let name = format!("many-{worker}-49");
        pods.wait_until("default", &name, LIMIT, |pod| pod.is_some_and(|pod| pod["status"]["phase"] == "Running"))
            .unwrap();
    }
    let all = cluster.admin.get(PODS).json();
    assert_eq!(all["items"].as_array().unwrap().len(), 500);
    let log = cluster.admin.get(&format!("{PODS}/many-3-30/log?container=worker"));
    assert_eq!((log.code(), log.text().as_str()), (200, "many-3-30\n"));
    let begun = Instant::now();
    drop(cluster);
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
}

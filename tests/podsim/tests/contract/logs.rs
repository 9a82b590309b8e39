//! kubernetes-streams 4: logs.

use crate::contract;
use crate::raw::cluster::{Pod, V5, container, script, script_with_stdin};
use crate::raw::websocket::STDIN;

/// Runtimes are known to lose the end of what is written at full speed right before the end (4.7).
const LINGER: &str = "; sleep 1";

/// Time stamp and text of a line.
#[track_caller]
fn stamped(line: &str) -> (&str, &str) {
    let (stamp, text) = line.split_once(' ').expect("a time stamp");
    assert_eq!((stamp.len(), &stamp[19..20], &stamp[29..]), (30, ".", "Z"), "{line}");
    (stamp, text)
}

fn over<'a>(cluster: &'a crate::raw::cluster::Cluster, text: &str) -> Pod<'a> {
    let pod = cluster.pod(script(&format!("{text}{LINGER}")));
    pod.until_over();
    pod
}

contract! {
    fn as_text_and_with_time_stamps(cluster) {
        let pod = over(cluster, "echo one; echo; echo three");
        let answer = pod.log("container=worker");
        assert_eq!((answer.code(), answer.text().as_str()), (200, "one\n\nthree\n"));
        assert_eq!(answer.head.header("content-type"), Some("text/plain"));
        let text = pod.log_text("timestamps=true");
        let lines: Vec<_> = text.lines().map(stamped).collect();
        assert_eq!(lines.iter().map(|line| line.1).collect::<Vec<_>>(), ["one", "", "three"]);
        assert!(lines.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    fn what_is_not_preserved(cluster) {
        let pod = over(cluster, r"printf 'b\r\n'; printf 'c\rd\n'; printf 'nul\0\377\n'; printf 'no newline'");
        assert_eq!(pod.log("").body, b"b\nc\rd\nnul\0\xff\nno newline");
    }

    fn long_lines_have_one_time_stamp(cluster) {
        let pod = over(cluster, "head -c 40000 /dev/zero | tr '\\0' x; echo; echo end");
        let text = pod.log_text("timestamps=true");
        let lines: Vec<_> = text.lines().map(stamped).collect();
        assert_eq!(lines.iter().map(|line| line.1.len()).collect::<Vec<_>>(), [40000, 3]);
        // Records are counted, not lines: two of 16 KiB, the rest, and the last.
        let tail = pod.log_text("tailLines=2");
        assert_eq!(tail, format!("{}\nend\n", "x".repeat(40000 - 2 * 16384)));
    }

    fn stderr_lands_in_a_long_line(cluster) {
        let pod = over(
            cluster,
            "head -c 40000 /dev/zero | tr '\\0' L; sleep 1; echo ERR >&2; sleep 1; echo TAIL",
        );
        let text = pod.log_text("timestamps=true");
        let lines: Vec<_> = text.lines().map(|line| stamped(line).1).collect();
        assert_eq!(lines.len(), 2, "{:?}", lines.iter().map(|line| line.len()).collect::<Vec<_>>());
        assert!(lines[0].ends_with("LERR") && lines[1].ends_with("LTAIL"));
        assert_eq!(lines[0].len() + lines[1].len(), 40000 + "ERRTAIL".len());
    }

    fn followed_to_the_end(cluster) {
        let pod = cluster.pod(script_with_stdin("echo one; read x; echo two >&2; read x; echo three; sleep 1"));
        pod.until_running();
        let mut session = pod.attach("stdin=true&stdout=true", V5);
        let mut log = cluster.admin.open("GET", &format!("{}/log?follow=true", pod.path()), &[], b"");
        assert_eq!(log.head.header("transfer-encoding"), Some("chunked"));
        // Live: each is there before the next is written.
        assert_eq!(log.line(), b"one\n");
        session.send(STDIN, b"go\n");
        assert_eq!(log.line(), b"two\n");
        session.send(STDIN, b"go\n");
        assert_eq!(log.rest(), b"three\n");
        assert!(log.ended_properly);
    }

    fn resumed_by_whole_seconds_inclusive(cluster) {
        let pod = over(cluster, "echo one; sleep 2; echo two; sleep 2; echo three");
        let text = pod.log_text("timestamps=true");
        let stamps: Vec<_> = text.lines().map(|line| stamped(line).0.to_owned()).collect();
        let texts = |since: &str| {
            let text = pod.log_text(&format!("timestamps=true&sinceTime={since}"));
            text.lines().map(|line| stamped(line).1.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(texts(&stamps[1]), ["two", "three"]);
        // A nanosecond later is the same second.
        let later = format!("{}999999999Z", &stamps[1][..20]);
        assert_eq!(texts(&later), ["two", "three"]);
        assert_eq!(texts("2000-01-01T00:00:00Z").len(), 3);
        assert_eq!(texts("2099-01-01T00:00:00Z").len(), 0);
    }

    fn parts_of_it(cluster) {
        let pod = over(cluster, "seq 1 100");
        assert_eq!(pod.log_text("tailLines=2"), "99\n100\n");
        assert_eq!(pod.log_text("tailLines=0"), "");
        assert_eq!(pod.log_text("tailLines=1000").lines().count(), 100);
        assert_eq!(pod.log_text("limitBytes=5"), "1\n2\n3");
        assert_eq!(pod.log_text("limitBytes=35&timestamps=true").len(), 35);
        assert_eq!(pod.log_text("sinceSeconds=3600").lines().count(), 100);
        assert_eq!(pod.log_text("bogus=1&tailLines=1"), "100\n");
    }

    fn options_that_cannot_be(cluster) {
        let pod = cluster.pod(script("sleep 100"));
        let invalid = |query: &str, why: &str| {
            let message = format!("PodLogOptions \"{}\" is invalid: {why}", pod.name);
            pod.log(query).assert_status(422, "Invalid", &message);
        };
        invalid("limitBytes=0", "limitBytes: Invalid value: 0: must be greater than 0");
        invalid("tailLines=-1", "tailLines: Invalid value: -1: must be greater than or equal to 0");
        invalid("stream=Stdout", "stream: Forbidden: may not be specified");
        let both = pod.log("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z");
        assert_eq!(both.code(), 422, "{}", both.text());
        assert_eq!(pod.log("tailLines=x").code(), 400);
        assert_eq!(pod.log("sinceTime=yesterday").code(), 400);
    }

    fn no_pod_no_container(cluster) {
        let answer = cluster.admin.get("/api/v1/namespaces/default/pods/nope/log");
        answer.assert_status(404, "NotFound", "pods \"nope\" not found");
        let pod = cluster.pod(script("sleep 100"));
        let message = format!("container zz is not valid for pod {}", pod.name);
        pod.log("container=zz").assert_status(400, "BadRequest", &message);
        pod.until_running();
        let message = format!("previous terminated container \"worker\" in pod \"{}\" not found", pod.name);
        pod.log("previous=true").assert_status(400, "BadRequest", &message);
    }

    fn one_of_several(cluster) {
        let mut spec = script("echo a");
        spec["containers"] = serde_json::json!([container("worker", "echo a; sleep 1"), container("another", "echo b; sleep 1")]);
        let pod = cluster.pod(spec);
        pod.until_over();
        let message = format!("a container name must be specified for pod {}, choose one of: [worker another]", pod.name);
        pod.log("").assert_status(400, "BadRequest", &message);
        assert_eq!(pod.log_text("container=another"), "b\n");
    }

    fn a_container_that_waits(cluster) {
        let mut spec = script("echo main");
        spec["initContainers"] = serde_json::json!([container("first", "exec sleep 1000")]);
        let pod = cluster.pod(spec);
        pod.until(|event| event.state("first") == "running");
        let message = format!("container \"worker\" in pod \"{}\" is waiting to start: PodInitializing", pod.name);
        pod.log("follow=true&container=worker").assert_status(400, "BadRequest", &message);
    }

    fn a_great_many_lines(cluster) {
        let pod = cluster.pod(script("seq 1 200000; sleep 2"));
        pod.until_running();
        let mut log = cluster.admin.open("GET", &format!("{}/log?follow=true", pod.path()), &[], b"");
        let text = String::from_utf8(log.rest()).unwrap();
        assert!(log.ended_properly);
        assert_eq!(text.lines().count(), 200_000);
        assert!(text.lines().enumerate().all(|(index, line)| line == (index + 1).to_string()));
    }

    fn of_a_command_that_could_not_run(cluster) {
        let mut spec = script("");
        spec["containers"][0]["command"] = serde_json::json!(["nosuch"]);
        let pod = cluster.pod(spec);
        pod.until_over();
        assert_eq!(pod.log_text(""), "");
    }
}

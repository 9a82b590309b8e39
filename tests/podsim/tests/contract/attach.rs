//! kubernetes-streams 1 and 2: attach over WebSocket.

use std::time::Duration;

use serde_json::json;

use crate::contract;
use crate::raw::cluster::{Pod, V4, V5, script, script_with_stdin};
use crate::raw::websocket::{ERROR, HALF_CLOSE, Message, STDERR, STDIN, STDOUT};

const ALL: &str = "container=worker&stdin=true&stdout=true&stderr=true";
/// Without output: ends when all is delivered.
const STDIN_ONLY: &str = "container=worker&stdin=true";

fn reading<'a>(cluster: &'a crate::raw::cluster::Cluster, text: &str) -> Pod<'a> {
    let pod = cluster.pod(script_with_stdin(text));
    pod.until_running();
    pod
}

contract! {
    fn there_and_back(cluster) {
        let pod = reading(cluster, "cat; echo done; echo bad >&2");
        let mut session = pod.attach(ALL, &format!("{V5}, {V4}"));
        assert_eq!(session.protocol, V5);
        assert_eq!(session.next(), Message::Data(STDOUT, Vec::new()));
        session.send(STDIN, b"one\n");
        session.stdout_until("one\n");
        session.send(STDIN, b"two\n");
        session.half_close();
        let said = session.rest();
        assert_eq!(String::from_utf8_lossy(&said.stdout), "two\ndone\n");
        assert_eq!(said.stderr, b"bad\n");
        said.assert_success();
        pod.until_over();
        let log = pod.log_text("");
        let mut lines: Vec<_> = log.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["bad", "done", "one", "two"]);
    }

    fn the_protocol_is_the_newest_that_both_know(cluster) {
        let pod = cluster.pod(script("exec sleep 1000"));
        pod.until_running();
        assert_eq!(pod.attach("stdout=true", &format!("{V4}, {V5}")).protocol, V5);
        assert_eq!(pod.attach("stdout=true", V4).protocol, V4);
        assert_eq!(pod.attach("stdout=true", &format!("v9.channel.k8s.io, {V4}")).protocol, V4);
        let refused = pod.try_attach("stdout=true", "v9.channel.k8s.io").err().unwrap();
        assert_eq!((refused.code(), refused.body.as_slice()), (403, b"".as_slice()));
        assert_eq!(pod.attach("stdout=true", "").protocol, "");
    }

    fn a_v4_session_without_stdin_uses_it_up_all_the_same(cluster) {
        let pod = reading(cluster, "cat; echo eof");
        let mut watching = pod.attach("stdout=true", V5);
        assert_eq!(watching.next(), Message::Data(STDOUT, Vec::new()));
        assert!(watching.is_silent_for(Duration::from_secs(1)));
        let said = pod.attach("stdout=true", V4).rest();
        said.assert_success();
        assert_eq!(watching.rest().stdout, b"eof\n");
    }

    fn the_first_frame_says_established(cluster) {
        let pod = reading(cluster, "sleep 100");
        for protocol in [V5, V4] {
            for (query, channel) in [("stdout=true&stderr=true", STDOUT), ("stderr=true", STDERR), ("stdin=true", ERROR)] {
                let mut session = pod.attach(query, protocol);
                assert_eq!(session.next(), Message::Data(channel, Vec::new()), "{query} {protocol}");
            }
        }
    }

    fn success_says_nothing_about_the_exit_code(cluster) {
        let pod = reading(cluster, "head -c 2; exit 3");
        let mut session = pod.attach(ALL, V5);
        session.send(STDIN, b"much more than that\n");
        let said = session.rest();
        assert_eq!(said.stdout, b"mu");
        said.assert_success();
        assert_eq!(crate::raw::cluster::state(&pod.until_over(), "worker"), "terminated 3 Error");
    }

    fn v4_has_no_half_close_but_its_end_is_one(cluster) {
        let pod = reading(cluster, "sleep 2; cat; echo eof");
        let mut session = pod.attach(ALL, V4);
        session.send(STDIN, &b"x".repeat(100_000));
        session.frame(0x82, HALF_CLOSE).unwrap();
        session.send(STDIN, b"y\n");
        session.frame(0x88, &1000_u16.to_be_bytes()).unwrap();
        assert_eq!(session.rest().close, Some(1000));
        pod.until_over();
        assert_eq!(pod.log_text(""), format!("{}y\neof\n", "x".repeat(100_000)));
    }

    fn a_close_of_v5_is_an_end_of_stdin_too(cluster) {
        let pod = reading(cluster, "cat; echo eof");
        let mut session = pod.attach(ALL, V5);
        session.send(STDIN, b"x\n");
        session.stdout_until("x\n");
        session.frame(0x88, &1000_u16.to_be_bytes()).unwrap();
        let said = session.rest();
        assert_eq!((said.errors.len(), said.close), (0, Some(1000)));
        pod.until_over();
        assert_eq!(pod.log_text(""), "x\neof\n");
    }

    fn a_cut_looks_like_a_clean_end(cluster) {
        let pod = reading(cluster, "cat; echo eof");
        let mut session = pod.attach(ALL, V5);
        session.send(STDIN, b"cut off\n");
        session.stdout_until("cut off\n");
        session.cut();
        assert_eq!(crate::raw::cluster::state(&pod.until_over(), "worker"), "terminated 0 Completed");
        assert_eq!(pod.log_text(""), "cut off\neof\n");
    }

    fn a_fragment_is_taken_for_a_message(cluster) {
        let pod = reading(cluster, "cat");
        let mut session = pod.attach(ALL, V5);
        session.frame(0x02, b"\0frag").unwrap();
        session.frame(0x80, b"ment\n").unwrap();
        // Its `m` was taken for the number of a channel that there is not.
        session.half_close();
        session.rest().assert_success();
        pod.until_over();
        assert_eq!(pod.log_text(""), "frag");
    }

    fn text_frames_and_empty_frames(cluster) {
        let pod = reading(cluster, "cat");
        let mut session = pod.attach(ALL, V5);
        session.frame(0x82, b"").unwrap();
        session.send(STDIN, b"");
        session.send(STDOUT, b"not for stdout");
        session.frame(0x81, b"\0text\n").unwrap();
        session.stdout_until("text\n");
        session.frame(0x89, b"ping").unwrap();
        assert_eq!(session.next(), Message::Pong(b"ping".to_vec()));
        session.half_close();
        session.rest().assert_success();
    }

    fn half_closes_that_are_none(cluster) {
        for payload in [&[255][..], &[255, 0, 0], &[255, 5]] {
            let pod = reading(cluster, "cat; echo eof");
            let mut session = pod.attach(ALL, V5);
            // An attach that is over before it has reached the container ends no stdin there: seen on a busy cluster.
            session.send(STDIN, b"there\n");
            session.stdout_until("there\n");
            session.frame(0x82, payload).unwrap();
            let said = session.rest();
            assert_eq!((said.errors.len(), said.close), (0, Some(1000)), "{payload:?}");
            pod.until_over();
            assert_eq!(pod.log_text(""), "there\neof\n");
        }
    }

    fn the_largest_message(cluster) {
        let pod = reading(cluster, "wc -c; sleep 1");
        let mut session = pod.attach(ALL, V5);
        session.frame(0x82, &vec![0; 32 * 1024 * 1024]).unwrap();
        session.half_close();
        let said = session.rest();
        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), (32 * 1024 * 1024 - 1).to_string());
        said.assert_success();
    }

    fn larger_than_the_largest(cluster) {
        let pod = reading(cluster, "cat; sleep 1");
        let mut session = pod.attach(ALL, V5);
        // The connection may be gone before all of it is sent.
        let _ = session.frame(0x82, &vec![0; 32 * 1024 * 1024 + 1]);
        let said = session.rest();
        assert!(said.errors.is_empty() && matches!(said.close, None | Some(1000)), "{said:?}");
    }

    fn only_what_comes_after_it_is_shown(cluster) {
        let pod = reading(cluster, "echo before; read x; echo after");
        assert_eq!(pod.first_line(), "before");
        let mut session = pod.attach(ALL, V5);
        session.send(STDIN, b"go\n");
        assert_eq!(session.rest().stdout, b"after\n");
    }

    fn without_stdin_bytes_are_swallowed(cluster) {
        let pod = cluster.pod(script("trap 'exit 0' TERM; cat; echo eof; while :; do echo tick; sleep 0.1; done"));
        pod.until_running();
        let mut session = pod.attach(ALL, V5);
        session.send(STDIN, b"nobody reads this\n");
        session.half_close();
        assert_eq!(pod.first_line(), "eof");
        session.stdout_until("tick\n");
        pod.delete("");
        let said = session.rest();
        assert!(!String::from_utf8_lossy(&said.stdout).contains("nobody"), "{said:?}");
        said.assert_success();
    }

    fn stdin_alone_ends_when_it_is_delivered(cluster) {
        let pod = reading(cluster, "cat | wc -c; exec sleep 1000");
        let mut session = pod.attach(STDIN_ONLY, V5);
        for _ in 0..20 {
            session.send(STDIN, &[b'x'; 32 * 1024]);
        }
        session.half_close();
        // The container goes on for long.
        session.rest().assert_success();
        assert_eq!(crate::raw::cluster::state(&pod.get(), "worker"), "running");
        assert_eq!(pod.first_line(), (20 * 32 * 1024).to_string());
    }

    fn stdin_alone_does_not_end_before_it_is_read(cluster) {
        let pod = reading(cluster, "exec sleep 1000");
        let mut session = pod.attach(STDIN_ONLY, V5);
        assert_eq!(session.next(), Message::Data(ERROR, Vec::new()));
        for _ in 0..6 {
            session.send(STDIN, &[b'x'; 32 * 1024]);
        }
        session.half_close();
        assert!(session.is_silent_for(Duration::from_secs(2)));
        pod.delete("gracePeriodSeconds=0");
        session.rest();
    }

    fn the_first_end_of_two_closes_stdin_for_good(cluster) {
        let pod = reading(cluster, "cat; echo eof; sleep 1");
        let mut first = pod.attach(ALL, V5);
        let mut second = pod.attach(ALL, V5);
        // What comes back from the process is the proof of being attached; the first frame is none.
        first.send(STDIN, b"first\n");
        first.stdout_until("first\n");
        second.send(STDIN, b"second\n");
        second.stdout_until("second\n");
        first.stdout_until("second\n");
        first.half_close();
        second.stdout_until("eof\n");
        second.rest().assert_success();
        first.rest().assert_success();
        pod.until_over();
        assert_eq!(pod.log_text(""), "first\nsecond\neof\n");
    }

    fn without_stdin_once_there_is_no_end(cluster) {
        let mut spec = script("cat; echo eof");
        spec["containers"][0]["stdin"] = json!(true);
        spec["terminationGracePeriodSeconds"] = json!(1);
        let pod = cluster.pod(spec);
        pod.until_running();
        for text in ["one\n", "two\n"] {
            let mut session = pod.attach(ALL, V5);
            session.send(STDIN, text.as_bytes());
            session.stdout_until(text);
            session.half_close();
            session.rest().assert_success();
        }
        let mut session = pod.attach(ALL, V5);
        session.send(STDIN, b"three\n");
        session.stdout_until("three\n");
        session.cut();
        assert_eq!(crate::raw::cluster::state(&pod.get(), "worker"), "running");
        assert_eq!(pod.log_text(""), "one\ntwo\nthree\n");
    }

    fn wrong_moments_and_names(cluster) {
        let pod = reading(cluster, "sleep 100");
        let refused = |query: &str| pod.try_attach(query, V5).err().unwrap();
        let message = format!("container zz is not valid for pod {}", pod.name);
        refused("container=zz&stdin=true").assert_status(400, "BadRequest", &message);
        let answer = cluster.admin.get(&format!("{}/attach?{ALL}", pod.path()));
        answer.assert_status(400, "BadRequest", "Upgrade request required");
        let path = "/api/v1/namespaces/default/pods/nope/attach?stdin=true";
        let answer = crate::raw::websocket::Session::open(&cluster.admin, path, V5).err().unwrap();
        answer.assert_status(404, "NotFound", "pods \"nope\" not found");
    }

    fn a_container_that_is_not_there_yet(cluster) {
        let mut spec = script_with_stdin("true");
        spec["containers"][0]["image"] = json!("nosuch-image:1");
        let pod = cluster.pod(spec);
        pod.until(|event| event.state("worker").starts_with("waiting ErrImagePull"));
        let why = format!("container worker not found in pod {}_default", pod.name);
        let mut session = pod.attach(ALL, V5);
        assert_eq!(session.next(), Message::Data(STDOUT, Vec::new()));
        let message = session.rest().failure();
        assert_eq!(message, format!("Internal error occurred: unable to upgrade connection: {why}"));
        let refused = pod.try_attach(ALL, V4).err().unwrap();
        assert_eq!((refused.code(), refused.text().as_str()), (500, why.as_str()));
        assert_eq!(refused.head.header("content-type"), Some("text/plain; charset=utf-8"));
    }

    fn a_container_that_is_over(cluster) {
        let pod = cluster.pod(script_with_stdin("true"));
        pod.until_over();
        let message = pod.attach(ALL, V5).rest().failure();
        assert!(
            message.contains("no running task found") || message.contains("container worker not found in pod"),
            "{message}"
        );
    }
}

//! kubernetes-streams 3: attach over SPDY/3.1 by POST.

use std::time::Duration;

use serde_json::json;

use crate::contract;
use crate::raw::cluster::{Cluster, Pod, V4, V5, script_with_stdin, state};
use crate::raw::spdy::{ERROR, Frame, STDERR, STDIN, STDOUT, Session};

const ALL: &str = "container=worker&stdin=true&stdout=true&stderr=true";
/// Without output: ends when all is delivered.
const STDIN_ONLY: &str = "container=worker&stdin=true";

fn reading<'a>(cluster: &'a Cluster, text: &str) -> Pod<'a> {
    let pod = cluster.pod(script_with_stdin(text));
    pod.until_running();
    pod
}

fn try_open(pod: &Pod<'_>, query: &str, protocols: &str) -> Result<Session, crate::raw::client::Answer> {
    Session::open(&pod.cluster.admin, "POST", &format!("{}/attach?{query}", pod.path()), protocols)
}

#[track_caller]
fn open(pod: &Pod<'_>, query: &str, streams: &[u32]) -> Session {
    let session = try_open(pod, query, V4);
    let mut session = session.unwrap_or_else(|answer| panic!("{}: {}", answer.code(), answer.text()));
    session.open_streams(streams);
    session
}

contract! {
    fn there_and_back(cluster) {
        let pod = reading(cluster, "cat; echo done; echo bad >&2");
        let mut session = open(&pod, ALL, &[STDIN, STDOUT, STDERR]);
        assert_eq!(session.protocol, V4);
        session.data(STDIN, false, b"one\n");
        session.stdout_until("one\n");
        session.data(STDIN, true, b"two\n");
        let said = session.rest();
        assert_eq!((String::from_utf8_lossy(&said.stdout).as_ref(), said.stderr.as_slice()), ("two\ndone\n", &b"bad\n"[..]));
        said.assert_success();
        assert_eq!(said.finished, [STDOUT, STDERR]);
        assert!(said.reset.contains(&ERROR), "{said:?}");
        assert_eq!(said.goaway, Some((STDERR, 0)));
        assert_eq!(state(&pod.until_over(), "worker"), "terminated 0 Completed");
    }

    fn the_stock_role_attaches_by_post(cluster) {
        let Some(client) = cluster.restricted() else { return };
        let pod = reading(cluster, "cat; sleep 1");
        let path = format!("{}/attach?{STDIN_ONLY}", pod.path());
        let denied = Session::open(client, "GET", &path, V4).err().unwrap();
        let message = format!("pods \"{}\" is forbidden: User \"system:serviceaccount:default:restricted\" cannot get resource \"pods/attach\" in API group \"\" in the namespace \"default\"", pod.name);
        denied.assert_status(403, "Forbidden", &message);
        let mut session = Session::open(client, "POST", &path, V4).unwrap_or_else(|answer| panic!("{}", answer.text()));
        session.open_streams(&[STDIN]);
        session.data(STDIN, true, b"hello\n");
        session.rest().assert_success();
        pod.until_over();
        assert_eq!(pod.log_text(""), "hello\n");
    }

    fn a_get_does_as_well(cluster) {
        let pod = reading(cluster, "cat");
        let path = format!("{}/attach?{STDIN_ONLY}", pod.path());
        let mut session = Session::open(&cluster.admin, "GET", &path, V4).unwrap_or_else(|answer| panic!("{}", answer.text()));
        session.open_streams(&[STDIN]);
        session.data(STDIN, true, b"");
        session.rest().assert_success();
    }

    fn the_protocol_is_the_first_of_the_clients_that_the_server_knows(cluster) {
        let pod = reading(cluster, "exec sleep 1000");
        assert_eq!(try_open(&pod, ALL, &format!("{V5}, {V4}, v3.channel.k8s.io")).ok().unwrap().protocol, V4);
        assert_eq!(try_open(&pod, ALL, &format!("v3.channel.k8s.io, {V4}")).ok().unwrap().protocol, "v3.channel.k8s.io");
        let refused = try_open(&pod, ALL, V5).err().unwrap();
        let words = format!("unable to upgrade: unable to negotiate protocol: client supports [{V5}], server accepts [{V4} v3.channel.k8s.io v2.channel.k8s.io channel.k8s.io]");
        assert_eq!((refused.code(), refused.text()), (403, format!("{words}\n{words}\n")));
        assert_eq!(refused.head.header("x-accepted-stream-protocol-versions"), Some(V4));
        let path = format!("{}/attach?{ALL}", pod.path());
        let refused = Session::open_with(&cluster.admin, "POST", &path, &[]).err().unwrap();
        let words = "unable to upgrade: X-Stream-Protocol-Version is required\n";
        assert_eq!((refused.code(), refused.text().as_str()), (400, words));
    }

    /// The kubelet's own, wherever it is asked: v4 of the WebSocket, too, but not v5.
    fn an_answer_in_json_is_not_to_be_had(cluster) {
        let pod = reading(cluster, "exec sleep 1000");
        let path = format!("{}/attach?{ALL}", pod.path());
        let json = ("Accept", "application/json");
        let version = ("X-Stream-Protocol-Version", V4);
        let refused = Session::open_with(&cluster.admin, "POST", &path, &[version, json]).err().unwrap();
        assert_eq!((refused.code(), refused.text().as_str()), (406, "406: Not Acceptable\n\nAvailable representations: "));
        Session::open_with(&cluster.admin, "POST", &path, &[version, ("Accept", "*/*")]).ok().unwrap();
        let websocket = |protocol| {
            let headers = [
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ("Sec-WebSocket-Protocol", protocol),
                json,
            ];
            cluster.admin.open("GET", &path, &headers, b"").head.code
        };
        assert_eq!((websocket(V5), websocket(V4)), (101, 406));
    }

    fn wrong_moments_and_names(cluster) {
        let pod = reading(cluster, "sleep 100");
        let refused = |query: &str| try_open(&pod, query, V4).err().unwrap();
        let message = format!("container zz is not valid for pod {}", pod.name);
        refused("container=zz&stdin=true").assert_status(400, "BadRequest", &message);
        let nothing = refused("container=worker");
        assert_eq!((nothing.code(), nothing.text().as_str()), (400, "you must specify at least 1 of stdin, stdout, stderr"));
        let answer = cluster.admin.send("POST", &format!("{}/attach?{ALL}", pod.path()), None);
        answer.assert_status(400, "BadRequest", "Upgrade request required");
        let path = "/api/v1/namespaces/default/pods/nope/attach?stdin=true";
        let answer = Session::open(&cluster.admin, "POST", path, V4).err().unwrap();
        answer.assert_status(404, "NotFound", "pods \"nope\" not found");
        let headers = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let answer = cluster.admin.open("POST", &format!("{}/attach?{ALL}", pod.path()), &headers, b"").finish();
        assert_eq!((answer.code(), answer.text().trim()), (405, "bad method"));
    }

    fn a_container_that_is_not_there_yet(cluster) {
        let mut spec = script_with_stdin("true");
        spec["containers"][0]["image"] = json!("nosuch-image:1");
        let pod = cluster.pod(spec);
        pod.until(|event| event.state("worker").starts_with("waiting ErrImagePull"));
        let refused = try_open(&pod, ALL, V4).err().unwrap();
        let why = format!("container worker not found in pod {}_default", pod.name);
        assert_eq!((refused.code(), refused.text()), (500, why));
    }

    fn stdin_alone_ends_when_it_is_delivered(cluster) {
        let pod = reading(cluster, "cat | wc -c; exec sleep 1000");
        let mut session = open(&pod, STDIN_ONLY, &[STDIN]);
        for _ in 0..20 {
            session.data(STDIN, false, &[b'x'; 32 * 1024]);
        }
        session.data(STDIN, true, b"");
        // The container goes on for long.
        session.rest().assert_success();
        assert_eq!(state(&pod.get(), "worker"), "running");
        assert_eq!(pod.first_line(), (20 * 32 * 1024).to_string());
    }

    fn stdin_alone_does_not_end_before_it_is_read(cluster) {
        let pod = reading(cluster, "exec sleep 1000");
        let mut session = open(&pod, STDIN_ONLY, &[STDIN]);
        for _ in 0..6 {
            session.data(STDIN, false, &[b'x'; 32 * 1024]);
        }
        session.data(STDIN, true, b"");
        assert!(session.is_silent_for(Duration::from_secs(2)));
        pod.delete("gracePeriodSeconds=0");
        session.rest();
    }

    fn a_large_frame(cluster) {
        let pod = reading(cluster, "wc -c; sleep 1");
        let mut session = open(&pod, ALL, &[STDIN, STDOUT, STDERR]);
        session.data(STDIN, true, &vec![0; 16_777_215]);
        let said = session.rest();
        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "16777215");
        said.assert_success();
    }

    fn an_odd_ping_comes_back(cluster) {
        let pod = reading(cluster, "cat");
        let mut session = open(&pod, STDIN_ONLY, &[STDIN]);
        for id in [1, 3, 1] {
            session.ping(id);
            assert_eq!(session.next(), Frame::Ping(id));
        }
        // WINDOW_UPDATE and SETTINGS have no effect.
        session.control(9, &[0, 0, 0, 3, 0, 1, 0, 0]);
        session.control(4, &[0; 4]);
        session.data(STDIN, true, b"");
        session.rest().assert_success();
    }

    fn a_reset_of_stdin_is_its_end(cluster) {
        let pod = reading(cluster, "cat; echo eof");
        let mut session = open(&pod, ALL, &[STDIN, STDOUT, STDERR]);
        session.data(STDIN, false, b"x\n");
        session.stdout_until("x\n");
        session.reset(STDIN);
        let said = session.rest();
        assert_eq!(said.stdout, b"eof\n");
        said.assert_success();
    }

    fn a_cut_looks_like_a_clean_end(cluster) {
        let pod = reading(cluster, "cat; echo eof");
        let mut session = open(&pod, ALL, &[STDIN, STDOUT, STDERR]);
        session.data(STDIN, false, b"cut off\n");
        session.stdout_until("cut off\n");
        session.cut();
        assert_eq!(state(&pod.until_over(), "worker"), "terminated 0 Completed");
        assert_eq!(pod.log_text(""), "cut off\neof\n");
    }

    fn a_missing_stream_is_waited_for_in_silence(cluster) {
        let pod = reading(cluster, "cat; echo eof");
        let mut session = try_open(&pod, STDIN_ONLY, V4).ok().unwrap();
        session.open_stream(ERROR, "streamtype", "error");
        assert_eq!(session.next(), Frame::Reply(ERROR));
        assert!(session.is_silent_for(Duration::from_secs(2)));
        session.open_stream(STDIN, "streamtype", "stdin");
        assert_eq!(session.next(), Frame::Reply(STDIN));
        session.data(STDIN, true, b"x\n");
        session.rest().assert_success();
    }

    fn a_header_in_capitals_hangs_the_session(cluster) {
        let pod = reading(cluster, "cat; echo eof");
        let mut session = try_open(&pod, STDIN_ONLY, V4).ok().unwrap();
        session.open_stream(ERROR, "streamType", "error");
        session.open_stream(STDIN, "streamType", "stdin");
        assert!(session.is_silent_for(Duration::from_secs(2)));
    }
}

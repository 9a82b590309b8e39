//! Streams through a connection that the pod dials, on the simulator. Its pods are processes of this host, whose addresses are
//! not those of their pods: so they bring a token, or are sent away.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::harness::{PATIENCE, World};

const KEYS: &str = "streammethod: tcp, tcpaddress: 127.0.0.1, tcptoken: true";
/// bash knows connections.
const DIAL: &str = "exec 3<>/dev/tcp/$RECEPTOR_HOST/$RECEPTOR_PORT; echo $WORKNODE_TOKEN >&3;";

fn bash(script: &str) -> String {
    let mut pod: serde_json::Value = serde_json::from_str(&super::harness::pod("")).unwrap();
    let worker = &mut pod["spec"]["containers"][0];
    worker["command"] = serde_json::json!(["bash", "-c", format!("{DIAL} {script}")]);
    worker["env"] = serde_json::json!([{"name": "OWN", "value": "kept"}, {"name": "RECEPTOR_HOST", "value": "gone"}]);
    pod.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_dials_gets_its_payload_and_gives_its_output() {
    let world = World::simulated();
    let script = "cat <&3 >/tmp/wn-$$; wc -c </tmp/wn-$$ >&3; rm /tmp/wn-$$; printf $OWN'\r\n\\0' >&3";
    for payload in [Vec::new(), vec![b'x'; 3_000_000]] {
        let mut unit = world.submit(&world.kind(KEYS), &[("secret_kube_pod", &bash(script))], &payload).await;
        assert_eq!(unit.end().await, "2 Finished");
        let expected = format!("{}\nkept\r\n\0", payload.len());
        assert_eq!(String::from_utf8_lossy(&unit.stdout()), expected);
        let told = ["0 Connecting to Kubernetes", "0 Pod created", "0 Sending stdin to pod", "1 Pod Running"];
        assert_eq!(unit.news(), told);
        unit.discard().await.unwrap();
    }
    assert_eq!(world.sim().requests().count("get", "pods/log") + world.sim().requests().count("get", "pods/attach"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_counts() {
    let world = World::simulated();
    let mut unit = world.submit(&world.kind(KEYS), &[("secret_kube_pod", &bash("echo out >&3; exit 3"))], b"").await;
    assert_eq!(unit.end().await, "3 exit status 3");
    assert_eq!(unit.stdout(), b"out\n");
    unit.discard().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_does_not_dial_fails_the_unit() {
    let world = World::simulated();
    let mut unit = world.script(&world.kind(KEYS), "sleep 0.2", b"x\n").await;
    let end = unit.end().await;
    assert!(end.starts_with("3 Error accepting: the pod has not dialed 127.0.0.1:"), "{end}");
    unit.discard().await.unwrap();
}

/// The port in the worker's environment.
async fn port(world: &World, name: &str) -> u16 {
    let there = |pod: Option<&serde_json::Value>| pod.is_some();
    world.sim().pods().until("default", name, PATIENCE, there).await.unwrap();
    let pod = world.sim().pods().get("default", name).unwrap();
    let env = pod["spec"]["containers"][0]["env"].as_array().unwrap().clone();
    let value = env.iter().find(|variable| variable["name"] == "RECEPTOR_PORT").unwrap()["value"].clone();
    value.as_str().unwrap().parse().unwrap()
}

/// Strangers get nothing, and the pod is let in after them.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_sent_away() {
    let world = World::simulated();
    let script = "sleep 2; cat <&3 >&3";
    let mut unit = world.submit(&world.kind(KEYS), &[("secret_kube_pod", &bash(script))], b"secret\n").await;
    let port = port(&world, &unit.asked().await).await;
    let mut stranger = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stranger.write_all(&[b'x'; 33]).await.unwrap();
    let mut got = Vec::new();
    let _ = timeout(PATIENCE, stranger.read_to_end(&mut got)).await.expect("the connection is closed");
    assert_eq!(got, b"");
    assert_eq!(unit.end().await, "2 Finished");
    assert_eq!(unit.stdout(), b"secret\n");
    unit.discard().await.unwrap();
    // Without a token only the pod's own address counts.
    let kind = world.kind("streammethod: tcp, tcpaddress: 127.0.0.1");
    let mut unit = world.submit(&kind, &[("secret_kube_pod", &bash("cat <&3 >&3; sleep 0.5"))], b"secret\n").await;
    let end = unit.end().await;
    assert!(end.starts_with("3 Error accepting: "), "{end}");
    assert_eq!(unit.stdout(), b"");
    unit.discard().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_daemon_cannot_take_the_connection_up() {
    let world = World::simulated();
    let mut unit = world.submit(&world.kind(KEYS), &[("secret_kube_pod", &bash("echo on >&3; sleep 60"))], b"").await;
    unit.has_written(3).await;
    unit.kill().await;
    assert_eq!(unit.recover(), None);
    assert_eq!(unit.end().await, "3 Failed to restart: restart not implemented for streammethod tcp");
    world.sim().pods().until("default", &unit.pod_name(), PATIENCE, |pod| pod.is_none()).await.unwrap();
    unit.discard().await.unwrap();
}

//! What holds on every cluster.

use std::time::Duration;

use tokio::time::Instant;

use super::harness::{World, pod};

/// Each contract as two tests: on the simulator, and on the real cluster if there is one.
macro_rules! contracts {
    ($($name:ident),* $(,)?) => {
        mod simulated {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(super::World::simulated()).await; })*
        }
        mod real {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() {
                if let Some(world) = super::World::real() { super::$name(world).await; }
            })*
        }
    };
}

contracts!(
    a_payload_goes_in_and_comes_out,
    an_empty_stdin_ends_at_once,
    the_last_line_needs_no_line_feed,
    odd_bytes_come_through,
    an_exit_code_fails_the_unit,
    receptors_rule_passes_over_an_exit_code,
    a_worker_that_does_not_read_is_no_failure,
    a_cancelled_unit_has_no_pod,
    a_released_unit_has_no_pod,
    an_image_that_cannot_be_named_fails_at_once,
    a_pending_pod_times_out,
    containers_are_made_of_config_and_parameters,
    the_end_is_known_at_once,
    megabytes_go_through,
    many_lines_come_once,
);

async fn a_payload_goes_in_and_comes_out(world: World) {
    let kind = world.kind("");
    let mut unit = world.script(&kind, "cat; echo done", b"hello\nworld\n").await;
    assert_eq!(unit.end().await, "2 Finished");
    assert_eq!(String::from_utf8_lossy(&unit.stdout()), "hello\nworld\ndone\n");
    let told = ["0 Connecting to Kubernetes", "0 Pod created", "0 Sending stdin to pod", "1 Pod Running"];
    assert_eq!(unit.news(), told);
    assert!(unit.pod_name().starts_with("test-"), "{}", unit.pod_name());
    let record = unit.record();
    assert_eq!((record["step"].as_str(), record["exitCode"].as_i64()), (Some("ended"), Some(0)));
    unit.discard().await.unwrap();
}

async fn an_empty_stdin_ends_at_once(world: World) {
    let kind = world.kind("");
    let mut unit = world.script(&kind, "cat; echo at end", b"").await;
    assert_eq!(unit.end().await, "2 Finished");
    assert_eq!(String::from_utf8_lossy(&unit.stdout()), "at end\n");
    unit.discard().await.unwrap();
}

async fn the_last_line_needs_no_line_feed(world: World) {
    let kind = world.kind("");
    let mut unit = world.script(&kind, "cat; printf 'a\n\nb'; sleep 0.3", b"").await;
    assert_eq!(unit.end().await, "2 Finished");
    assert_eq!(String::from_utf8_lossy(&unit.stdout()), "a\n\nb");
    unit.discard().await.unwrap();
}

async fn odd_bytes_come_through(world: World) {
    let kind = world.kind("");
    let payload = b"\0nul\n\xff\xfeinvalid\n\n \nlast\n";
    let mut unit = world.script(&kind, "cat; sleep 0.3", payload).await;
    assert_eq!(unit.end().await, "2 Finished");
    assert_eq!(unit.stdout(), payload);
    unit.discard().await.unwrap();
}

async fn an_exit_code_fails_the_unit(world: World) {
    let kind = world.kind("");
    let mut unit = world.script(&kind, "cat; exit 3", b"x\n").await;
    assert_eq!(unit.end().await, "3 exit status 3");
    assert_eq!(unit.stdout(), b"x\n");
    unit.discard().await.unwrap();
}

async fn receptors_rule_passes_over_an_exit_code(world: World) {
    let kind = world.kind("failonexitcode: false");
    let mut unit = world.script(&kind, "cat; sleep 1.5; exit 3", b"x\n").await;
    assert_eq!(unit.end().await, "2 Finished");
    unit.discard().await.unwrap();
}

async fn a_worker_that_does_not_read_is_no_failure(world: World) {
    let kind = world.kind("");
    let payload = vec![b'x'; 40_000_000];
    let mut unit = world.script(&kind, "head -c 1000000 >/dev/null; echo enough", &payload).await;
    assert_eq!(unit.end().await, "2 Finished");
    assert_eq!(unit.stdout(), b"enough\n");
    unit.discard().await.unwrap();
}

async fn a_cancelled_unit_has_no_pod(world: World) {
    let kind = world.kind("graceperiod: 1s");
    let mut unit = world.script(&kind, "cat; echo on; sleep 1000", b"x\n").await;
    unit.told("1 Pod Running").await;
    unit.cancel.cancel();
    let ending = format!("{:?}", unit.ending().await);
    assert_eq!(ending, "Cancelled { leftover: false }");
    assert_eq!(unit.record()["step"], "deleted");
    assert!(!unit.dir.file("secrets.json").exists());
    // Again, after the pod is gone.
    unit.discard().await.unwrap();
}

async fn a_released_unit_has_no_pod(world: World) {
    let kind = world.kind("");
    let mut unit = world.script(&kind, "cat", b"x\n").await;
    unit.end().await;
    assert!(unit.dir.file("secrets.json").exists());
    unit.discard().await.unwrap();
    assert_eq!(unit.record()["step"], "deleted");
    assert!(!unit.dir.file("secrets.json").exists());
    unit.discard().await.unwrap();
}

async fn an_image_that_cannot_be_named_fails_at_once(world: World) {
    let kind = world.kind("");
    let mut unit = world.submit(&kind, &[("kube_image", "Not A Name"), ("kube_command", "true")], b"").await;
    assert_eq!(unit.end().await, "3 Error creating pod: container failed to start, InvalidImageName");
    assert_eq!(unit.record()["step"], "deleted");
}

async fn a_pending_pod_times_out(world: World) {
    let kind = world.kind("");
    let nowhere = pod("true").replace("\"containers\"", "\"nodeSelector\":{\"no\":\"such\"},\"containers\"");
    let params = [("secret_kube_pod", nowhere.as_str()), ("pod_pending_timeout", "1500ms")];
    let mut unit = world.submit(&kind, &params, b"").await;
    unit.told_begin("0 Pod created: Unschedulable: 0/1 nodes are available: ").await;
    assert_eq!(unit.end().await, "3 Error creating pod: timed out waiting for the condition");
    assert_eq!(unit.record()["step"], "deleted");
}

async fn containers_are_made_of_config_and_parameters(world: World) {
    let kind = world.kind("image: busybox, command: echo, params: \"a 'b  c'\"");
    let mut unit = world.submit(&kind, &[("kube_params", "d")], b"").await;
    assert_eq!(unit.end().await, "2 Finished");
    assert_eq!(unit.stdout(), b"a b  c d\n");
    assert!(unit.pod_name().starts_with("kubeit-"));
    unit.discard().await.unwrap();
}

async fn the_end_is_known_at_once(world: World) {
    let kind = world.kind("");
    let begin = Instant::now();
    let mut unit = world.script(&kind, "cat >/dev/null; echo hi; sleep 3", b"").await;
    assert_eq!(unit.end().await, "2 Finished");
    let elapsed = begin.elapsed();
    assert_eq!(unit.stdout(), b"hi\n");
    eprintln!("echo; sleep 3: {elapsed:?}");
    // The figure is the benchmark's; here only that no fixed sleeps and no five requests in a row came in.
    assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");
    unit.discard().await.unwrap();
}

async fn megabytes_go_through(world: World) {
    let kind = world.kind("");
    // Lines of 100 bytes; 8 MiB stay below the kubelet's rotation at 10 MiB.
    let payload: Vec<u8> = (0..83_000).flat_map(|number| format!("{number:099}\n").into_bytes()).collect();
    let begin = Instant::now();
    let mut unit = world.script(&kind, "cat; sleep 1", &payload).await;
    assert_eq!(unit.end().await, "2 Finished");
    eprintln!("{} bytes through cat: {:?}", payload.len(), begin.elapsed());
    assert!(unit.stdout() == payload, "{} of {} bytes", unit.stdout().len(), payload.len());
    unit.discard().await.unwrap();
}

async fn many_lines_come_once(world: World) {
    let kind = world.kind("");
    let begin = Instant::now();
    let mut unit = world.script(&kind, "cat; seq 1 200000; sleep 1", b"").await;
    assert_eq!(unit.end().await, "2 Finished");
    eprintln!("200,000 lines: {:?}", begin.elapsed());
    let expected: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    assert!(unit.stdout() == expected.as_bytes(), "{} of {} bytes", unit.stdout().len(), expected.len());
    unit.discard().await.unwrap();
}

//! Output by attach, on the simulator.

use worknode_podsim::{Effect, Fault, Matching, Trap, Use, Which};
use worknode_protocol::control::Params;

use super::harness::{PATIENCE, Unit, World};

const KEYS: &str = "streammethod: attach";

async fn finished(unit: &mut Unit, output: &[u8]) {
    assert_eq!(unit.end().await, "2 Finished");
    assert_eq!(unit.stdout().escape_ascii().to_string(), output.escape_ascii().to_string());
    unit.discard().await.unwrap();
}

fn logs_followed(world: &World) -> usize {
    let requests = world.sim().requests().recent();
    requests.iter().filter(|request| request.resource == "pods/log" && request.target.contains("follow=true")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_come_as_they_were_written() {
    let world = World::simulated();
    let mut unit = world.script(&world.kind(KEYS), "cat; printf 'a\r\nb\\0c'; sleep 0.2", b"x\r\ny\n").await;
    finished(&mut unit, b"x\r\ny\na\r\nb\0c").await;
    assert_eq!(logs_followed(&world), 0);
    assert!(world.sim().requests().total() <= 8, "{:?}", world.sim().requests().counts());
}

#[tokio::test(flavor = "multi_thread")]
async fn megabytes_come_once() {
    let world = World::simulated();
    let payload: Vec<u8> = (0..400_000).flat_map(|number| format!("{number:07} of many\n").into_bytes()).collect();
    let mut unit = world.script(&world.kind(KEYS), "cat; sleep 0.5", &payload).await;
    assert_eq!(unit.end().await, "2 Finished");
    assert!(unit.stdout() == payload, "{} of {}", unit.stdout().len(), payload.len());
    assert_eq!(logs_followed(&world), 0);
    unit.discard().await.unwrap();
}

/// The attach comes too late for what is written first: the log has it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_before_is_in_the_log() {
    let world = World::simulated();
    world.sim().faults().set(Trap::once(Matching::new("get", "pods/attach"), Effect::Delay { millis: 700 }));
    let mut unit = world.script(&world.kind(KEYS), "echo early; cat; echo late; sleep 3", b"x\n").await;
    finished(&mut unit, b"early\nx\nlate\n").await;
    assert_eq!(logs_followed(&world), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_goes_on_where_an_attach_breaks() {
    let world = World::simulated();
    let script =
        "cat; printf 'a\r\n'; i=1; while [ $i -le 300 ]; do echo $i; i=$((i+1)); sleep 0.01; done; echo end >&2";
    let mut unit = world.script(&world.kind(KEYS), script, b"x\n").await;
    unit.has_written(100).await;
    world.sim().faults().inject(Fault::Cut(Which::of(Use::Attach))).unwrap();
    let lines: String = (1..=300).map(|number| format!("{number}\n")).collect();
    finished(&mut unit, format!("x\na\r\n{lines}end\n").as_bytes()).await;
    assert_eq!(logs_followed(&world), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_loses_and_doubles_nothing() {
    let world = World::simulated();
    let script = "cat; i=1; while [ $i -le 300 ]; do echo $i; i=$((i+1)); sleep 0.01; done";
    let mut unit = world.script(&world.kind(KEYS), script, b"x\r\n").await;
    unit.has_written(100).await;
    unit.kill().await;
    assert_eq!(unit.recover(), None);
    let lines: String = (1..=300).map(|number| format!("{number}\n")).collect();
    finished(&mut unit, format!("x\r\n{lines}").as_bytes()).await;
}

/// SPDY and v4 cannot attach to output alone without ending stdin.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_websockets_has_the_log() {
    let mut world = World::simulated();
    let restricted = world.sim().restricted_kubeconfig_path().to_owned();
    world.use_kubeconfig(&restricted);
    let mut unit = world.script(&world.kind(KEYS), "cat; echo done; sleep 0.2", b"x\n").await;
    finished(&mut unit, b"x\ndone\n").await;
    assert_eq!(logs_followed(&world), 1);
    let mut unit = world.script(&world.kind("streammethod: attach, stderr: separate"), "cat", b"x\n").await;
    let end = unit.end().await;
    assert!(end.contains("stderr cannot be separated with streammethod attach on this cluster"), "{end}");
    unit.discard().await.unwrap();
    let mut unit = world.script(&world.kind("streammethod: attach, stderr: auto"), "cat; sleep 0.2", b"x\n").await;
    finished(&mut unit, b"x\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_error_is_kept_apart() {
    let world = World::simulated();
    let kind = world.kind("streammethod: attach, stderr: separate");
    let mut unit = world.script(&kind, "cat; echo bad >&2; echo good; sleep 0.2", b"x\n").await;
    finished(&mut unit, b"x\ngood\n").await;
    assert_eq!(std::fs::read(unit.dir.file("stderr")).unwrap(), b"bad\n");
    // It cannot be had again: what an attach that breaks has missed is told.
    let mut unit = world.script(&kind, "cat; echo good; sleep 3; echo lost", b"").await;
    unit.has_written(5).await;
    world.sim().faults().inject(Fault::Cut(Which::of(Use::Attach))).unwrap();
    let end = unit.end().await;
    assert!(end.starts_with("2 Output may be incomplete: "), "{end}");
    unit.discard().await.unwrap();
    world.sim().pods().until("default", &unit.pod_name(), PATIENCE, |pod| pod.is_none()).await.unwrap();
}

#[test]
fn standard_error_is_not_promised_apart() {
    let world = World::none();
    let kind = world.file_kind("authmethod: kubeconfig, namespace: n, image: x, stderr: separate");
    let refused = crate::runner::WorkKind::plan(&kind, &Params::default());
    let words = refused.err().map(|fault| fault.to_string());
    assert_eq!(words.as_deref(), Some("stderr cannot be separated with streammethod logger on this cluster"));
}

//! A real API server that is killed, away or frozen. `WORKNODE_FAULT_CLUSTER` names the program that does it to the cluster
//! of `WORKNODE_KUBECONFIG`: its verbs are `pause-api SECONDS`, `freeze-api SECONDS`, `stop-api` and `start-api`. That
//! cluster must be nobody else's.

use std::{ffi::OsString, time::Duration};

use tokio::process::Command;

use super::harness::World;

/// The cluster and its program, if both are named.
fn cluster() -> Option<(World, OsString)> {
    let Some(program) = std::env::var_os("WORKNODE_FAULT_CLUSTER") else {
        eprintln!("skipped: WORKNODE_FAULT_CLUSTER is not set");
        return None;
    };
    World::real().map(|world| (world, program))
}

async fn order(program: &OsString, words: &[&str]) {
    let done = Command::new(program).args(words).status().await.unwrap();
    assert!(done.success(), "{words:?}: {done}");
}

const LINES: &str = "cat; i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; [ $((i % 25)) != 0 ] || sleep 0.1; done";

/// The tests share one API server: one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_away_costs_nothing() {
    let Some((world, program)) = cluster() else { return };
    let expected: String = (1..=3000).map(|number| format!("{number}\n")).collect();
    for verb in ["pause-api", "freeze-api"] {
        let mut unit = world.script(&world.kind(""), LINES, b"").await;
        unit.has_written(2000).await;
        order(&program, &[verb, "5"]).await;
        assert_eq!(unit.end().await, "2 Finished", "{verb}");
        assert_eq!(String::from_utf8(unit.stdout()).unwrap(), expected, "{verb}");
        unit.discard().await.unwrap();
    }
    a_killed_api_server_cuts_stdin(&world, &program).await;
}

async fn a_killed_api_server_cuts_stdin(world: &World, program: &OsString) {
    let payload = vec![b'x'; 64 * 1024 * 1024];
    let script = "sleep 1; cat | wc -c; exit 0";
    let mut unit = world.script(&world.kind("graceperiod: 1s"), script, &payload).await;
    unit.told("0 Sending stdin to pod").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    order(program, &["stop-api"]).await;
    order(program, &["start-api"]).await;
    let end = unit.end().await;
    assert!(end.starts_with("3 stdin was cut at byte ") && end.ends_with(" of 67108864"), "{end}");
    unit.discard().await.unwrap();
}

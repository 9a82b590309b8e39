//! Accounts that may not do everything, and what stands between them and the API server.

use std::time::Duration;

use worknode_podsim::{ConnectProxy, Effect, Fault, Matching, Rule, Trap, Tunnel};

use super::harness::{Unit, World, pod};

const LONG: usize = 20_000_000;

/// Submits a script under another account.
async fn script_as(world: &World, kubeconfig: &str, script: &str, stdin: &[u8]) -> Unit {
    let params = [("secret_kube_config", kubeconfig), ("secret_kube_pod", &pod(script))];
    world.submit(&world.kind(""), &params, stdin).await
}

fn stock_role(world: &World) -> String {
    std::fs::read_to_string(world.sim().restricted_kubeconfig_path()).unwrap()
}

/// An account with these verbs on `pods/attach`.
fn role(world: &World, verbs: &[&str]) -> String {
    let rules = vec![
        Rule::within("default", &["pods"], &["get", "list", "watch", "create", "delete"]),
        Rule::within("default", &["pods/log"], &["get"]),
        Rule::within("default", &["pods/attach"], verbs),
    ];
    let path = world.sim().kubeconfig_for("someone", rules).unwrap();
    std::fs::read_to_string(path).unwrap()
}

fn attaches(world: &World) -> (u64, u64) {
    let requests = world.sim().requests();
    (requests.count("get", "pods/attach"), requests.count("create", "pods/attach"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stock_role_attaches_by_post_and_is_refused_once_only() {
    let world = World::simulated();
    let kubeconfig = stock_role(&world);
    let kind = world.kind("");
    let payload: Vec<u8> = (0..300_000).flat_map(|line| format!("{line}\n").into_bytes()).collect();
    for units in 1..=3 {
        let params = [("secret_kube_config", kubeconfig.as_str()), ("secret_kube_pod", &pod("cat"))];
        let mut unit = world.submit(&kind, &params, &payload).await;
        assert_eq!(unit.end().await, "2 Finished");
        assert!(unit.stdout() == payload, "{} of {} bytes", unit.stdout().len(), payload.len());
        assert_eq!(attaches(&world), (1, units));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_only_get_attaches_by_websocket() {
    let world = World::simulated();
    let mut unit = script_as(&world, &role(&world, &["get"]), "cat", b"x\n").await;
    assert_eq!(unit.end().await, "2 Finished");
    assert_eq!(attaches(&world), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_attach_is_told_the_rule_it_lacks() {
    let world = World::simulated();
    let mut unit = script_as(&world, &role(&world, &[]), "cat", b"x").await;
    let (end, name) = (unit.end().await, unit.pod_name());
    let refusal = |verb: &str| {
        format!(
            "pods \"{name}\" is forbidden: User \"someone\" cannot {verb} resource \"pods/attach\" in API group \"\" in the \
             namespace \"default\""
        )
    };
    let expected = format!(
        "3 Error streaming stdin to pod default/{name}. Error: by WebSocket: {}; by SPDY: {}; add to the role in the \
         namespace \"default\" the rule {{apiGroups: [\"\"], resources: [\"pods/attach\"], verbs: [\"get\", \"create\"]}}",
        refusal("get"),
        refusal("create"),
    );
    assert_eq!(end, expected);
    assert_eq!(unit.record()["step"], "deleted");
}

/// As with a proxy that knows no WebSocket.
#[tokio::test(flavor = "multi_thread")]
async fn without_websockets_there_is_spdy() {
    for code in [400, 404, 405] {
        let world = World::simulated();
        let effect = Effect::Refuse { code, reason: String::new(), message: "not here".to_owned(), retry_after: None };
        world.sim().faults().set(Trap::always(Matching::new("get", "pods/attach"), effect));
        let mut unit = world.script(&world.kind(""), "cat", b"x\n").await;
        assert_eq!((unit.end().await.as_str(), unit.stdout().as_slice()), ("2 Finished", &b"x\n"[..]), "{code}");
    }
}

/// The role was changed while the daemon ran.
#[tokio::test(flavor = "multi_thread")]
async fn what_worked_is_not_taken_for_granted() {
    let world = World::simulated();
    let kind = world.kind("");
    for (verbs, attached) in [(["create"], (1, 1)), (["get"], (2, 2)), (["create"], (3, 3))] {
        let kubeconfig = role(&world, &verbs);
        let params = [("secret_kube_config", kubeconfig.as_str()), ("secret_kube_pod", &pod("cat"))];
        let mut unit = world.submit(&kind, &params, b"x\n").await;
        assert_eq!(unit.end().await, "2 Finished", "{verbs:?}");
        assert_eq!(attaches(&world), attached, "{verbs:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_by_spdy_is_a_failure_whatever_the_exit_code() {
    for effect in [Effect::CutAfter { bytes: 3_000_000 }, Effect::ResetAfter { bytes: 3_000_000 }] {
        let world = World::simulated();
        world.sim().faults().set(Trap::once(Matching::new("create", "pods/attach"), effect));
        let payload = vec![b'x'; LONG];
        let mut unit = script_as(&world, &stock_role(&world), "cat >/dev/null; exit 0", &payload).await;
        let end = unit.end().await;
        assert!(end.starts_with("3 stdin was cut at byte ") && end.ends_with(" of 20000000"), "{end}");
        assert_eq!(unit.record()["step"], "deleted");
    }
}

/// A process that goes on after it has read a little ends the session by its own end.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_read_is_no_cut() {
    let world = World::simulated();
    let payload = vec![b'x'; LONG];
    let mut unit = script_as(&world, &stock_role(&world), "head -c 1000 >/dev/null; echo enough", &payload).await;
    assert_eq!(unit.end().await, "2 Finished");
    assert_eq!(unit.stdout(), b"enough\n");
}

/// An end that comes before the container's: all of it is in the process's pipe, and the unit says so at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_waits_is_waited_for() {
    let world = World::simulated();
    let payload = vec![b'x'; 1_000_000];
    let mut unit = script_as(&world, &stock_role(&world), "sleep 1; wc -c; sleep 1", &payload).await;
    unit.told("1 Pod Running").await;
    assert_eq!(unit.record()["step"], "stdin-sent");
    assert_eq!(unit.end().await, "2 Finished");
    assert_eq!(String::from_utf8_lossy(&unit.stdout()).trim(), "1000000");
}

/// The server's name leads nowhere: what arrives has come through the proxy, log and attach by either transport included.
#[tokio::test(flavor = "multi_thread")]
async fn a_kubeconfigs_proxy_carries_the_streams_too() {
    let world = World::simulated();
    for kubeconfig in [world.kubeconfig_text(), stock_role(&world)] {
        let proxy = ConnectProxy::start(world.sim().address()).unwrap();
        let server = format!("https://kubernetes:6443\n    proxy-url: http://user:p%40ss@{}", proxy.address());
        let kubeconfig = kubeconfig.replace(&world.sim().url(), &server);
        let payload = b"0123456789\n".repeat(100_000);
        let mut unit = script_as(&world, &kubeconfig, "cat", &payload).await;
        assert_eq!(unit.end().await, "2 Finished");
        assert!(unit.stdout() == payload);
        unit.discard().await.unwrap();
        let tunnels = proxy.tunnels();
        // At least one for the attach, which has a connection of its own, and one for all else.
        assert!(tunnels.len() >= 2, "{tunnels:?}");
        let authorization = Some("Basic dXNlcjpwQHNz".to_owned());
        let wanted = Tunnel { target: "kubernetes:6443".to_owned(), authorization };
        assert!(tunnels.iter().all(|tunnel| *tunnel == wanted), "{tunnels:?}");
    }
}

/// As a real one does: its port is open before it knows the roles.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_comes_back_is_given_a_moment() {
    let world = World::simulated();
    let script =
        "cat; i=1; while [ $i -le 3000 ]; do echo line $i; i=$((i+1)); [ $((i % 50)) = 0 ] && sleep 0.02; done; exit 0";
    let mut unit = script_as(&world, &stock_role(&world), script, b"").await;
    unit.has_written(2000).await;
    let faults = world.sim().faults();
    faults.inject(Fault::StopApi { orderly: false }).unwrap();
    for (verb, resource) in [("watch", "pods"), ("list", "pods"), ("get", "pods"), ("get", "pods/log")] {
        faults.set(Trap::times(2, Matching::new(verb, resource), Effect::Deny));
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    faults.inject(Fault::StartApi).unwrap();
    assert_eq!(unit.end().await, "2 Finished");
    let lines: String = (1..=3000).map(|number| format!("line {number}\n")).collect();
    assert_eq!(String::from_utf8_lossy(&unit.stdout()), lines);
}

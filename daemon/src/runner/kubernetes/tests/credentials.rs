//! Credentials that change, and plugins that make them, on the simulator.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;
use worknode_podsim::{Fault, Which};

use super::harness::{PATIENCE, Unit, World};
use crate::runner::kubernetes::KubernetesKind;

const UNITS: usize = 8;

/// A cluster whose kubeconfig runs a program that prints the token of the file `token`, and counts its runs.
struct Plugin {
    world: World,
    directory: PathBuf,
}

impl Plugin {
    fn new() -> Self {
        let mut world = World::simulated();
        let directory = world.directory.path().join("plugin");
        std::fs::create_dir(&directory).unwrap();
        let program = directory.join("plugin");
        let script = format!(
            "#!/bin/sh\necho run >> {0}/runs\n[ ! -e {0}/broken ] || exit 7\nprintf '{1}' \"$(cat {0}/token)\"\n",
            directory.display(),
            r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"}}"#,
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::write(directory.join("token"), world.sim().admin_token()).unwrap();
        let token = format!("\"token\":\"{}\"", world.sim().admin_token());
        let exec = format!(
            "\"exec\":{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"command\":{program:?},\"interactiveMode\":\"Never\"}}"
        );
        let kubeconfig: serde_json::Value = worknode_protocol::yaml::from_str(&world.kubeconfig_text()).unwrap();
        let text = kubeconfig.to_string();
        assert!(text.contains(&token), "the token is not where it was");
        let file = directory.join("kubeconfig");
        std::fs::write(&file, text.replace(&token, &exec)).unwrap();
        world.use_kubeconfig(&file);
        Self { world, directory }
    }

    fn runs(&self) -> usize {
        std::fs::read_to_string(self.directory.join("runs")).map_or(0, |runs| runs.lines().count())
    }

    /// The old token is refused from now on, and the streams over it end.
    fn renew(&self) {
        let token = self.world.sim().faults().renew_token("kubernetes-admin").unwrap();
        std::fs::write(self.directory.join("token"), token).unwrap();
        self.world.sim().faults().inject(Fault::Cut(Which::default())).unwrap();
    }
}

async fn running(world: &World, kind: &Arc<KubernetesKind>, gate: &Path) -> Vec<Unit> {
    let script = format!("cat; while [ ! -e {} ]; do sleep 0.05; done", gate.display());
    let mut units = Vec::new();
    for _ in 0..UNITS {
        units.push(world.script(kind, &script, b"x\n").await);
    }
    for unit in &mut units {
        unit.told("1 Pod Running").await;
    }
    units
}

async fn finish(units: Vec<Unit>, gate: &Path) {
    std::fs::write(gate, "").unwrap();
    for mut unit in units {
        assert_eq!(unit.end().await, "2 Finished");
        assert_eq!(unit.stdout(), b"x\n");
        unit.discard().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_made_anew_once_for_all_units() {
    let plugin = Plugin::new();
    let gate = plugin.directory.join("gate");
    let kind = plugin.world.kind("");
    let units = running(&plugin.world, &kind, &gate).await;
    // kube's client runs it more than once for each client.
    let each = plugin.runs();
    assert!(each <= 3, "{each}");
    plugin.renew();
    finish(units, &gate).await;
    assert_eq!(plugin.runs(), 2 * each);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_fails_for_a_while_is_run_again() {
    let plugin = Plugin::new();
    let gate = plugin.directory.join("gate");
    let kind = plugin.world.kind("");
    let units = running(&plugin.world, &kind, &gate).await;
    std::fs::write(plugin.directory.join("broken"), "").unwrap();
    plugin.renew();
    let deadline = Instant::now() + PATIENCE;
    let before = plugin.runs();
    while plugin.runs() < before + 2 {
        assert!(Instant::now() < deadline, "the plugin is not run again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    std::fs::remove_file(plugin.directory.join("broken")).unwrap();
    finish(units, &gate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubeconfig_that_was_replaced_is_read_anew() {
    let mut world = World::simulated();
    let (file, gate) = (world.directory.path().join("kubeconfig"), world.directory.path().join("gate"));
    let (text, old) = (world.kubeconfig_text(), world.sim().admin_token().to_owned());
    std::fs::write(&file, &text).unwrap();
    world.use_kubeconfig(&file);
    let units = running(&world, &world.kind(""), &gate).await;
    let new = world.sim().faults().renew_token("kubernetes-admin").unwrap();
    std::fs::write(&file, text.replace(&old, &new)).unwrap();
    world.sim().faults().inject(Fault::Cut(Which::default())).unwrap();
    finish(units, &gate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_stays_refused_ends_the_unit_at_once() {
    let world = World::simulated();
    let gate = world.directory.path().join("gate");
    let mut units = running(&world, &world.kind(""), &gate).await;
    world.sim().faults().renew_token("kubernetes-admin").unwrap();
    // No connection is cut: after that a refusal would not be believed for a minute.
    std::fs::write(&gate, "").unwrap();
    for unit in &mut units {
        let end = unit.end().await;
        assert!(end.starts_with("3 Error ") && end.ends_with("Error: Unauthorized"), "{end}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_of_an_earlier_daemon_waits_for_its_kubeconfig() {
    let mut world = World::simulated();
    let (file, gate) = (world.directory.path().join("kubeconfig"), world.directory.path().join("gate"));
    let text = world.kubeconfig_text();
    std::fs::write(&file, &text).unwrap();
    world.use_kubeconfig(&file);
    let kind = world.kind("");
    let mut units = running(&world, &kind, &gate).await;
    std::fs::write(&file, "").unwrap();
    for unit in &mut units {
        unit.kill().await;
        assert_eq!(unit.recover(), None);
    }
    // One is cancelled meanwhile: nobody can say what became of its pod.
    let mut cancelled = units.pop().unwrap();
    cancelled.cancel.cancel();
    assert_eq!(format!("{:?}", cancelled.ending().await), "Cancelled { leftover: true }");
    std::fs::write(&file, &text).unwrap();
    cancelled.discard().await.unwrap();
    finish(units, &gate).await;
}

//! Pods that no unit owns: reported, deleted by order, or deleted by the daemon (work-types 2.4: `pruneonstart`, 5).

use std::path::Path;
use std::process::{Command, Output};

use anyhow::Context;
use serde_json::json;
use worknode_tests::binaries::ctl;
use worknode_tests::wait::Deadline;
use worknode_tests::{Harness, Node};

use crate::on_clusters;
use crate::world::{clean, node, submit};

/// Two units that run, of which the node has lost the first one's directory. Answers their ids and the name of the
/// first one's pod. The daemon is down.
fn lose_a_unit(node: &mut Node) -> anyhow::Result<(String, String, String)> {
    let mut units = Vec::new();
    for _ in 0..2 {
        let unit = submit(node, "echo begun; exec sleep 1000", b"")?;
        assert_eq!(node.open_results(&unit, 0)?.line()?, "begun");
        units.push(unit);
    }
    let (kept, lost) = (units.pop().context("no unit")?, units.pop().context("no unit")?);
    let pod = node.status(&lost)?.extra["PodName"].as_str().context("no PodName")?.to_owned();
    node.kill9()?;
    std::fs::remove_dir_all(node.unit_directory(&lost))?;
    Ok((lost, kept, pod))
}

fn prune(socket: &Path, options: &[&str]) -> anyhow::Result<(i32, String, String)> {
    let Output { status, stdout, stderr } =
        Command::new(ctl()?).arg("--socket").arg(socket).args(["work", "prune"]).args(options).output()?;
    Ok((status.code().unwrap_or(-1), String::from_utf8(stdout)?, String::from_utf8(stderr)?))
}

on_clusters! {
    fn orphans_are_reported_and_deleted_by_order(cluster) -> Result<()> {
        let mut node = node(cluster)?;
        let (lost, kept, pod) = lose_a_unit(&mut node)?;
        node.start()?;
        let words = format!("pods/{pod} in default belongs to no unit of this node (unit {lost})");
        let deadline = Deadline::default();
        while !node.log().contains(&words) {
            deadline.left("the report of the orphan")?;
            // Each status is an answer of the daemon's: no time is merely slept away.
            node.status(&kept)?;
        }
        let done = |line: &str| (0, format!("{line}\n"), String::new());
        let socket = node.socket();
        let json = format!("{{\"units\":[],\"objects\":[\"pods/{pod}\"]}}");
        assert_eq!(prune(&socket, &["--cluster", "--dry-run", "--json"])?, done(&json));
        assert_eq!(prune(&socket, &["--cluster", "--dry-run"])?, done(&format!("would prune pods/{pod}")));
        assert_eq!(cluster.pods_of(node.id())?.len(), 2);
        assert_eq!(prune(&socket, &["--cluster"])?, done(&format!("pruned pods/{pod}")));
        assert_eq!(prune(&socket, &["--cluster", "--json"])?, done("{\"units\":[],\"objects\":[]}"));
        assert!(!node.status(&kept)?.state.ended());
        clean(&node, cluster, &[&kept])
    }

    fn orphans_are_deleted_at_start_where_that_is_wanted(cluster) -> Result<()> {
        let id = format!("test-{:08x}", rand::random::<u32>());
        let mut node = Harness::new()?.id(&id).kubernetes("kubeit", cluster, &json!({"pruneonstart": true})).start()?;
        let (_, kept, pod) = lose_a_unit(&mut node)?;
        node.start()?;
        cluster.wait_without_pod(node.id(), &pod)?;
        assert!(!node.status(&kept)?.state.ended());
        clean(&node, cluster, &[&kept])
    }

    /// A unit that is just being made has a pod before anybody can know that it is well.
    fn pods_of_new_units_are_no_orphans(cluster) -> Result<()> {
        let node = node(cluster)?;
        let socket = node.socket();
        let pruned = std::thread::scope(|scope| {
            let submitters: Vec<_> = (0..4).map(|_| scope.spawn(|| -> anyhow::Result<()> {
                for _ in 0..3 {
                    let unit = submit(&node, "cat", b"payload\n")?;
                    assert_eq!(node.results(&unit)?, b"payload\n");
                    node.release(&unit)?;
                }
                Ok(())
            })).collect();
            let mut pruned = Vec::new();
            while !submitters.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                pruned.push(prune(&socket, &["--cluster"])?);
            }
            for submitter in submitters {
                submitter.join().map_err(|_| anyhow::anyhow!("a submitter panicked"))??;
            }
            anyhow::Ok(pruned)
        })?;
        assert!(!pruned.is_empty());
        for outcome in pruned {
            assert_eq!(outcome, (0, String::new(), String::new()));
        }
        cluster.wait_without_pods_of(node.id())
    }
}

/// Without `--cluster`: units that have ended, and no others.
#[test]
fn units_that_have_ended_are_pruned() -> anyhow::Result<()> {
    let node =
        Harness::new()?.command("true", "true").command("false", "false").command_with_params("sh", "sh").start()?;
    let (good, bad) = (node.submit("true", b"")?, node.submit("false", b"")?);
    let alive = node.submit_with("sh", &[("params", "-c 'exec sleep 1000'")], b"")?;
    node.wait_ended(&good)?;
    node.wait_ended(&bad)?;
    let socket = node.socket();
    let done = |line: String| (0, line, String::new());
    assert_eq!(prune(&socket, &["--older", "1h"])?, done(String::new()));
    assert_eq!(prune(&socket, &["--state", "failed"])?, done(format!("pruned {bad}\n")));
    assert_eq!(
        prune(&socket, &["--older", "0s", "--json"])?,
        done(format!("{{\"units\":[\"{good}\"],\"objects\":[]}}\n"))
    );
    assert_eq!(node.list()?.keys().collect::<Vec<_>>(), [&alive]);
    assert_eq!(prune(&socket, &["--cluster", "--older", "1h"])?.0, 2);
    node.release(&alive)
}

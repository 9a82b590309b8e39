//! Pods under random faults: several units at once, one fault after the other, for as long as was asked for. Each unit knows
//! what its output must be. What a fault may do to a unit is in `judge`; everything else is lost or wrong.
//!
//! On podsim unless `WORKNODE_KUBECONFIG` names a real cluster; its API server is stopped only where `WORKNODE_FAULT_CLUSTER`
//! names the program that does it.

mod faults;
mod job;
mod judge;
mod tally;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use serde_json::json;
use worknode_tests::cluster::Cluster;
use worknode_tests::{Harness, Node};

use job::Job;
use judge::Verdict;
use tally::Tally;

/// How long, from which seed, and how many at once.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// For so many minutes units are submitted.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Of the jobs and the faults; drawn if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Units at once.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    units: u32,
}

/// A bound on a unit's life, outages and all.
const LIFE: Duration = Duration::from_secs(600);
/// Between two looks at a unit.
const LOOK: Duration = Duration::from_millis(100);

/// The work types: one for each way of the streams.
const TYPES: [(&str, &str); 3] = [("logger", "logger"), ("attach", "attach"), ("shim", "shim")];

/// What the threads share.
struct Soak {
    cluster: Cluster,
    /// Written by who kills and starts it.
    node: RwLock<Node>,
    seed: u64,
    end: Instant,
    /// The submitters are done.
    over: AtomicBool,
    next: AtomicU64,
    tally: Mutex<Tally>,
    /// Pods that were deleted, evicted or killed from outside.
    harmed: Mutex<BTreeSet<String>>,
}

/// Runs it and prints what came of it. The exit code is 1 if anything was lost, wrong or left over.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let real = std::env::var_os(worknode_tests::cluster::KUBECONFIG).is_some();
    let cluster = if real { Cluster::real()?.context("no cluster")? } else { Cluster::podsim()? };
    let seed = options.seed.unwrap_or_else(rand::random);
    println!(
        "soak: {} minutes, {} units at once, {}, seed {seed}",
        options.minutes,
        options.units,
        if real { "on the cluster of WORKNODE_KUBECONFIG" } else { "on podsim" }
    );
    let mut harness = Harness::new()?.id(&format!("soak-{:08x}", rand::random::<u32>()));
    for (name, method) in TYPES {
        harness = harness.kubernetes(name, &cluster, &json!({"streammethod": method, "stdinretry": 1}));
    }
    let soak = Soak {
        cluster,
        node: RwLock::new(harness.start()?),
        seed,
        end: Instant::now() + Duration::from_secs(options.minutes * 60),
        over: AtomicBool::new(false),
        next: AtomicU64::new(0),
        tally: Mutex::default(),
        harmed: Mutex::default(),
    };
    let begin = Instant::now();
    soak.all(options.units)?;
    let left = soak.left();
    let tally = soak.tally();
    println!("{:.1} minutes", begin.elapsed().as_secs_f64() / 60.0);
    tally.print();
    println!("lost {}, wrong outcomes {}, pods left {left}", tally.lost(), tally.wrong());
    Ok(if tally.lost() == 0 && tally.wrong() == 0 && left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Soak {
    fn all(&self, units: u32) -> Result<()> {
        std::thread::scope(|scope| {
            let submitters: Vec<_> = (0..units).map(|_| scope.spawn(|| self.submit_all())).collect();
            let faults = scope.spawn(|| self.harm());
            let mut outcome = Ok(());
            for submitter in submitters {
                outcome = outcome.and(submitter.join().map_err(|_| anyhow!("a submitter panicked"))?);
            }
            self.over.store(true, Ordering::Release);
            faults.join().map_err(|_| anyhow!("the faults panicked"))?.and(outcome)
        })
    }

    fn submit_all(&self) -> Result<()> {
        while Instant::now() < self.end {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let job = Job::draw(self.seed.wrapping_add(number));
            let verdict = self.one(&job).unwrap_or_else(|fault| Verdict::Wrong(format!("{fault:#}")));
            if let Verdict::Lost(words) | Verdict::Wrong(words) = &verdict {
                println!("unit {number} ({job}): {words}");
            }
            self.tally().count(job.method, &verdict);
        }
        Ok(())
    }

    /// One unit from its submit to its release.
    fn one(&self, job: &Job) -> Result<Verdict> {
        let unit = self.node().submit_with(job.method, &[("secret_kube_pod", &job.definition())], &job.payload())?;
        let deadline = Instant::now() + LIFE;
        let status = loop {
            let status = self.node().status(&unit)?;
            if status.state.ended() {
                break status;
            }
            if Instant::now() >= deadline {
                return Ok(Verdict::Wrong(format!("{unit} has not ended: {status}\n{}", self.node().log_tail())));
            }
            pause(LOOK);
        };
        let output = self.node().results(&unit)?;
        let pod = status.extra.get("PodName").and_then(serde_json::Value::as_str).unwrap_or_default();
        let harmed = self.harmed().contains(pod);
        let verdict = judge::judge(job, &status, &output, harmed);
        self.node().release(&unit)?;
        Ok(verdict)
    }

    /// Pods that are still there at the end.
    fn left(&self) -> usize {
        let node = self.node();
        match self.cluster.wait_without_pods_of(node.id()) {
            Ok(()) => 0,
            Err(fault) => {
                println!("{fault:#}");
                self.cluster.pods_of(node.id()).map_or(1, |pods| pods.len().max(1))
            }
        }
    }

    fn node(&self) -> RwLockReadGuard<'_, Node> {
        self.node.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn harmed(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.harmed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[allow(clippy::disallowed_methods, reason = "faults and looks come at times of their own")]
fn pause(length: Duration) {
    std::thread::sleep(length);
}

//! The follower against a model of container, runtime, kubelet and API server, with seeded faults. `WORKNODE_SEEDS` says how
//! many (1,000), `WORKNODE_SEED` from which on; a failure names its seed.

mod check;
mod history;
mod kubelet;
mod plan;
mod run;
mod scenes;

/// The seeds of this run.
fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("WORKNODE_SEED").unwrap_or(0);
    first..first + number("WORKNODE_SEEDS").unwrap_or(1000)
}

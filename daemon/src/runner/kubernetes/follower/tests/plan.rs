//! The faults of one seed.

use rand::{RngExt, rngs::StdRng};

use super::history::{History, SECOND, Style};

/// What goes wrong, and when.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The API server is away; what was open breaks.
    pub(super) away: Vec<(u64, u64)>,
    /// It stands still: nothing comes, and then all of it.
    pub(super) frozen: Vec<(u64, u64)>,
    /// The stream breaks, in the middle of a line.
    pub(super) resets: Vec<u64>,
    /// The kubelet's side breaks: the API server ends the answer properly.
    pub(super) hidden: Vec<u64>,
    /// From here on nothing comes, and no end.
    pub(super) dead: Option<u64>,
    /// The daemon is killed, and back at the second time.
    pub(super) kills: Vec<(u64, u64)>,
    /// Silence after which a proxy breaks a stream.
    pub(super) idle: Option<u64>,
    /// Age at which the kubelet ends a stream.
    pub(super) age: u64,
    /// Nanoseconds that the kubelet takes for each record.
    pub(super) cost: u64,
    /// The way to the API server and back.
    pub(super) latency: u64,
    /// From a change of the container to word of it.
    pub(super) word: u64,
    /// The first request finds no container.
    pub(super) early: bool,
}

/// What may happen in one seed: not all at once, so that what can be known stays clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mix {
    /// Nothing goes wrong but rotation; the kubelet is fast.
    Quiet,
    /// Nothing goes wrong but rotation; the kubelet is slow, or the connection stands still.
    Slow,
    /// Everything breaks, but the log is not rotated.
    Breaks,
    /// Everything breaks, and the log is rotated.
    Both,
    /// The node's clock steps; the log is not rotated, and nothing breaks.
    Steps,
}

impl Mix {
    pub(super) fn draw(rng: &mut StdRng) -> Self {
        match rng.random_range(0..8) {
            0 => Self::Quiet,
            1 => Self::Slow,
            2 | 3 => Self::Breaks,
            7 => Self::Steps,
            _ => Self::Both,
        }
    }

    pub(super) fn style(self, rng: &mut StdRng) -> Style {
        let rotated = matches!(self, Self::Quiet | Self::Slow | Self::Both);
        Style {
            limit: rotated.then(|| rng.random_range(33_000..80_000)),
            interval: SECOND * rng.random_range(3..=10),
            coarse: rng.random_bool(0.3),
            steps: self == Self::Steps,
            slow: rng.random_bool(0.1),
        }
    }

    pub(super) fn plan(self, rng: &mut StdRng, history: &History) -> Plan {
        let mut plan = Plan {
            age: 4 * 3600 * SECOND,
            cost: rng.random_range(1_000..100_000),
            latency: rng.random_range(100_000..30_000_000),
            word: rng.random_range(10_000_000..900_000_000),
            early: rng.random_bool(0.2),
            ..Plan::default()
        };
        let time = |rng: &mut StdRng| rng.random_range(history.start..history.end + 3 * SECOND);
        if self == Self::Slow {
            if rng.random_bool(0.6) {
                plan.cost = rng.random_range(1_000_000..300_000_000);
            } else {
                plan.frozen = spans(rng, 1..4, time, 30 * SECOND);
            }
        }
        if matches!(self, Self::Breaks | Self::Both) {
            plan.away = if rng.random_bool(0.4) { spans(rng, 1..3, time, 20 * SECOND) } else { Vec::new() };
            plan.frozen = if rng.random_bool(0.2) { spans(rng, 1..3, time, 20 * SECOND) } else { Vec::new() };
            plan.resets = times(rng, 0..5, time);
            plan.kills = if rng.random_bool(0.3) { spans(rng, 1..3, time, 5 * SECOND) } else { Vec::new() };
            plan.idle = rng.random_bool(0.2).then(|| SECOND * rng.random_range(5..120));
            // At the container's very end it cannot be told from the kubelet's own end.
            let last = history.end.saturating_sub(5 * SECOND);
            plan.hidden = times(rng, 0..3, time).into_iter().filter(|at| *at < last).collect();
            if rng.random_bool(0.2) {
                plan.cost = rng.random_range(1_000_000..100_000_000);
            }
            if self == Self::Breaks && rng.random_bool(0.2) {
                plan.dead = Some(time(rng));
            }
        }
        plan
    }
}

fn times(rng: &mut StdRng, count: std::ops::Range<usize>, time: impl Fn(&mut StdRng) -> u64) -> Vec<u64> {
    let mut times: Vec<u64> = (0..rng.random_range(count)).map(|_| time(rng)).collect();
    times.sort_unstable();
    times
}

fn spans(
    rng: &mut StdRng,
    count: std::ops::Range<usize>,
    time: impl Fn(&mut StdRng) -> u64,
    longest: u64,
) -> Vec<(u64, u64)> {
    let begins = times(rng, count, time);
    begins.into_iter().map(|begin| (begin, begin + rng.random_range(SECOND / 10..longest))).collect()
}

//! Seeds, and what they must come to.

use std::time::Duration;

use rand::{SeedableRng, rngs::StdRng};

use super::{
    super::OLD,
    check::{Verdict, check},
    history::History,
    plan::Mix,
    run::World,
    seeds,
};

/// Counts of one mix.
#[derive(Debug, Default)]
struct Tally {
    runs: usize,
    rotated: usize,
    real: usize,
    false_alarms: usize,
    unseen: usize,
    requests: usize,
    bytes: usize,
}

fn run(seed: u64) -> (Mix, Tally) {
    let rng = &mut StdRng::seed_from_u64(seed);
    let mix = Mix::draw(rng);
    let style = mix.style(rng);
    let history = History::draw(rng, style);
    let plan = mix.plan(rng, &history);
    if std::env::var_os("WORKNODE_TRACE").is_some() {
        println!("start {} end {} started {}", history.start as f64 / 1e9, history.end as f64 / 1e9, history.started);
        for (index, file) in history.files.iter().enumerate() {
            let (from, to) = (file.from, history.end_of(index));
            let of = |record: &super::history::Record| format!("{:.6} {}", record.at as f64 / 1e9, record.stamp);
            println!(
                "file {index} born {:.6} records {from} {:?} to {to} {:?}",
                file.born as f64 / 1e9,
                history.records.get(from).map(of),
                history.records.get(to.saturating_sub(1)).map(of)
            );
        }
    }
    let words = format!("seed {seed}: {mix:?} {style:?} {plan:?}");
    let outcome = World::new(rng, &history, &plan).run().unwrap_or_else(|fault| panic!("{fault}; {words}"));
    let Verdict { real, false_alarms, unseen } =
        check(&history, &outcome.out, &outcome.gaps, outcome.early).unwrap_or_else(|fault| panic!("{fault}; {words}"));
    if history.files.len() == 1 {
        // A burst that begins just before a new connection may look like a log that was rotated before.
        let burst = outcome.gaps.iter().filter(|gap| gap.after.is_none()).count();
        assert_eq!(real + false_alarms, burst, "a log that was not rotated has gaps {:?}; {words}", outcome.gaps);
    }
    // Before the age at which an end may be the kubelet's own limit.
    // A log that is first asked for late is read late.
    if mix == Mix::Quiet && !plan.early && Duration::from_nanos(history.end) < OLD {
        assert_eq!(false_alarms, 0, "{:?}; {words}", outcome.gaps);
    }
    let rotated = usize::from(history.files.len() > 1);
    (mix, Tally { runs: 1, rotated, real, false_alarms, unseen, requests: outcome.requests, bytes: outcome.out.len() })
}

#[test]
fn every_byte_is_there_or_declared_missing() {
    let mut tallies: Vec<(Mix, Tally)> = Vec::new();
    for seed in seeds() {
        let (mix, one) = run(seed);
        if !tallies.iter().any(|(of, _)| *of == mix) {
            tallies.push((mix, Tally::default()));
        }
        let Some((_, tally)) = tallies.iter_mut().find(|(of, _)| *of == mix) else { continue };
        tally.runs += one.runs;
        tally.rotated += one.rotated;
        tally.real += one.real;
        tally.false_alarms += one.false_alarms;
        tally.unseen += one.unseen;
        tally.requests += one.requests;
        tally.bytes += one.bytes;
    }
    for (mix, tally) in &tallies {
        println!("{mix:?} {tally:?}");
    }
    let real: usize = tallies.iter().map(|(_, tally)| tally.real).sum();
    assert!(seeds().count() < 1000 || real > 50, "the model takes nothing away: {real}");
}

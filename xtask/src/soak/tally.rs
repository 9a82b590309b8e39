//! What came of all units, and of which faults.

use std::collections::BTreeMap;

use super::judge::Verdict;

#[derive(Debug, Default)]
pub(super) struct Tally {
    /// By stream method and what they came to.
    units: BTreeMap<(&'static str, &'static str), u64>,
    faults: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(super) fn count(&mut self, method: &'static str, verdict: &Verdict) {
        let what = match verdict {
            Verdict::Right(what) | Verdict::Told(what) => what,
            Verdict::Lost(_) => "LOST",
            Verdict::Wrong(_) => "WRONG",
        };
        *self.units.entry((method, what)).or_default() += 1;
    }

    pub(super) fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    pub(super) fn lost(&self) -> u64 {
        self.of("LOST")
    }

    pub(super) fn wrong(&self) -> u64 {
        self.of("WRONG")
    }

    fn of(&self, wanted: &str) -> u64 {
        self.units.iter().filter(|((_, what), _)| *what == wanted).map(|(_, count)| count).sum()
    }

    pub(super) fn print(&self) {
        println!("units: {}", self.units.values().sum::<u64>());
        for ((method, what), count) in &self.units {
            println!("  {method}: {what}: {count}");
        }
        println!("faults: {}", self.faults.values().sum::<u64>());
        for (kind, count) in &self.faults {
            println!("  {kind}: {count}");
        }
    }
}

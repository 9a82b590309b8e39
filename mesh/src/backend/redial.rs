use std::time::Duration;

/// When a peer is dialled again (mesh-protocol 1.1): after `first`, then after `factor` times as long with each failure,
/// up to `longest`; from the beginning after a success.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Redial {
    /// Wait after a success or the first failure.
    pub first: Duration,
    /// Growth with each failure.
    pub factor: f64,
    /// Longest wait.
    pub longest: Duration,
}

impl Default for Redial {
    fn default() -> Self {
        Self { first: Duration::from_secs(5), factor: 1.5, longest: Duration::from_secs(20) }
    }
}

/// Nodes that lost the same peer at the same time do not all dial it at the same time.
const JITTER: std::ops::RangeInclusive<f64> = 0.8..=1.0;

impl Redial {
    /// How long to wait after `failures` in a row, for a `random` number from 0 to 1.
    pub(crate) fn wait(&self, failures: u32, random: f64) -> Duration {
        let growth = self.factor.powi(i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX));
        let full = Duration::try_from_secs_f64(self.first.as_secs_f64() * growth).unwrap_or(self.longest);
        full.min(self.longest).mul_f64(JITTER.start() + (JITTER.end() - JITTER.start()) * random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// mesh-protocol 1.1: 5 s, then x1.5 each failure up to 20 s.
    #[test]
    fn waits_grow_to_a_limit() {
        let waits =
            |random| (0..7).map(|failures| Redial::default().wait(failures, random).as_millis()).collect::<Vec<_>>();
        assert_eq!(waits(1.0), [5000, 5000, 7500, 11250, 16875, 20000, 20000]);
        assert_eq!(waits(0.0), [4000, 4000, 6000, 9000, 13500, 16000, 16000]);
        assert_eq!(Redial::default().wait(u32::MAX, 1.0).as_secs(), 20);
    }
}

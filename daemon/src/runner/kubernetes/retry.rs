//! How long, and how fast, a request that failed is tried again.

use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;

/// Pauses grow from here ...
const FIRST: Duration = Duration::from_secs(1);
/// ... by half ...
const GROWTH: f64 = 1.5;
/// ... up to here (work-types 6).
const CAP: Duration = Duration::from_secs(30);
/// Longest pause that a server may ask for: beyond it the patience would be its, not ours.
pub(crate) const LONGEST_ASKED: Duration = Duration::from_secs(300);
/// With an `apiretrytimeout` of zero: receptor's rule (control-protocol 5.5).
const RECEPTORS_TRIES: u32 = 5;
const RECEPTORS_PAUSE: Duration = Duration::from_secs(1);

/// The configured patience with an unreachable API server: `apiretrytimeout`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    limit: Duration,
    /// Pauses are drawn, so that many units do not come back at once.
    jitter: bool,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, jitter: true }
    }

    /// The same, but if it is not receptor's rule, for ever.
    pub(crate) fn without_end(self) -> Self {
        Self { limit: if self.limit.is_zero() { self.limit } else { Duration::MAX }, ..self }
    }

    /// The same with pauses that are not drawn.
    #[cfg(test)]
    pub(crate) fn steady(self) -> Self {
        Self { jitter: false, ..self }
    }

    /// When it is at its end for what began to fail then; none: never, or by the number of failures.
    pub(crate) fn ends(self, begin: Instant) -> Option<Instant> {
        if self.limit.is_zero() { None } else { begin.checked_add(self.limit) }
    }

    /// True if so many failures in a row are enough, however long they took.
    pub(crate) fn is_over(self, failures: u32) -> bool {
        self.limit.is_zero() && failures >= RECEPTORS_TRIES
    }

    /// The tries of one task; the time runs from its first failure.
    pub(crate) fn tries(self) -> Tries {
        Tries { limit: self.limit, jitter: self.jitter, pause: FIRST, failures: 0, spent: Duration::ZERO }
    }
}

/// The tries of one task in a row. A success resets them.
#[derive(Clone, Debug)]
pub(crate) struct Tries {
    limit: Duration,
    jitter: bool,
    pause: Duration,
    failures: u32,
    spent: Duration,
}

impl Tries {
    /// The pause before the next try after one more failure, or `None` if that is enough. `took` is how long the failed
    /// try lasted, `asked` what the server wants (`Retry-After`).
    pub(crate) fn after_failure(&mut self, took: Duration, asked: Option<Duration>) -> Option<Duration> {
        self.failures += 1;
        if self.limit.is_zero() {
            return (self.failures < RECEPTORS_TRIES).then_some(RECEPTORS_PAUSE);
        }
        if self.failures > 1 {
            self.spent = self.spent.saturating_add(took);
        }
        let left = self.limit.checked_sub(self.spent).filter(|left| !left.is_zero())?;
        let pause = match asked {
            // A server that asks for no pause is not asked again at once.
            Some(asked) if !asked.is_zero() => asked.min(LONGEST_ASKED),
            _ if self.jitter => self.pause.mul_f64(rand::rng().random_range(0.5..=1.0)),
            _ => self.pause,
        };
        let pause = pause.min(left);
        self.pause = self.pause.mul_f64(GROWTH).min(CAP);
        self.spent = self.spent.saturating_add(pause);
        Some(pause)
    }

    /// It worked.
    pub(crate) fn reset(&mut self) {
        *self = Patience { limit: self.limit, jitter: self.jitter }.tries();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_cap_and_end_with_the_limit() {
        let mut tries = Patience::new(Duration::from_secs(1800)).tries();
        let (mut total, mut expected, mut count) = (Duration::ZERO, 1.0_f64, 0);
        while let Some(pause) = tries.after_failure(Duration::ZERO, None) {
            let seconds = pause.as_secs_f64();
            assert!(seconds <= expected + 1e-6, "{seconds} of {expected}");
            assert!(seconds >= expected / 2.0 - 1e-6 || total + pause == Duration::from_secs(1800));
            expected = (expected * 1.5).min(30.0);
            total += pause;
            count += 1;
        }
        assert_eq!(total, Duration::from_secs(1800));
        assert!(count < 150, "no busy loop: {count}");
    }

    #[test]
    fn a_server_is_obeyed_within_reason() {
        let mut tries = Patience::new(Duration::from_secs(1800)).tries();
        let mut ask = |seconds| tries.after_failure(Duration::ZERO, Some(Duration::from_secs(seconds)));
        assert_eq!(ask(7), Some(Duration::from_secs(7)));
        assert_eq!(ask(100_000), Some(Duration::from_secs(300)));
        assert!(ask(0) >= Some(Duration::from_millis(500)), "no busy loop");
    }

    #[test]
    fn slow_failures_count_and_success_forgets() {
        let mut tries = Patience::new(Duration::from_secs(60)).tries();
        assert!(tries.after_failure(Duration::from_secs(50), None).is_some());
        assert!(tries.after_failure(Duration::from_secs(70), None).is_none());
        tries.reset();
        assert!(tries.after_failure(Duration::from_secs(70), None).is_some());
    }

    #[test]
    fn zero_is_five_tries_a_second_apart() {
        let mut tries = Patience::new(Duration::ZERO).tries();
        let pauses: Vec<_> = std::iter::from_fn(|| tries.after_failure(Duration::ZERO, None)).collect();
        assert_eq!(pauses, [Duration::from_secs(1); 4]);
    }
}

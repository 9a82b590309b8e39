//! What happens at one moment, drawn from a seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How far the client has come when the daemon's time begins to run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The submit is about to be sent.
    Asking,
    /// "Work unit created" has come.
    Created,
    /// Half of the payload has been sent.
    Sending,
    /// The sending direction has been closed.
    Sent,
    /// "Job Started" has come.
    Started,
    /// The first output has come.
    Running,
    /// The results have ended.
    Ended,
    /// A cancel has been sent.
    Canceling,
    /// A release has been sent.
    Releasing,
}

const PHASES: [Phase; 9] = [
    Phase::Asking,
    Phase::Created,
    Phase::Sending,
    Phase::Sent,
    Phase::Started,
    Phase::Running,
    Phase::Ended,
    Phase::Canceling,
    Phase::Releasing,
];

/// One unit and one crash.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// The phase whose beginning starts the clock.
    pub(crate) phase: Phase,
    /// Time from there to the crash.
    pub(crate) delay: Duration,
    /// Time from the next start to a second crash, where there is one.
    pub(crate) again: Option<Duration>,
    /// Bytes of payload.
    pub(crate) payload: usize,
    /// Lines that the job writes after it has copied its payload.
    pub(crate) lines: u32,
    /// The job's pause between its lines, in milliseconds.
    pub(crate) pause: u32,
    /// The job's exit code.
    pub(crate) exit: i32,
}

impl Plan {
    /// Whether the job goes on until it is canceled.
    pub(crate) fn endless(&self) -> bool {
        matches!(self.phase, Phase::Canceling | Phase::Releasing)
    }
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let phase = PHASES[random.random_range(0..PHASES.len())];
        let again = random.random_bool(0.3).then(|| delay(&mut random));
        Self {
            seed,
            phase,
            delay: delay(&mut random),
            again,
            payload: [0, 10, 100_000][random.random_range(0..3)],
            lines: random.random_range(1..20),
            pause: random.random_range(0..4),
            exit: if random.random_bool(0.3) { 3 } else { 0 },
        }
    }
}

/// From microseconds to tens of milliseconds, each order of magnitude as likely as the others.
fn delay(random: &mut StdRng) -> Duration {
    Duration::from_secs_f64(10_f64.powf(random.random_range(-6.0..-1.3)))
}

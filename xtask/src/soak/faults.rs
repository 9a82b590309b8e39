//! The faults: one after the other, at drawn times.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use worknode_podsim::{Effect, Fault, Matching, PodSim, Trap, Use, Which};
use worknode_tests::cluster::FAULT_PROGRAM;

use super::{Soak, pause};

/// Between two faults, in milliseconds.
const BETWEEN: std::ops::Range<u64> = 500..6000;
/// How long the API server is away or stands still, in milliseconds.
const AWAY: std::ops::Range<u64> = 50..6000;

/// Every cluster has these.
const ANYWHERE: [Kind; 2] = [Kind::KillDaemon, Kind::DeletePod];
/// Clusters whose API server can be stopped.
const STOPPABLE: [Kind; 1] = [Kind::StopApi];
/// What the simulator does besides.
const SIMULATED: [Kind; 12] = [
    Kind::StopApiOrderly,
    Kind::Freeze,
    Kind::CutLogs,
    Kind::CutAttaches,
    Kind::ResetWatches,
    Kind::ExpireWatches,
    Kind::ForgetHistory,
    Kind::Rotate,
    Kind::Evict,
    Kind::OutOfMemory,
    Kind::Overload,
    Kind::LoseAnswers,
];

#[derive(Debug, Clone, Copy)]
enum Kind {
    KillDaemon,
    DeletePod,
    StopApi,
    StopApiOrderly,
    Freeze,
    CutLogs,
    CutAttaches,
    ResetWatches,
    ExpireWatches,
    ForgetHistory,
    Rotate,
    Evict,
    OutOfMemory,
    Overload,
    LoseAnswers,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::KillDaemon => "daemon killed",
            Self::DeletePod => "pod deleted",
            Self::StopApi => "API server killed",
            Self::StopApiOrderly => "API server stopped",
            Self::Freeze => "API server stands still",
            Self::CutLogs => "log streams cut",
            Self::CutAttaches => "attaches cut",
            Self::ResetWatches => "watches reset",
            Self::ExpireWatches => "watches expired (410)",
            Self::ForgetHistory => "history forgotten (410)",
            Self::Rotate => "logs rotated",
            Self::Evict => "pod evicted",
            Self::OutOfMemory => "out of memory",
            Self::Overload => "requests refused (429, 503)",
            Self::LoseAnswers => "answers lost",
        }
    }
}

impl Soak {
    /// Harms until the submitters are done.
    pub(super) fn harm(&self) -> Result<()> {
        let mut random = StdRng::seed_from_u64(self.seed ^ 0xfa17);
        let stoppable = self.cluster.simulator().is_some() || std::env::var_os(FAULT_PROGRAM).is_some();
        let mut kinds = ANYWHERE.to_vec();
        kinds.extend(STOPPABLE.iter().filter(|_| stoppable));
        if self.cluster.simulator().is_some() {
            kinds.extend(SIMULATED);
        }
        while !self.over.load(Ordering::Acquire) {
            pause(Duration::from_millis(random.random_range(BETWEEN)));
            let Some(kind) = kinds.get(random.random_range(0..kinds.len())) else { continue };
            let away = Duration::from_millis(random.random_range(AWAY));
            if self.once(*kind, away, random.random_range(0..1_000_000)).with_context(|| kind.name())? {
                self.tally().fault(kind.name());
            }
        }
        Ok(())
    }

    /// False if there was nothing to harm.
    fn once(&self, kind: Kind, away: Duration, number: usize) -> Result<bool> {
        match kind {
            Kind::KillDaemon => {
                let mut node = self.node.write().unwrap_or_else(PoisonError::into_inner);
                node.crash_and_restart()?;
            }
            Kind::StopApi => {
                self.cluster.stop_api()?;
                pause(away);
                self.cluster.start_api()?;
            }
            Kind::DeletePod => {
                let Some(pod) = self.some_pod(number)? else { return Ok(false) };
                self.harmed().insert(pod.clone());
                // Gone by itself meanwhile, or the API server is: then nothing was harmed.
                return Ok(self.cluster.delete_pod(&pod).is_ok());
            }
            kind => {
                let Some(simulator) = self.cluster.simulator() else { return Ok(false) };
                return self.simulated(simulator, kind, away, number);
            }
        }
        Ok(true)
    }

    fn simulated(&self, simulator: &PodSim, kind: Kind, away: Duration, number: usize) -> Result<bool> {
        let faults = simulator.faults();
        let millis = u64::try_from(away.as_millis())?;
        let fault = match kind {
            Kind::StopApiOrderly => {
                faults.inject(Fault::StopApi { orderly: true })?;
                pause(away);
                Fault::StartApi
            }
            Kind::Freeze => Fault::Stall { which: Which::default(), millis },
            Kind::CutLogs => Fault::Cut(Which::of(Use::Log)),
            Kind::CutAttaches => Fault::Cut(Which::of(Use::Attach)),
            Kind::ResetWatches => Fault::Reset(Which::of(Use::Watch)),
            Kind::ExpireWatches => Fault::ExpireWatches,
            Kind::ForgetHistory => Fault::ForgetHistory,
            Kind::Overload => {
                let effect = if number.is_multiple_of(2) {
                    Effect::TooManyRequests { retry_after: 1 }
                } else {
                    Effect::server_error(503)
                };
                faults.set(Trap::times(5, Matching::default(), effect));
                return Ok(true);
            }
            Kind::LoseAnswers => {
                faults.set(Trap::times(1, Matching::new("create", "pods"), Effect::LoseAnswer));
                return Ok(true);
            }
            _ => {
                let Some(pod) = self.some_pod(number)? else { return Ok(false) };
                let (namespace, container) = ("default".to_owned(), "worker".to_owned());
                if !matches!(kind, Kind::Rotate) {
                    self.harmed().insert(pod.clone());
                }
                match kind {
                    Kind::Rotate => Fault::RotateLogs { namespace, pod },
                    Kind::Evict => Fault::NodePressure { namespace, pod },
                    _ => Fault::OutOfMemory { namespace, pod, container },
                }
            }
        };
        // A pod may be gone meanwhile.
        Ok(faults.inject(fault).is_ok())
    }

    /// The name of one of our pods, if there is one and the API server can be asked.
    fn some_pod(&self, number: usize) -> Result<Option<String>> {
        let id = self.node().id().to_owned();
        let Ok(pods) = self.cluster.pods_of(&id) else { return Ok(None) };
        let names: Vec<_> = pods.iter().filter_map(|pod| pod.pointer("/metadata/name")?.as_str()).collect();
        Ok(names.get(number.checked_rem(names.len()).unwrap_or_default()).map(|name| (*name).to_owned()))
    }
}

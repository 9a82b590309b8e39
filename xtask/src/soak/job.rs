//! What one unit is to do, drawn from a seed.

use std::fmt;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::TYPES;

/// One unit's job: its payload goes through `cat`, then it counts.
#[derive(Debug)]
pub(super) struct Job {
    /// The work type, which is named after its stream method.
    pub(super) method: &'static str,
    /// Lines of payload.
    payload: u32,
    /// Lines after it.
    lines: u32,
    /// Lines between two pauses of a tenth of a second.
    burst: u32,
    pub(super) exit: i32,
}

impl Job {
    pub(super) fn draw(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut among =
            |numbers: &[u32]| numbers.get(random.random_range(0..numbers.len())).copied().unwrap_or_default();
        let (payload, lines, burst) =
            (among(&[0, 3, 2000, 100_000]), among(&[5, 50, 2000, 20_000]), among(&[1, 50, 1000]));
        let method = TYPES.get(random.random_range(0..TYPES.len())).map_or("logger", |(name, _)| name);
        // Half a minute at most.
        let burst = burst.max(lines / 200);
        Self { method, payload, lines, burst, exit: if random.random_bool(0.2) { 3 } else { 0 } }
    }

    pub(super) fn payload(&self) -> Vec<u8> {
        (1..=self.payload)
            .flat_map(|number| format!("payload {number:06} of {}\n", self.payload).into_bytes())
            .collect()
    }

    /// All that it writes.
    pub(super) fn output(&self) -> Vec<u8> {
        let mut output = self.payload();
        output.extend((1..=self.lines).flat_map(|number| format!("line {number:06}\n").into_bytes()));
        output
    }

    /// The pod. Runtimes lose the last bytes of a process that writes and exits at once: so it waits a second.
    pub(super) fn definition(&self) -> String {
        let Self { lines, burst, exit, .. } = self;
        let script = format!(
            "cat; i=0; while [ $i -lt {lines} ]; do i=$((i+1)); printf 'line %06d\\n' $i; \
             [ $((i % {burst})) = 0 ] && sleep 0.1; done; sleep 1; exit {exit}"
        );
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"generateName": "soak-"},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": "worker", "image": "busybox", "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", script],
                }],
            },
        })
        .to_string()
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, payload, lines, burst, exit } = self;
        write!(f, "{method}, {payload} lines in, {lines} lines out by {burst}, exit {exit}")
    }
}

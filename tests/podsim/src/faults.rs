//! What can go wrong on demand.
//!
//! Two kinds: [`Fault`]s happen once, now, to what exists; a [`Trap`] waits for requests and spoils as many of them as
//! it is told to. Both can be written as JSON, which is what the `podsim` program takes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::connections::Which;

/// Something that happens now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Ends connections as a killed server does: TCP end without close frame or last chunk.
    Cut(Which),
    /// Ends connections with RST; what the client has not read yet is lost.
    Reset(Which),
    /// Lets nothing through for so many milliseconds; for all connections (the default [`Which`]) also through new
    /// ones. Connections stay open.
    Stall {
        /// Whom.
        #[serde(default)]
        which: Which,
        /// How long.
        millis: u64,
    },
    /// Ends the running watches with `410 Gone` inside the stream.
    ExpireWatches,
    /// Forgets all changes so far: a watch from before now is answered with 410, as after a compaction.
    ForgetHistory,
    /// Running watches tell nothing any more, but stay open.
    SilenceWatches,
    /// Stops the API server; the port is closed until `StartApi`.
    StopApi {
        /// As after SIGTERM: watches end properly, log and attach streams live on. Else as after SIGKILL.
        #[serde(default)]
        orderly: bool,
    },
    /// Starts it again, on the same port, with all objects.
    StartApi,
    /// Puts the log files of a pod's containers aside and begins new ones.
    RotateLogs {
        /// Namespace of the pod.
        namespace: String,
        /// Name of the pod.
        pod: String,
    },
    /// Kills a container as the kernel does when its memory limit is reached.
    OutOfMemory {
        /// Namespace of the pod.
        namespace: String,
        /// Name of the pod.
        pod: String,
        /// Name of the container.
        container: String,
    },
    /// Somebody else deletes the pod.
    DeletePod {
        /// Namespace of the pod.
        namespace: String,
        /// Name of the pod.
        pod: String,
        /// Seconds; `None`: the pod's own.
        #[serde(default)]
        grace_seconds: Option<u64>,
    },
    /// Somebody evicts the pod by the eviction API: condition `DisruptionTarget`, then deletion.
    EvictPod {
        /// Namespace of the pod.
        namespace: String,
        /// Name of the pod.
        pod: String,
    },
    /// The node runs out of memory and the kubelet evicts the pod: it stays, as `Failed` with reason `Evicted`.
    NodePressure {
        /// Namespace of the pod.
        namespace: String,
        /// Name of the pod.
        pod: String,
    },
}

/// Waits for matching requests and spoils them. Requests that several traps match go to the one set first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trap {
    /// For which requests.
    #[serde(default)]
    pub on: Matching,
    /// Matching requests that pass untouched before the first one is spoiled.
    #[serde(default)]
    pub skip: u64,
    /// How many are spoiled; `None`: all from then on.
    #[serde(default)]
    pub times: Option<u64>,
    /// What happens to them.
    pub effect: Effect,
}

impl Trap {
    /// Spoils the next matching request.
    pub fn once(on: Matching, effect: Effect) -> Self {
        Self::times(1, on, effect)
    }

    /// Spoils the next `times` matching requests.
    pub fn times(times: u64, on: Matching, effect: Effect) -> Self {
        Self { on, skip: 0, times: Some(times), effect }
    }

    /// Spoils all matching requests until it is removed.
    pub fn always(on: Matching, effect: Effect) -> Self {
        Self { on, skip: 0, times: None, effect }
    }
}

/// Which requests; a field that is `None` matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Matching {
    /// `get`, `list`, `watch`, `create`, `delete`, ...
    pub verb: Option<String>,
    /// `pods`, `pods/log`, `pods/attach`, ...; for paths that are no resource the path.
    pub resource: Option<String>,
    /// Namespace asked for.
    pub namespace: Option<String>,
    /// Name asked for; for a create the name in the body does not count.
    pub name: Option<String>,
    /// User of the account.
    pub user: Option<String>,
}

impl Matching {
    /// By verb and resource.
    pub fn new(verb: &str, resource: &str) -> Self {
        Self { verb: Some(verb.to_owned()), resource: Some(resource.to_owned()), ..Self::default() }
    }

    /// The same, of this pod alone.
    pub fn named(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }

    fn matches(&self, request: &crate::requests::Request) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        is(&self.verb, &request.verb)
            && is(&self.resource, &request.resource)
            && is(&self.namespace, &request.namespace)
            && is(&self.name, &request.name)
            && is(&self.user, &request.user)
    }
}

/// What happens to a request that went into a [`Trap`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Not executed; answered with a `Status`.
    Refuse {
        /// HTTP code.
        code: u16,
        /// As in `Status`.
        #[serde(default)]
        reason: String,
        /// As in `Status`.
        #[serde(default)]
        message: String,
        /// Seconds.
        #[serde(default)]
        retry_after: Option<u32>,
    },
    /// Not executed; `429` in plain text with `Retry-After`, as an overloaded API server answers.
    TooManyRequests {
        /// Seconds.
        retry_after: u32,
    },
    /// Not executed; answered as if the account had no right to it.
    Deny,
    /// Not executed; the connection ends without an answer.
    LoseRequest,
    /// Executed; the connection ends before the answer.
    LoseAnswer,
    /// Executed after so many milliseconds.
    Delay {
        /// How long.
        millis: u64,
    },
    /// Executed; the connection ends after so many bytes of the answer's body, wherever that is. For an attach:
    /// after so many bytes of stdin.
    CutAfter {
        /// How many.
        bytes: u64,
    },
    /// For an attach: the process reads the end of its stdin after so many bytes, and the client hears nothing any more, as
    /// where the API server has lost the kubelet and does not say so. The connection ends with the next [`Fault::Cut`].
    EndStdinAfter {
        /// How many.
        bytes: u64,
    },
    /// As `CutAfter`, with RST.
    ResetAfter {
        /// How many.
        bytes: u64,
    },
    /// For a watch: the stream opens and stays open, and nothing comes.
    Silence,
    /// For a watch: the stream opens and says `410 Gone`, whatever version was asked for.
    Gone,
}

impl Effect {
    /// A server error.
    pub fn server_error(code: u16) -> Self {
        let (reason, message) = match code {
            503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
            504 => ("Timeout", "the server was unable to return a response in the time allotted"),
            _ => ("InternalError", "an error on the server has prevented the request from succeeding"),
        };
        Self::Refuse { code, reason: reason.to_owned(), message: message.to_owned(), retry_after: None }
    }
}

/// The traps that are set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traps(Arc<Mutex<Vec<(u64, Trap)>>>);

impl Traps {
    /// Returns a number to remove it by.
    pub(crate) fn set(&self, trap: Trap) -> u64 {
        let mut traps = self.lock();
        let number = traps.last().map_or(0, |(number, _)| number + 1);
        traps.push((number, trap));
        number
    }

    pub(crate) fn remove(&self, number: u64) {
        self.lock().retain(|(known, _)| *known != number);
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// What happens to this request; counts it.
    pub(crate) fn spring(&self, request: &crate::requests::Request) -> Option<Effect> {
        let mut traps = self.lock();
        let (_, trap) = traps.iter_mut().find(|(_, trap)| trap.on.matches(request) && trap.times != Some(0))?;
        if trap.skip > 0 {
            trap.skip -= 1;
            return None;
        }
        if let Some(times) = &mut trap.times {
            *times -= 1;
        }
        Some(trap.effect.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Trap)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fault {
    /// A stall of all connections, new ones included, as of a server that is frozen.
    pub fn freeze(time: Duration) -> Self {
        Self::stall(Which::default(), time)
    }

    /// A stall of some connections.
    pub fn stall(which: Which, time: Duration) -> Self {
        Self::Stall { which, millis: u64::try_from(time.as_millis()).unwrap_or(u64::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requests::Request;

    fn request(verb: &str, name: &str) -> Request {
        Request {
            verb: verb.to_owned(),
            resource: "pods".to_owned(),
            namespace: "default".to_owned(),
            name: name.to_owned(),
            user: "admin".to_owned(),
            target: String::new(),
        }
    }

    #[test]
    fn a_trap_springs_as_often_as_it_was_told() {
        let traps = Traps::default();
        traps.set(Trap { skip: 1, ..Trap::times(2, Matching::new("get", "pods"), Effect::Deny) });
        assert_eq!(traps.spring(&request("list", "")), None);
        let sprung: Vec<bool> = (0..5).map(|_| traps.spring(&request("get", "a")).is_some()).collect();
        assert_eq!(sprung, [false, true, true, false, false]);
    }

    #[test]
    fn json_is_short() {
        let trap: Trap = serde_json::from_str(
            r#"{"on": {"verb": "create", "resource": "pods"}, "times": 1, "effect": "lose_answer"}"#,
        )
        .unwrap();
        assert_eq!(trap, Trap::once(Matching::new("create", "pods"), Effect::LoseAnswer));
        let fault: Fault = serde_json::from_str(r#"{"cut": {"usage": "log"}}"#).unwrap();
        assert_eq!(fault, Fault::Cut(Which::of(crate::connections::Use::Log)));
    }
}

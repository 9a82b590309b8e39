//! The open connections, and what each of them is being used for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::wire::{Close, Gate};

/// What a connection is used for at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// Waiting for a request, or answering one that is none of the others.
    Request,
    /// Sending a container's log.
    Log,
    /// An attach session.
    Attach,
    /// Sending changes.
    Watch,
}

/// Which connections a fault is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Which {
    /// `None`: of any use.
    pub usage: Option<Use>,
    /// Only those that are about this pod.
    pub pod: Option<String>,
}

impl Which {
    /// All connections of this use.
    pub fn of(usage: Use) -> Self {
        Self { usage: Some(usage), pod: None }
    }

    /// Those of this use that are about one pod.
    pub fn of_pod(usage: Use, pod: &str) -> Self {
        Self { usage: Some(usage), pod: Some(pod.to_owned()) }
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) gate: Arc<Gate>,
    current: Mutex<(Use, String)>,
}

impl Connection {
    /// Notes what the connection is used for from now on, and about which pod.
    pub(crate) fn set_use(&self, usage: Use, pod: &str) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = (usage, pod.to_owned());
    }

    fn is(&self, which: &Which) -> bool {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        which.usage.is_none_or(|usage| usage == current.0) && which.pod.as_ref().is_none_or(|pod| *pod == current.1)
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    open: BTreeMap<u64, Arc<Connection>>,
    frozen_until: Option<Instant>,
}

/// Keeps a connection in the table as long as it lives.
pub(crate) struct Registered {
    connections: Arc<Connections>,
    number: u64,
    pub(crate) connection: Arc<Connection>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.connections.lock().open.remove(&self.number);
    }
}

impl Connections {
    pub(crate) fn register(self: &Arc<Self>, gate: Arc<Gate>) -> Registered {
        let mut inner = self.lock();
        if let Some(left) = inner.frozen_until.and_then(|until| until.checked_duration_since(Instant::now())) {
            gate.freeze(left);
        }
        let connection = Arc::new(Connection { gate, current: Mutex::new((Use::Request, String::new())) });
        let number = inner.next;
        inner.next += 1;
        inner.open.insert(number, Arc::clone(&connection));
        Registered { connections: Arc::clone(self), number, connection }
    }

    /// Ends them; returns how many.
    pub(crate) fn close(&self, which: &Which, how: Close) -> usize {
        let chosen = self.chosen(which);
        for connection in &chosen {
            connection.gate.close(how);
        }
        chosen.len()
    }

    /// Stops their traffic for that long; returns how many.
    pub(crate) fn freeze(&self, which: &Which, time: Duration) -> usize {
        if *which == Which::default() {
            self.lock().frozen_until = Some(Instant::now() + time);
        }
        let chosen = self.chosen(which);
        for connection in &chosen {
            connection.gate.freeze(time);
        }
        chosen.len()
    }

    /// How many there are.
    pub(crate) fn count(&self, which: &Which) -> usize {
        self.chosen(which).len()
    }

    fn chosen(&self, which: &Which) -> Vec<Arc<Connection>> {
        self.lock().open.values().filter(|connection| connection.is(which)).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

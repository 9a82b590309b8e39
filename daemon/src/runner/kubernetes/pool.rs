//! The clients in use, and what the units under one identity share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::{sync::Semaphore, time::Instant};
use worknode_protocol::config::model::KubeTuning;

use super::{
    absence::Absence,
    attach::Choices,
    auth::{Access, AuthError},
    client::{ApiError, words},
    limiter::Limiter,
    transport,
    watch::Feeds,
};

/// Pods asked for at the same time under one identity. A creation takes the API server some 20 ms (webhooks and quotas are
/// asked, the store writes): 16 at a time keep it busy, and more would only wait there, beyond its limits of fairness, and
/// be answered with 429.
pub(crate) const CREATIONS: usize = 16;

/// One client of one cluster under one identity. Units share it; nothing in it changes.
pub(super) struct Connection {
    pub(super) identity: [u8; 32],
    pub(super) client: kube::Client,
    pub(super) shared: Arc<Shared>,
}

/// What the units under one identity share, also after its credentials were read anew.
pub(super) struct Shared {
    pub(super) limiter: Limiter,
    /// Permits for pods that are being asked for.
    pub(super) creations: Semaphore,
    pub(super) feeds: Arc<Feeds>,
    /// Whether the API server is away, or was until just now.
    pub(super) absence: Absence,
    /// Logs that are followed now.
    pub(super) logs: Arc<()>,
    /// When the credentials were last read anew. Held meanwhile: one task reads them for all.
    pub(super) refreshed: tokio::sync::Mutex<Option<Instant>>,
}

impl Shared {
    fn new(limits: &KubeTuning) -> Self {
        let (creations, feeds, refreshed) = (Semaphore::new(CREATIONS), Arc::default(), tokio::sync::Mutex::default());
        Self {
            limiter: Limiter::new(limits),
            creations,
            feeds,
            absence: Absence::default(),
            logs: Arc::default(),
            refreshed,
        }
    }
}

/// The clients in use, by identity. A client that no unit uses goes.
pub(crate) struct Pool {
    limits: KubeTuning,
    connections: Mutex<HashMap<[u8; 32], Weak<Connection>>>,
    pub(super) attach: Choices,
}

impl Pool {
    pub(crate) fn new(tuning: KubeTuning) -> Self {
        Self { limits: tuning, connections: Mutex::default(), attach: Choices::default() }
    }

    /// A client for this access: one in use, but not that which was refused. Blocks: a credential plugin may run.
    pub(super) fn connect(
        &self,
        access: Access,
        refused: Option<&Arc<Connection>>,
    ) -> Result<Arc<Connection>, ApiError> {
        let identity = access.identity;
        let known = self.lock().get(&identity).and_then(Weak::upgrade);
        if let Some(known) = known.as_ref().filter(|known| !refused.is_some_and(|refused| Arc::ptr_eq(known, refused)))
        {
            return Ok(Arc::clone(known));
        }
        let shared = known.map_or_else(|| Arc::new(Shared::new(&self.limits)), |known| Arc::clone(&known.shared));
        let client = transport::client(access.config).map_err(|fault| AuthError::Invalid(words(&fault)))?;
        let connection = Arc::new(Connection { identity, client, shared });
        let mut connections = self.lock();
        connections.retain(|_, connection| connection.strong_count() > 0);
        connections.insert(identity, Arc::downgrade(&connection));
        Ok(connection)
    }

    /// The connection that has taken the place of this one.
    pub(super) fn newer_than(&self, old: &Arc<Connection>) -> Option<Arc<Connection>> {
        let connections = self.lock();
        let same = |newer: &Arc<Connection>| !Arc::ptr_eq(newer, old) && Arc::ptr_eq(&newer.shared, &old.shared);
        connections.values().filter_map(Weak::upgrade).find(same)
    }

    /// How many shared watches there are.
    #[cfg(test)]
    pub(crate) fn watched(&self) -> usize {
        self.lock().values().filter_map(Weak::upgrade).map(|connection| connection.shared.feeds.len()).sum()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Weak<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Objects in clusters that carry this node's name and belong to none of its units: what a lost data directory or another
//! daemon of the same name left behind (work-types 2.4: `pruneonstart`).
//!
//! A unit is in the table, and its directory on disk, before anything is made for it. The objects are listed first and the
//! units looked at afterwards: so what belongs to a unit that is just being made is never taken for an orphan.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::units::Units;
use crate::runner::{DiscardError, Object, WorkKind};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(600);

/// An object that belongs to no unit.
pub struct Orphan {
    /// What it is.
    pub object: Object,
    kind: Arc<dyn WorkKind>,
}

impl Orphan {
    /// Deletes it.
    ///
    /// # Errors
    /// The cluster's words; it may still be there.
    pub async fn remove(&self) -> Result<(), DiscardError> {
        self.kind.remove(&self.object).await
    }
}

/// What one look has brought.
#[derive(Default)]
pub struct Orphans {
    /// In the order of their ids.
    pub found: Vec<Orphan>,
    /// Work types whose cluster could not be asked, and why.
    pub failed: Vec<(String, DiscardError)>,
}

/// Looks for orphans in the clusters of all work types.
pub async fn find(units: &Units) -> Orphans {
    let mut failed = Vec::new();
    let mut objects: BTreeMap<String, Orphan> = BTreeMap::new();
    for kind in units.kinds().iter() {
        match kind.objects().await {
            Err(fault) => failed.push((kind.name().to_owned(), fault)),
            Ok(seen) => {
                for object in seen {
                    // Several types may see it; the one that it names decides about it.
                    let known = objects.get(&object.uid).is_some_and(|known| known.object.own || !object.own);
                    if !known {
                        objects.insert(object.uid.clone(), Orphan { object, kind: Arc::clone(kind) });
                    }
                }
            }
        }
    }
    // Only now, see the head of this file.
    let mut found = Vec::new();
    for orphan in objects.into_values() {
        if !units.has(&orphan.object.unit).await {
            found.push(orphan);
        }
    }
    still_there(&mut found).await;
    Orphans { found, failed }
}

/// Looks once more: what belonged to a unit that was released meanwhile is gone now, or about to go.
async fn still_there(found: &mut Vec<Orphan>) {
    let mut kinds: Vec<Arc<dyn WorkKind>> = Vec::new();
    for orphan in &*found {
        if !kinds.iter().any(|kind| kind.name() == orphan.kind.name()) {
            kinds.push(Arc::clone(&orphan.kind));
        }
    }
    let mut there = HashSet::new();
    for kind in kinds {
        there.extend(kind.objects().await.unwrap_or_default().into_iter().map(|object| object.uid));
    }
    found.retain(|orphan| there.contains(&orphan.object.uid));
}

/// Looks at once and then now and again, until told to stop: reports orphans, or deletes them where their work type says so.
pub async fn watch(units: Arc<Units>, stop: CancellationToken) {
    let mut reported = HashSet::new();
    loop {
        let look = async {
            look(&units, &mut reported).await;
            sleep(PAUSE).await;
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = look => {}
        }
    }
}

async fn look(units: &Units, reported: &mut HashSet<String>) {
    let Orphans { found, failed } = find(units).await;
    for (kind, fault) in failed {
        // Not a warning: a work type that nobody uses may have no cluster.
        info!("work type {kind}: cannot look for objects without a unit: {fault}");
    }
    let mut still = HashSet::new();
    for orphan in found.iter().filter(|orphan| !orphan.object.kept) {
        let object = &orphan.object;
        if orphan.kind.prunes() {
            match orphan.remove().await {
                Ok(()) => info!("{object} belongs to no unit of this node (unit {}): deleted", object.unit),
                Err(fault) => warn!("{object} belongs to no unit of this node and could not be deleted: {fault}"),
            }
            continue;
        }
        if reported.contains(&object.uid) {
            debug!("{object} still belongs to no unit of this node");
        } else {
            warn!(
                "{object} belongs to no unit of this node (unit {}); `ctl work prune --cluster` deletes it",
                object.unit
            );
        }
        still.insert(object.uid.clone());
    }
    *reported = still;
}

//! `work prune`: units that have ended, or objects in clusters that belong to no unit (work-types 5).

use std::time::{Duration, SystemTime};

use worknode_protocol::control::{Prune, PruneAnswer, UnitError};

use super::Context;
use crate::work::{
    orphans,
    signature::Shown,
    unit::{Released, UnitHandle},
};

/// Carries it out, or refuses it: for all units it needs what the release of the most guarded one needs.
pub(super) async fn run(wanted: &Prune, shown: &Shown, context: &Context) -> Result<String, UnitError> {
    let demanded = context.units.kinds().iter().any(|kind| kind.verifies_signature());
    let _ = context.signatures.check(demanded, shown).await?;
    let answer = if wanted.cluster { objects(wanted, context).await } else { units(wanted, context).await };
    Ok(answer.to_line())
}

async fn objects(wanted: &Prune, context: &Context) -> PruneAnswer {
    let orphans::Orphans { found, failed } = orphans::find(&context.units).await;
    let failed = failed.into_iter().map(|(kind, fault)| format!("work type {kind}: {fault}")).collect();
    let mut answer = PruneAnswer { failed, ..PruneAnswer::default() };
    for orphan in found {
        let path = orphan.object.path();
        if wanted.dry_run {
            answer.objects.push(path);
            continue;
        }
        match orphan.remove().await {
            Ok(()) => {
                tracing::info!("{} belongs to no unit of this node: deleted by order", orphan.object);
                answer.objects.push(path);
            }
            Err(fault) => answer.failed.push(format!("{path}: {fault}")),
        }
    }
    answer
}

async fn units(wanted: &Prune, context: &Context) -> PruneAnswer {
    let mut answer = PruneAnswer::default();
    let mut units = context.units.all();
    units.sort_by(|a, b| a.id().cmp(b.id()));
    for unit in units {
        let state = unit.status().state;
        if !state.is_final() || wanted.state.is_some_and(|only| only != state) || !is_old(&unit, wanted).await {
            continue;
        }
        if wanted.dry_run {
            answer.units.push(unit.id().clone());
            continue;
        }
        match unit.release(false).await {
            Ok(Released::Gone) => answer.units.push(unit.id().clone()),
            Ok(Released::Pending) => answer.failed.push(format!("{}: release pending", unit.id())),
            Err(fault) => answer.failed.push(format!("{}: {fault}", unit.id())),
        }
    }
    answer
}

/// True if the unit ended long enough ago: its status is not written afterwards. One whose age cannot be known is kept.
async fn is_old(unit: &UnitHandle, wanted: &Prune) -> bool {
    let Some(older) = wanted.older.as_ref().map(|older| older.to_std().unwrap_or(Duration::ZERO)) else { return true };
    let status = unit.dir().file("status");
    let written = tokio::task::spawn_blocking(move || std::fs::metadata(status).and_then(|file| file.modified()).ok());
    let age = written.await.ok().flatten().and_then(|written| SystemTime::now().duration_since(written).ok());
    age.is_some_and(|age| age >= older)
}

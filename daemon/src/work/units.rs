//! The units of this node: which there are, how they are made, found again after a restart, and let go.
//!
//! The table maps ids to handles and is locked for single look-ups only, never over I/O or an await: listing hundreds of
//! units wakes none of their tasks.

use std::{
    collections::HashMap,
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};
use worknode_protocol::{
    id::UnitId,
    unit::{Detail, State, Status, UNKNOWN_WORK_TYPE},
};

use super::{
    leftovers::Leftovers,
    store::{StatusFault, UnitDir},
    unit::{Entry, UnitHandle, UnitTask},
};
use crate::runner::{Found, Plan, Recovery, WorkKind};

/// Ids drawn before giving up; at 62^8 ids a second draw is already a rarity.
const DRAWS: usize = 16;

/// The configured work types, in the order of the configuration: in that order `status` shows them.
#[derive(Default)]
pub struct WorkKinds {
    configured: Vec<Arc<dyn WorkKind>>,
    /// The type of units that other nodes run: nobody submits under its name, and nobody is told of it.
    remote: Option<Arc<dyn WorkKind>>,
}

impl WorkKinds {
    /// With the type of units that other nodes run.
    #[must_use]
    pub fn with_remote(self, remote: Arc<dyn WorkKind>) -> Self {
        Self { remote: Some(remote), ..self }
    }

    /// The type of this name. There are few: looking at each is as fast as a table.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn WorkKind>> {
        self.iter().find(|kind| kind.name() == name)
    }

    /// The type of a unit on disk.
    fn of_unit(&self, work_type: &str) -> Option<&Arc<dyn WorkKind>> {
        self.remote.as_ref().filter(|remote| remote.name() == work_type).or_else(|| self.get(work_type))
    }

    /// All types that work can be submitted for.
    pub fn iter(&self) -> std::slice::Iter<'_, Arc<dyn WorkKind>> {
        self.configured.iter()
    }
}

impl FromIterator<Arc<dyn WorkKind>> for WorkKinds {
    fn from_iter<I: IntoIterator<Item = Arc<dyn WorkKind>>>(kinds: I) -> Self {
        Self { configured: kinds.into_iter().collect(), remote: None }
    }
}

/// All units of this node.
pub struct Units {
    node_dir: PathBuf,
    kinds: WorkKinds,
    table: Mutex<HashMap<UnitId, UnitHandle>>,
    tasks: TaskTracker,
    detach: CancellationToken,
    me: Weak<Self>,
}

/// Why a unit could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The directory or its files.
    #[error("error creating work unit directory: {0}")]
    Directory(#[from] io::Error),
    /// The daemon is about to leave.
    #[error("node is shutting down")]
    Leaving,
}

impl Units {
    /// Opens `<data_dir>/<node>`, making it where it is missing, and takes up the units in it.
    ///
    /// # Errors
    /// The directory cannot be made or read.
    pub async fn open(node_dir: PathBuf, kinds: WorkKinds) -> io::Result<Arc<Self>> {
        let units = Arc::new_cyclic(|me| Self {
            node_dir,
            kinds,
            table: Mutex::default(),
            tasks: TaskTracker::new(),
            detach: CancellationToken::new(),
            me: me.clone(),
        });
        let scan = {
            let units = units.clone();
            move || scan(&units.node_dir, &units.kinds)
        };
        for taken in tokio::task::spawn_blocking(scan).await.map_err(io::Error::other)?? {
            units.take_up(taken);
        }
        Ok(units)
    }

    fn take_up(&self, taken: TakenUp) {
        let TakenUp { found, kind, entry } = taken;
        match entry {
            Some(entry) => drop(self.admit(found, kind, entry)),
            None => {
                let mut leftovers = Leftovers::none();
                if let Some(kind) = kind {
                    leftovers.clear(kind, found.clone());
                }
                self.adopt(found, leftovers);
            }
        }
    }

    /// A configured work type.
    pub fn kind(&self, name: &str) -> Option<&Arc<dyn WorkKind>> {
        self.kinds.get(name)
    }

    /// The configured work types.
    pub fn kinds(&self) -> &WorkKinds {
        &self.kinds
    }

    /// Makes a unit that waits for its payload: its directory is complete when this returns.
    ///
    /// # Errors
    /// The file system's; nothing is left behind.
    pub async fn create(&self, kind: Arc<dyn WorkKind>, plan: Plan) -> Result<UnitHandle, CreateError> {
        if self.detach.is_cancelled() {
            return Err(CreateError::Leaving);
        }
        let Plan { extra_data, secrets, runner } = plan;
        let status = Status {
            state: State::Pending,
            detail: Detail::WaitingForInputData.to_string(),
            stdout_size: 0,
            work_type: kind.name().to_owned(),
            extra_data,
        };
        let node_dir = self.node_dir.clone();
        let make = move || {
            let (id, dir) = make_directory(&node_dir, &status)?;
            if let Some(secrets) = secrets {
                dir.replace_file("secrets.json", secrets.document().as_bytes()).inspect_err(|_| drop(dir.remove()))?;
            }
            Ok::<_, io::Error>(Found { id, dir, status })
        };
        let found = tokio::task::spawn_blocking(make).await.map_err(io::Error::other)??;
        Ok(self.admit(found, Some(kind), Entry::Fresh(runner)))
    }

    fn admit(&self, found: Found, kind: Option<Arc<dyn WorkKind>>, entry: Entry) -> UnitHandle {
        let id = found.id.clone();
        let (task, handle) = UnitTask::new(found, kind, entry, self.detach.child_token(), self.me.clone());
        self.table().insert(id, handle.clone());
        self.tasks.spawn(task.run());
        handle
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<UnitId, UnitHandle>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The unit with this id, as the client wrote it.
    pub fn get(&self, id: &str) -> Option<UnitHandle> {
        let id: UnitId = id.parse().ok()?;
        self.table().get(&id).cloned()
    }

    /// True if there is a unit of this id, be it one that could not be read, or is about to go.
    pub async fn has(&self, id: &str) -> bool {
        let Ok(id) = id.parse::<UnitId>() else { return false };
        if self.table().contains_key(&id) {
            return true;
        }
        let dir = UnitDir::at(self.node_dir.join(id.as_str()));
        // What cannot be known is taken for a unit: it is not deleted.
        tokio::task::spawn_blocking(move || dir.path().try_exists().unwrap_or(true)).await.unwrap_or(true)
    }

    /// All units, in no order.
    pub fn all(&self) -> Vec<UnitHandle> {
        self.table().values().cloned().collect()
    }

    pub(super) fn forget(&self, id: &UnitId) {
        self.table().remove(id);
    }

    /// Goes on clearing after a unit that its clients have seen released, then deletes its directory.
    pub(super) fn adopt(&self, found: Found, mut leftovers: Leftovers) {
        let detach = self.detach.clone();
        self.tasks.spawn(async move {
            if leftovers.pending() {
                tokio::select! {
                    biased;
                    () = detach.cancelled() => return leftovers.stop().await,
                    () = leftovers.cleared() => {}
                }
            }
            let dir = found.dir;
            if let Ok(Err(fault)) = tokio::task::spawn_blocking(move || dir.remove()).await {
                warn!("unit {}: directory not deleted: {fault}", found.id);
            }
        });
    }

    /// Leaves every unit as it is, its job running. Returns when all unit tasks have ended.
    pub async fn detach(&self) {
        self.detach.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Draws an id and makes its directory. The directory itself is the lock: of two that draw the same id, one draws again.
fn make_directory(node_dir: &Path, status: &Status) -> io::Result<(UnitId, UnitDir)> {
    for _ in 0..DRAWS {
        let id = UnitId::draw(|below| rand::random_range(0..below));
        match UnitDir::create(node_dir.join(id.as_str()), status) {
            Err(fault) if fault.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|dir| (id, dir)),
        }
    }
    Err(io::Error::other("no unused unit id found"))
}

/// One directory taken up at start.
struct TakenUp {
    found: Found,
    kind: Option<Arc<dyn WorkKind>>,
    /// None: released before, only the clearing goes on.
    entry: Option<Entry>,
}

/// Reads every unit directory once (control-protocol 4.2).
fn scan(node_dir: &Path, kinds: &WorkKinds) -> io::Result<Vec<TakenUp>> {
    DirBuilder::new().mode(0o700).recursive(true).create(node_dir)?;
    let mut taken = Vec::new();
    for entry in std::fs::read_dir(node_dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if UnitDir::is_aside(&name) {
            if let Err(fault) = std::fs::remove_dir_all(entry.path()) {
                warn!("{}: {fault}", name.to_string_lossy());
            }
            continue;
        }
        let Some(id) = name.to_str().and_then(|name| name.parse::<UnitId>().ok()) else {
            error!("Error locating unit: {}", name.to_string_lossy());
            continue;
        };
        if !entry.file_type()?.is_dir() {
            error!("Error locating unit: {id}");
            continue;
        }
        taken.extend(take_up(id, UnitDir::at(entry.path()), kinds));
    }
    info!("{} work units found in {}", taken.len(), node_dir.display());
    Ok(taken)
}

fn take_up(id: UnitId, dir: UnitDir, kinds: &WorkKinds) -> Option<TakenUp> {
    let mut status = match dir.read_status() {
        Ok(status) => status,
        Err(StatusFault::Missing) => {
            error!("Status file has disappeared for {id}.");
            return None;
        }
        Err(fault) => {
            warn!("unit {id}: {fault}");
            Status {
                state: State::Pending,
                detail: Detail::UnitCreated.to_string(),
                stdout_size: 0,
                work_type: String::new(),
                extra_data: UNKNOWN_WORK_TYPE.into(),
            }
        }
    };
    let kind = kinds.of_unit(&status.work_type).cloned();
    if dir.is_marked("release") || kind.as_ref().is_some_and(|kind| kind.is_release_ordered(&status)) {
        let found = Found { id, dir, status };
        // What another node has to release stays in the list until it has.
        let listed = kind.as_ref().is_some_and(|kind| kind.release_there(&found).is_some());
        return Some(TakenUp { found, kind, entry: listed.then_some(Entry::Releasing) });
    }
    let cancel = dir.is_marked("cancel");
    let found = Found { id, dir, status: status.clone() };
    let entry = match &kind {
        None => {
            status.extra_data = UNKNOWN_WORK_TYPE.into();
            Entry::Ended { leftover: false }
        }
        Some(_) if status.state.is_final() => Entry::Ended { leftover: cancel },
        Some(kind) => match kind.recover(&found) {
            Recovery::Resume(runner) => Entry::Resumed { runner, cancel },
            Recovery::Ended(state, detail) => {
                (status.state, status.detail) = (state, detail.to_string());
                status.stdout_size = found.dir.stdout_bytes();
                if let Err(fault) = found.dir.write_status(&status) {
                    error!("unit {}: status not written: {fault}", found.id);
                }
                Entry::Ended { leftover: cancel }
            }
        },
    };
    Some(TakenUp { found: Found { status, ..found }, kind, entry: Some(entry) })
}

//! What is made of files, made anew when they change.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{task::spawn_blocking, time::Instant};
use tracing::{info, warn};

use super::TlsError;

/// Files are looked at when something is about to be done with them, but not more often than this.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A value made of files. [`Watched::current`] makes it anew when one of them has changed; if that fails, the old value
/// stays, and the log says so once.
pub(super) struct Watched<T> {
    files: Arc<[PathBuf]>,
    make: Arc<dyn Fn() -> Result<T, TlsError> + Send + Sync>,
    /// What the log calls it.
    title: String,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    marks: Vec<Option<Mark>>,
    looked: Instant,
}

/// What tells one version of a file from the next.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl Mark {
    fn of(file: &Path) -> Option<Self> {
        let data = fs::metadata(file).ok()?;
        Some(Self { modified: data.modified().ok(), length: data.len(), inode: data.ino() })
    }
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Makes the value for the first time. Reads files, so it blocks.
    ///
    /// # Errors
    /// Those of `make`.
    pub(super) fn new(
        title: String,
        files: Vec<PathBuf>,
        make: impl Fn() -> Result<T, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        // The marks are taken first: what changes while the files are read is seen the next time.
        let marks = files.iter().map(|file| Mark::of(file)).collect();
        let state = State { value: Arc::new(make()?), marks, looked: Instant::now() };
        Ok(Self { files: files.into(), make: Arc::new(make), title, state: Mutex::new(state) })
    }

    /// The value of the files as they are now, or were a second ago.
    pub(super) async fn current(&self) -> Arc<T> {
        let before = {
            let mut state = self.state();
            if self.files.is_empty() || state.looked.elapsed() < LOOK_EVERY {
                return state.value.clone();
            }
            state.looked = Instant::now();
            state.marks.clone()
        };
        let (files, make) = (self.files.clone(), self.make.clone());
        let look = spawn_blocking(move || {
            let marks: Vec<_> = files.iter().map(|file| Mark::of(file)).collect();
            (marks != before).then(|| (make(), marks))
        });
        // A task that was cancelled or panicked has not made anything: the value stays.
        if let Ok(Some((made, marks))) = look.await {
            let mut state = self.state();
            state.marks = marks;
            match made {
                Ok(value) => {
                    info!("{}: read again, its files have changed", self.title);
                    state.value = Arc::new(value);
                }
                Err(fault) => warn!("{}: its files have changed but cannot be used, the old stay: {fault}", self.title),
            }
        }
        self.state().value.clone()
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

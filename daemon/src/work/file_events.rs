//! Tells when files change: one inotify instance for the daemon, one task that owns it.
//!
//! A subscription is a counter that moves with every change, so that changes between two looks merge into one and none is
//! missed. Where the kernel has no room for another watch, a subscription looks four times a second instead, as the
//! reference always does.

use std::{
    collections::HashMap,
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::inotify::{self, CreateFlags, Reader, WatchFlags},
    io::Errno,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tracing::warn;

use crate::readiness::register;

/// Subscriptions that may wait for the task; the next one waits to be taken.
const REQUESTS: usize = 64;
/// Room for a few hundred events; more are read in further turns.
const EVENT_BYTES: usize = 8 * 1024;
/// How often a file is looked at that cannot be watched.
const FALLBACK: Duration = Duration::from_millis(250);

enum Request {
    Watch(PathBuf, oneshot::Sender<io::Result<watch::Receiver<u64>>>),
    /// A subscription ended: its watch may have no other.
    Ended,
}

/// The way to subscribe.
#[derive(Clone)]
pub struct FileEvents {
    requests: mpsc::Sender<Request>,
}

impl FileEvents {
    /// Starts the task, which ends when the last handle and subscription are gone.
    pub fn start() -> (Self, JoinHandle<()>) {
        let (requests, inbox) = mpsc::channel(REQUESTS);
        (Self { requests }, tokio::spawn(serve(inbox)))
    }

    /// Watches a file from now on.
    pub async fn subscribe(&self, path: &Path) -> Subscription {
        let (answer, answered) = oneshot::channel();
        let sent = self.requests.send(Request::Watch(path.to_owned(), answer)).await;
        let changes = match (sent, answered.await) {
            (Ok(()), Ok(Ok(changes))) => Some(changes),
            (_, Ok(Err(fault))) => {
                warn!("{} cannot be watched ({fault}): looking at it every {FALLBACK:?}", path.display());
                None
            }
            _ => None,
        };
        Subscription { changes, requests: self.requests.clone() }
    }
}

/// One reader's interest in one file.
pub struct Subscription {
    changes: Option<watch::Receiver<u64>>,
    requests: mpsc::Sender<Request>,
}

impl Subscription {
    /// Returns when the file has changed since the last return, or since the subscription.
    pub async fn changed(&mut self) {
        let told = match &mut self.changes {
            Some(changes) => changes.changed().await.is_ok(),
            None => false,
        };
        if !told {
            tokio::time::sleep(FALLBACK).await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.changes = None;
        // With a full queue the next request sweeps instead.
        let _ = self.requests.try_send(Request::Ended);
    }
}

/// The inotify instance and its watches.
struct Watches {
    inotify: AsyncFd<OwnedFd>,
    /// By watch descriptor, which is one for each file, however many subscribe.
    files: HashMap<i32, watch::Sender<u64>>,
}

async fn serve(mut inbox: mpsc::Receiver<Request>) {
    let opened = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
        .map_err(io::Error::from)
        .and_then(|fd| register(fd, Interest::READABLE));
    let mut watches = match opened {
        Ok(inotify) => Watches { inotify, files: HashMap::new() },
        Err(fault) => return refuse_all(inbox, &fault).await,
    };
    loop {
        tokio::select! {
            request = inbox.recv() => match request {
                Some(Request::Watch(path, answer)) => {
                    watches.sweep();
                    let _ = answer.send(watches.add(&path));
                }
                Some(Request::Ended) => watches.sweep(),
                None => return,
            },
            ready = watches.inotify.readable() => match ready {
                Ok(mut guard) => {
                    if tell(guard.get_inner(), &watches.files) {
                        guard.clear_ready();
                    }
                }
                Err(fault) => return refuse_all(inbox, &fault).await,
            },
        }
    }
}

async fn refuse_all(mut inbox: mpsc::Receiver<Request>, fault: &io::Error) {
    while let Some(request) = inbox.recv().await {
        if let Request::Watch(_, answer) = request {
            let _ = answer.send(Err(io::Error::new(fault.kind(), fault.to_string())));
        }
    }
}

impl Watches {
    fn add(&mut self, path: &Path) -> io::Result<watch::Receiver<u64>> {
        let wanted = WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE | WatchFlags::ATTRIB | WatchFlags::DELETE_SELF;
        let watch = inotify::add_watch(self.inotify.get_ref(), path, wanted)?;
        Ok(self.files.entry(watch).or_insert_with(|| watch::channel(0).0).subscribe())
    }

    /// Drops the watches that nobody waits for.
    fn sweep(&mut self) {
        let inotify = self.inotify.get_ref();
        self.files.retain(|watch, changes| {
            let wanted = changes.receiver_count() > 0;
            if !wanted {
                // A file that is gone has taken its watch along.
                let _ = inotify::remove_watch(inotify, *watch);
            }
            wanted
        });
    }
}

/// Tells what the instance has to tell. True if nothing more is there.
fn tell(inotify: &OwnedFd, files: &HashMap<i32, watch::Sender<u64>>) -> bool {
    let mut buffer = [MaybeUninit::uninit(); EVENT_BYTES];
    let mut reader = Reader::new(inotify, &mut buffer);
    loop {
        match reader.next() {
            Ok(event) => match files.get(&event.wd()) {
                Some(file) => file.send_modify(|count| *count = count.wrapping_add(1)),
                // The queue ran over: any file may have changed.
                None if event.wd() < 0 => {
                    files.values().for_each(|file| file.send_modify(|count| *count = count.wrapping_add(1)));
                }
                None => {}
            },
            Err(Errno::INTR) => {}
            Err(_) => return true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn every_subscriber_hears_of_a_write_also_of_one_before_it_waits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stdout");
        let mut file = std::fs::File::create(&path).unwrap();
        let (events, task) = FileEvents::start();
        let mut first = events.subscribe(&path).await;
        let mut second = events.subscribe(&path).await;
        file.write_all(b"x").unwrap();
        for waiting in [&mut first, &mut second] {
            tokio::time::timeout(SOON, waiting.changed()).await.unwrap();
        }
        drop((first, second, events));
        tokio::time::timeout(SOON, task).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_looked_at_instead() {
        let (events, _task) = FileEvents::start();
        let mut missing = events.subscribe(Path::new("/nonexistent")).await;
        tokio::time::timeout(SOON, missing.changed()).await.unwrap();
    }
}

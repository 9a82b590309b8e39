//! One run of one container.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::output::{Attached, pump};
use super::process::{Pipes, Process, Program, exit_code};
use super::stdin::Stdin;
use crate::log::{ContainerLog, Source};

/// After the process has ended, for output that something outside of its process group still holds open. Not less: with 500
/// pods on two busy processors a pipe waits for seconds until it is read.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// A container that was started.
#[derive(Debug)]
pub(crate) struct Container {
    /// As in `status.containerStatuses[].containerID`.
    pub(crate) id: String,
    pub(crate) started: Timestamp,
    pub(crate) log: Arc<ContainerLog>,
    pub(crate) attached: Arc<Attached>,
    /// Absent without `stdin: true`.
    pub(crate) stdin: Option<Stdin>,
    process: Process,
    out_of_memory: AtomicBool,
    end: watch::Sender<Option<End>>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) exit_code: i32,
    pub(crate) finished: Timestamp,
    pub(crate) out_of_memory: bool,
}

impl Container {
    /// Starts the program; its tasks are owned by `tasks`. Fails if the program cannot be run.
    pub(crate) async fn start(
        program: Program,
        stdin_once: bool,
        log_path: &Path,
        tasks: &TaskTracker,
    ) -> io::Result<Arc<Self>> {
        let log = Arc::new(ContainerLog::create(log_path)?);
        let child = tasks.spawn_blocking(move || program.spawn()).await.map_err(io::Error::other)??;
        let (process, Pipes { stdin, stdout, stderr }) = Process::adopt(child)?;
        let over = CancellationToken::new();
        let stdin = stdin.map(|pipe| {
            let (stdin, task) = Stdin::new(pipe, stdin_once, over.clone());
            tasks.spawn(task);
            stdin
        });
        let container = Arc::new(Self {
            id: format!("containerd://{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>()),
            started: Timestamp::now(),
            log,
            attached: Arc::default(),
            stdin,
            process,
            out_of_memory: AtomicBool::new(false),
            end: watch::Sender::new(None),
        });
        let mut outputs = JoinSet::new();
        for (pipe, source) in [(stdout, Source::Stdout), (stderr, Source::Stderr)] {
            outputs.spawn(pump(pipe, source, Arc::clone(&container.log), Arc::clone(&container.attached)));
        }
        tasks.spawn(Arc::clone(&container).watch_over(outputs, over));
        Ok(container)
    }

    /// Waits for the process, then for the rest of its output, then says that it is over.
    async fn watch_over(self: Arc<Self>, mut outputs: JoinSet<()>, over: CancellationToken) {
        // Output may end before the process, and sessions end with the output (kubernetes-streams 1.3).
        let process = self.process.wait();
        tokio::pin!(process);
        let status = tokio::select! {
            status = &mut process => {
                over.cancel();
                let _ = tokio::time::timeout(DRAIN_LIMIT, all(&mut outputs)).await;
                self.attached.end();
                status
            }
            () = all(&mut outputs) => {
                self.attached.end();
                let status = process.await;
                over.cancel();
                status
            }
        };
        self.log.end();
        let exit_code = status.map_or(255, exit_code);
        let out_of_memory = self.out_of_memory.load(Ordering::Acquire);
        self.end.send_replace(Some(End { exit_code, finished: Timestamp::now(), out_of_memory }));
    }

    /// Completes when the process has ended and all of its output is in the log.
    pub(crate) async fn ended(&self) -> End {
        let mut end = self.end.subscribe();
        loop {
            if let Some(end) = *end.borrow_and_update() {
                return end;
            }
            if end.changed().await.is_err() {
                // The sender is a field of `self`.
                std::future::pending::<()>().await;
            }
        }
    }

    pub(crate) fn end(&self) -> Option<End> {
        *self.end.borrow()
    }

    pub(crate) fn terminate(&self) {
        self.process.terminate();
    }

    pub(crate) fn kill(&self) {
        self.process.kill();
    }

    /// Kills it as the kernel does when a memory limit is reached.
    pub(crate) fn kill_out_of_memory(&self) {
        self.out_of_memory.store(true, Ordering::Release);
        self.process.kill();
    }
}

async fn all(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

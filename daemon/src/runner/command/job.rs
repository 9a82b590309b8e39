//! The life of one command unit, as the daemon follows it.

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use worknode_protocol::unit::{CommandExtra, Detail, State, errno_text};

use super::{
    handle::Handle,
    keepers::{Keepers, News},
    launch::{Event, Launch, Outcome, StopRule},
    process::{Process, boot_id},
    record::{self, Record},
    strays,
};
use crate::{
    runner::{BoxFuture, Ending, Report, Runner, StartError, Started, UnitContext},
    work::{
        file_events::{FileEvents, Subscription},
        store::UnitDir,
    },
};

/// File of a unit that waits for its turn: the launch that was planned, for a later daemon.
pub(super) const PLANNED_FILE: &str = "launch.json";

/// How long a keeper of an earlier daemon may take to claim its unit. Its parent carries out what it was sent before it
/// ends, which takes milliseconds.
const CLAIM: Duration = Duration::from_secs(2);

/// Times a launch is repeated because the parent of keepers died.
const RELAUNCHES: u32 = 3;

/// Tries to read a record, and the time between two.
const READ_TRIES: u32 = 20;
const READ_AGAIN: Duration = Duration::from_millis(100);

/// What all units of all command types share. Cheap to clone.
#[derive(Clone)]
pub struct CommandHost {
    keepers: Keepers,
    pub(super) files: FileEvents,
    boot: Arc<str>,
}

impl CommandHost {
    /// Gets ready to run commands. `program` is the daemon's own binary, `/proc/self/exe` save in tests. Jobs get
    /// `open_files` as their soft limit on open files, none being no limit: what the daemon has raised it to is for itself.
    /// The task ends with `stop`; jobs go on.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub fn start(
        program: impl Into<PathBuf>,
        open_files: Option<u64>,
        files: FileEvents,
        stop: CancellationToken,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let boot = boot_id()?.into();
        let (keepers, task) = Keepers::start(program, open_files, stop);
        Ok((Self { keepers, files, boot }, task))
    }

    /// A handle on the keeper of a record, if it lives.
    pub(super) fn keeper(&self, record: &Record) -> Option<Handle> {
        Handle::open(record.keeper).filter(|_| *record.boot == *self.boot)
    }

    /// True if the keeper of a record lives, or may live.
    pub(super) fn is_kept(&self, record: &Record) -> bool {
        *record.boot == *self.boot && record.keeper.is_alive().unwrap_or(true)
    }

    /// Kills what is left of a job, its keeper too. True if nothing is left.
    pub(super) async fn kill_strays(&self, dir: &UnitDir, record: Option<Record>) -> bool {
        let (dir, boot) = (dir.clone(), self.boot.clone());
        let kill = move || strays::kill(&dir, record.as_ref(), &boot, Instant::now() + strays::PATIENCE);
        blocking(kill).await.unwrap_or(false)
    }
}

/// How far a job is when its runner is made.
pub(super) enum Phase {
    /// Checked, not begun.
    Planned(Box<Launch>),
    /// Cannot begin, for a reason that the original finds out only after `Job Started`.
    Unfit(Detail),
    /// Waits for its turn.
    Queued(Box<Launch>),
    /// Handed to the keepers' parent.
    Launched(Box<Launch>, mpsc::Receiver<News>),
    /// Handed over by an earlier daemon, which died before the unit was claimed.
    Unclaimed,
    /// In the care of a keeper.
    Kept(Record),
    /// In the care of a runner of Go receptor.
    Foreign(Process),
    /// Its keeper or runner is dead.
    Lost(Option<Record>),
}

/// The runner of one command unit.
pub(super) struct CommandRunner {
    pub(super) host: CommandHost,
    pub(super) stop: StopRule,
    pub(super) phase: Phase,
    /// The places of the work type, where it has a limit.
    pub(super) places: Option<Arc<Semaphore>>,
    /// The unit's place among them.
    pub(super) place: Option<OwnedSemaphorePermit>,
    /// The status says that the job runs.
    pub(super) known_to_run: bool,
    /// `Params` of the status.
    pub(super) params: String,
}

impl Runner for CommandRunner {
    fn start<'a>(&'a mut self, unit: &'a UnitContext) -> BoxFuture<'a, Result<Started, StartError>> {
        Box::pin(async { self.begin(unit).await.map(|()| Started::Now) })
    }

    fn run(mut self: Box<Self>, unit: UnitContext) -> BoxFuture<'static, Ending> {
        Box::pin(async move { self.follow(&unit).await })
    }
}

/// Runs something that blocks, and gives its answer.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// What a keeper's outcome is to the unit.
pub(super) fn ending(outcome: &Outcome) -> Ending {
    match outcome.state() {
        State::Canceled => Ending::Cancelled { leftover: outcome.leftover },
        state => Ending::Done(state, outcome.detail()),
    }
}

impl CommandRunner {
    async fn begin(&mut self, unit: &UnitContext) -> Result<(), StartError> {
        let Phase::Planned(launch) = &mut self.phase else { return Ok(()) };
        launch.dir = unit.dir.path().to_owned();
        if let Some(places) = &self.places {
            match places.clone().try_acquire_owned() {
                Ok(place) => self.place = Some(place),
                Err(_) => {
                    let (dir, launch) = (unit.dir.clone(), launch.clone());
                    self.phase = Phase::Queued(launch.clone());
                    return match blocking(move || keep_planned(&dir, &launch)).await {
                        Some(Err(fault)) => Err(StartError(fault.to_string())),
                        _ => Ok(()),
                    };
                }
            }
        }
        let launch = launch.clone();
        let news = self.host.keepers.launch(Launch::clone(&launch)).await?;
        self.phase = Phase::Launched(launch, news);
        Ok(())
    }

    async fn follow(&mut self, unit: &UnitContext) -> Ending {
        match std::mem::replace(&mut self.phase, Phase::Lost(None)) {
            Phase::Unfit(detail) => self.fail(unit, detail).await,
            Phase::Planned(launch) | Phase::Queued(launch) => self.wait_for_place(unit, launch).await,
            Phase::Launched(launch, news) => self.follow_launch(unit, launch, news).await,
            Phase::Unclaimed => self.wait_for_claim(unit).await,
            Phase::Kept(record) => self.follow_keeper(unit, record, None).await,
            Phase::Foreign(runner) => self.follow_foreign(unit, runner).await,
            Phase::Lost(record) => self.lost(unit, record).await,
        }
    }

    async fn wait_for_place(&mut self, unit: &UnitContext, launch: Box<Launch>) -> Ending {
        let report = Report { detail: Some(Detail::Queued), ..Report::default() };
        unit.reporter.report(report).await;
        if let Some(places) = self.places.clone() {
            tokio::select! {
                biased;
                () = unit.detach.cancelled() => return Ending::Detached,
                () = unit.cancel.cancelled() => return Ending::Cancelled { leftover: false },
                place = places.acquire_owned() => self.place = place.ok(),
            }
        }
        let report = Report { detail: Some(Detail::LaunchingCommandRunner), ..Report::default() };
        unit.reporter.report(report).await;
        match self.host.keepers.launch(Launch::clone(&launch)).await {
            Ok(news) => self.follow_launch(unit, launch, news).await,
            Err(fault) => self.not_started(unit, fault.to_string()).await,
        }
    }

    /// Follows a job from its launch by this daemon.
    async fn follow_launch(
        &mut self,
        unit: &UnitContext,
        launch: Box<Launch>,
        mut news: mpsc::Receiver<News>,
    ) -> Ending {
        let mut relaunches = 0;
        loop {
            let next = tokio::select! {
                biased;
                next = news.recv() => next,
                () = unit.detach.cancelled() => return Ending::Detached,
                () = unit.cancel.cancelled() => return self.cancel(unit, Some(news)).await,
            };
            match next {
                Some(News::Event(Event::Running { keeper, job })) => self.report_running(unit, keeper, job).await,
                Some(News::Event(Event::Ended(outcome))) => return ending(&outcome),
                Some(News::Event(Event::NotForked(errno))) => {
                    let text = format!("fork: {}", errno_text(errno));
                    return self.not_started(unit, text).await;
                }
                Some(News::Event(Event::Unusable(text))) => return self.not_started(unit, text).await,
                Some(News::Event(Event::Refused | Event::KeeperGone)) => return self.look_up(unit).await,
                // The way to the keepers is gone, but not the keepers.
                None => return self.wait_for_claim(unit).await,
                Some(News::ParentGone) => match read_record(&unit.dir).await {
                    Some(record) => return self.follow_keeper(unit, record, Some(news)).await,
                    // Perhaps forked, perhaps not: whoever claims the unit first is its keeper.
                    None if relaunches < RELAUNCHES => match self.host.keepers.launch(Launch::clone(&launch)).await {
                        Ok(again) => (news, relaunches) = (again, relaunches + 1),
                        Err(fault) => return self.not_started(unit, fault.to_string()).await,
                    },
                    None => return self.not_started(unit, "its parent process was killed".to_owned()).await,
                },
            }
        }
    }

    /// Goes on by what the unit's files say.
    async fn look_up(&mut self, unit: &UnitContext) -> Ending {
        match read_record(&unit.dir).await {
            Some(record) => self.follow_keeper(unit, record, None).await,
            None => self.lost(unit, None).await,
        }
    }

    /// Follows a job by its keeper: one of an earlier daemon, or one that would not be missed otherwise.
    async fn follow_keeper(
        &mut self,
        unit: &UnitContext,
        record: Record,
        mut news: Option<mpsc::Receiver<News>>,
    ) -> Ending {
        let Some(keeper) = self.host.keeper(&record) else { return self.ended(unit).await };
        let mut claimed = None;
        if !self.known_to_run {
            // The keeper tells a daemon that is gone that the job runs, but it also writes it down.
            let changes = self.host.files.subscribe(&unit.dir.file(record::FILE)).await;
            claimed = (!self.report_if_running(unit).await).then_some(changes);
        }
        loop {
            tokio::select! {
                biased;
                next = receive(&mut news) => match next {
                    Some(News::Event(Event::Running { keeper, job })) => self.report_running(unit, keeper, job).await,
                    Some(News::Event(Event::Ended(outcome))) => return ending(&outcome),
                    Some(_) => {}
                    None => news = None,
                },
                () = keeper.ended() => return self.ended(unit).await,
                () = changed(&mut claimed) => if self.report_if_running(unit).await {
                    claimed = None;
                },
                () = unit.detach.cancelled() => return Ending::Detached,
                () = unit.cancel.cancelled() => return self.cancel(unit, news).await,
            }
        }
    }

    /// Reports that the job runs, if its keeper's record says so.
    async fn report_if_running(&self, unit: &UnitContext) -> bool {
        match read_record(&unit.dir).await {
            Some(Record { keeper, job: Some(job), .. }) => {
                self.report_running(unit, keeper.pid, job.pid).await;
                true
            }
            _ => false,
        }
    }

    /// The keeper is gone: what does its record say?
    async fn ended(&mut self, unit: &UnitContext) -> Ending {
        let record = read_record(&unit.dir).await;
        match record.as_ref().and_then(|record| record.outcome.as_ref()) {
            Some(outcome) => {
                // Perhaps it came to that, and not to the status.
                self.report_over(unit).await;
                ending(outcome)
            }
            None => self.lost(unit, record).await,
        }
    }

    /// There is no keeper and no outcome in its record. Another process may have put one into `status`; if not, nobody
    /// knows how the job would have ended.
    pub(super) async fn lost(&mut self, unit: &UnitContext, record: Option<Record>) -> Ending {
        let dir = unit.dir.clone();
        if let Some(Ok(status)) = blocking(move || dir.read_status()).await
            && status.state.is_final()
        {
            self.report_over(unit).await;
            return Ending::Done(status.state, Detail::Verbatim(status.detail));
        }
        self.host.kill_strays(&unit.dir, record).await;
        self.fail(unit, Detail::RunnerGone).await
    }

    /// Waits for the keeper that an earlier daemon may have asked for; without one the unit is not started any more.
    async fn wait_for_claim(&mut self, unit: &UnitContext) -> Ending {
        // Whoever claims the unit holds the lock meanwhile, and its being closed is a change.
        let mut lock = self.host.files.subscribe(&unit.dir.file("status.lock")).await;
        let claim = async {
            loop {
                if let Some(record) = read_record(&unit.dir).await {
                    return record;
                }
                lock.changed().await;
            }
        };
        let record = tokio::select! {
            biased;
            () = unit.detach.cancelled() => return Ending::Detached,
            () = unit.cancel.cancelled() => return self.cancel(unit, None).await,
            record = timeout(CLAIM, claim) => record.ok(),
        };
        match record {
            Some(record) => self.follow_keeper(unit, record, None).await,
            None => match self.forestall(unit, State::Failed, Detail::PendingAtRestart).await {
                true => Ending::Done(State::Failed, Detail::PendingAtRestart),
                false => self.look_up(unit).await,
            },
        }
    }

    pub(super) async fn report_running(&self, unit: &UnitContext, keeper: i32, job: i32) {
        let extra = CommandExtra { pid: keeper.into(), params: self.params.clone() };
        let report = Report {
            state: Some(State::Running),
            detail: Some(Detail::RunningPid(job.unsigned_abs())),
            extra_data: Some(extra.into()),
            ..Report::default()
        };
        unit.reporter.report(report).await;
    }

    /// No keeper could be made for the unit.
    async fn not_started(&self, unit: &UnitContext, text: String) -> Ending {
        self.fail(unit, Detail::FailedToStartRunner(text)).await
    }

    async fn fail(&self, unit: &UnitContext, detail: Detail) -> Ending {
        self.report_over(unit).await;
        Ending::Done(State::Failed, detail)
    }

    /// A unit that has ended has no `ExtraData` (control-protocol 4.1). A keeper sees to that itself.
    pub(super) async fn report_over(&self, unit: &UnitContext) {
        unit.reporter.report(Report { extra_data: Some(Value::Null), ..Report::default() }).await;
    }
}

fn keep_planned(dir: &UnitDir, launch: &Launch) -> io::Result<()> {
    dir.replace_file(PLANNED_FILE, &serde_json::to_vec(launch)?)
}

/// The record of a unit, if there is one. A fault is no sign that there is none, so it is given some time to pass.
pub(super) async fn read_record(dir: &UnitDir) -> Option<Record> {
    for _ in 0..READ_TRIES {
        let files = dir.clone();
        match blocking(move || Record::read(&files)).await? {
            Ok(record) => return record,
            Err(fault) => warn!("{}: {fault}", dir.file(record::FILE).display()),
        }
        sleep(READ_AGAIN).await;
    }
    None
}

/// Returns when a file has changed; never without a subscription.
async fn changed(file: &mut Option<Subscription>) {
    match file {
        Some(file) => file.changed().await,
        None => std::future::pending().await,
    }
}

/// The next news of a job; none ever where there is no inbox.
pub(super) async fn receive(news: &mut Option<mpsc::Receiver<News>>) -> Option<News> {
    match news {
        Some(news) => news.recv().await,
        None => std::future::pending().await,
    }
}

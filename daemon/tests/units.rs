//! Unit tasks against a runner with knobs: every order in every phase, and what a later daemon finds.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::sync::Notify;
use worknode_daemon::{
    runner::{
        BoxFuture, DiscardError, Ending, Found, Params, Plan, PlanError, Recovery, Report, Runner, StartError, Started,
        UnitContext, WorkKind,
    },
    work::{
        store::UnitDir,
        unit::{StartRefused, UnitHandle},
        units::Units,
    },
};
use worknode_protocol::unit::{Detail, State};

const SOON: Duration = Duration::from_secs(10);

/// A work type whose jobs do as the knobs say.
#[derive(Default)]
struct Mock {
    refuse_start: bool,
    panic: bool,
    leave_something: bool,
    /// Discards that fail before one succeeds.
    stubborn: AtomicUsize,
    discarded: AtomicUsize,
    recovered: AtomicUsize,
    /// Told: the job ends by itself.
    end: Notify,
}

struct MockKind(Arc<Mock>);
struct MockRunner(Arc<Mock>);

impl WorkKind for MockKind {
    fn name(&self) -> &str {
        "mock"
    }

    fn verifies_signature(&self) -> bool {
        false
    }

    fn plan(&self, _: &Params) -> Result<Plan, PlanError> {
        Ok(Plan { extra_data: Value::Null, secrets: None, runner: Box::new(MockRunner(self.0.clone())) })
    }

    fn recover(&self, found: &Found) -> Recovery {
        self.0.recovered.fetch_add(1, Ordering::SeqCst);
        if found.status.state == State::Running {
            Recovery::Resume(Box::new(MockRunner(self.0.clone())))
        } else {
            Recovery::Ended(State::Failed, Detail::PendingAtRestart)
        }
    }

    fn discard<'a>(&'a self, _: &'a Found) -> BoxFuture<'a, Result<(), DiscardError>> {
        Box::pin(async {
            self.0.discarded.fetch_add(1, Ordering::SeqCst);
            let stubborn = self.0.stubborn.load(Ordering::SeqCst);
            if stubborn > 0 {
                self.0.stubborn.store(stubborn - 1, Ordering::SeqCst);
                return Err(DiscardError("not now".into()));
            }
            Ok(())
        })
    }
}

impl Runner for MockRunner {
    fn start<'a>(&'a mut self, _: &'a UnitContext) -> BoxFuture<'a, Result<Started, StartError>> {
        Box::pin(async {
            if self.0.refuse_start { Err(StartError("no such cluster".into())) } else { Ok(Started::Now) }
        })
    }

    fn run(self: Box<Self>, unit: UnitContext) -> BoxFuture<'static, Ending> {
        Box::pin(async move {
            let running = Report { state: Some(State::Running), detail: Some(Detail::PodRunning), ..Report::default() };
            unit.reporter.report(running).await;
            assert!(!self.0.panic, "the mock's knob");
            tokio::select! {
                biased;
                () = unit.detach.cancelled() => Ending::Detached,
                () = unit.cancel.cancelled() => Ending::Cancelled { leftover: self.0.leave_something },
                () = self.0.end.notified() => Ending::Done(State::Succeeded, Detail::Finished),
            }
        })
    }
}

struct World {
    dir: tempfile::TempDir,
    mock: Arc<Mock>,
    kind: Arc<dyn WorkKind>,
    units: Arc<Units>,
}

impl World {
    async fn new(mock: Mock) -> Self {
        Self::open(tempfile::tempdir().unwrap(), mock).await
    }

    async fn open(dir: tempfile::TempDir, mock: Mock) -> Self {
        let mock = Arc::new(mock);
        let kind: Arc<dyn WorkKind> = Arc::new(MockKind(mock.clone()));
        let kinds = [kind.clone()].into_iter().collect();
        let units = Units::open(dir.path().join("n1"), kinds).await.unwrap();
        Self { dir, mock, kind, units }
    }

    /// The daemon leaves and another one comes.
    async fn restart(self, mock: Mock) -> Self {
        tokio::time::timeout(SOON, self.units.detach()).await.expect("units come to rest");
        Self::open(self.dir, mock).await
    }

    async fn create(&self) -> UnitHandle {
        let plan = self.kind.plan(&Params::default()).unwrap();
        self.units.create(self.kind.clone(), plan).await.unwrap()
    }

    async fn running(&self) -> UnitHandle {
        let unit = self.create().await;
        unit.start().await.unwrap();
        until(&unit, State::Running).await;
        unit
    }
}

async fn until(unit: &UnitHandle, state: State) {
    let mut progress = unit.progress();
    let reached = progress.wait_for(|now| now.status.state == state);
    tokio::time::timeout(SOON, reached).await.expect("state is reached").unwrap();
}

async fn until_gone(path: &Path) {
    // The clearing is nobody's handle any more: its end is seen on disk alone.
    let look = async {
        while path.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, look).await.expect("directory is deleted");
}

#[tokio::test]
async fn a_unit_runs_to_its_end_and_disk_and_memory_agree() {
    let world = World::new(Mock::default()).await;
    let unit = world.running().await;
    std::fs::write(unit.dir().stdout(), b"12345").unwrap();
    assert_eq!(unit.status().stdout_size, 5, "a running unit's size is the present one");
    world.mock.end.notify_one();
    until(&unit, State::Succeeded).await;
    assert_eq!(unit.status().stdout_size, 5);
    assert_eq!(unit.dir().read_status().unwrap(), unit.status());
}

#[tokio::test]
async fn a_start_that_fails_is_answered_and_the_unit_stays() {
    let world = World::new(Mock { refuse_start: true, ..Mock::default() }).await;
    let unit = world.create().await;
    let refused = unit.start().await.unwrap_err();
    assert_eq!(refused.to_string(), "no such cluster");
    assert_eq!(unit.status().detail, "Error starting worker: no such cluster");
    assert_eq!(unit.status().state, State::Failed);
    assert!(world.units.get(unit.id().as_str()).is_some());
}

#[tokio::test]
async fn a_cancel_before_the_payload_is_complete_counts() {
    let world = World::new(Mock::default()).await;
    let unit = world.create().await;
    unit.cancel().await;
    assert_eq!(unit.status().state, State::Canceled);
    assert!(matches!(unit.start().await, Err(StartRefused::Canceled)));
    assert_eq!(unit.status().state, State::Canceled);
}

#[tokio::test]
async fn a_release_before_the_payload_is_complete_leaves_nothing_to_start() {
    let world = World::new(Mock::default()).await;
    let unit = world.create().await;
    unit.release(false).await.unwrap();
    assert!(!unit.dir().path().exists());
    assert!(matches!(unit.start().await, Err(StartRefused::Gone(_))));
    assert!(!unit.dir().path().exists());
}

#[tokio::test]
async fn cancel_of_an_ended_unit_changes_nothing_and_twice_is_once() {
    let world = World::new(Mock::default()).await;
    let unit = world.running().await;
    unit.cancel().await;
    unit.cancel().await;
    assert_eq!((unit.status().state, unit.status().detail.as_str()), (State::Canceled, "Canceled"));
    let other = world.running().await;
    world.mock.end.notify_one();
    until(&other, State::Succeeded).await;
    other.cancel().await;
    assert_eq!(other.status().state, State::Succeeded);
}

#[tokio::test]
async fn what_a_cancelled_job_left_is_cleared_until_it_is_gone() {
    let world = World::new(Mock { leave_something: true, stubborn: AtomicUsize::new(1), ..Mock::default() }).await;
    let unit = world.running().await;
    unit.cancel().await;
    assert!(unit.dir().is_marked("cancel"), "a later daemon must know");
    let cleared = async {
        while unit.dir().is_marked("cancel") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, cleared).await.unwrap();
    assert_eq!(world.mock.discarded.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_panic_fails_its_own_unit_alone() {
    let world = World::new(Mock { panic: true, ..Mock::default() }).await;
    let unit = world.create().await;
    unit.start().await.unwrap();
    until(&unit, State::Failed).await;
    assert!(world.create().await.dir().path().exists());
}

#[tokio::test]
async fn release_ends_the_job_and_all_waiting_learn_of_it() {
    let world = World::new(Mock::default()).await;
    let unit = world.running().await;
    let mut progress = unit.progress();
    unit.release(false).await.unwrap();
    tokio::time::timeout(SOON, progress.wait_for(|now| now.released)).await.unwrap().unwrap();
    assert!(world.units.get(unit.id().as_str()).is_none());
    assert!(!unit.dir().path().exists());
    assert_eq!(world.mock.discarded.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_released_unit_is_cleared_by_the_next_daemon_where_this_one_could_not() {
    let world = World::new(Mock { stubborn: AtomicUsize::new(usize::MAX), ..Mock::default() }).await;
    let unit = world.running().await;
    let path = unit.dir().path().to_owned();
    unit.release(false).await.unwrap();
    assert!(world.units.get(unit.id().as_str()).is_none(), "for clients it is gone");
    assert!(path.exists());
    let world = world.restart(Mock::default()).await;
    assert!(world.units.get(unit.id().as_str()).is_none());
    until_gone(&path).await;
    assert_eq!(world.mock.discarded.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_running_unit_is_left_alone_and_found_again() {
    let world = World::new(Mock::default()).await;
    let unit = world.running().await;
    let id = unit.id().to_string();
    let world = world.restart(Mock::default()).await;
    assert_eq!(world.mock.recovered.load(Ordering::SeqCst), 1);
    let found = world.units.get(&id).unwrap();
    assert_eq!(found.status().state, State::Running);
    world.mock.end.notify_one();
    until(&found, State::Succeeded).await;
}

#[tokio::test]
async fn a_cancel_that_the_daemon_did_not_live_to_carry_out_is_carried_out_later() {
    let world = World::new(Mock::default()).await;
    let unit = world.running().await;
    let (id, dir) = (unit.id().to_string(), unit.dir().clone());
    tokio::time::timeout(SOON, world.units.detach()).await.unwrap();
    dir.mark("cancel").unwrap();
    let world = World::open(world.dir, Mock::default()).await;
    until(&world.units.get(&id).unwrap(), State::Canceled).await;
}

#[tokio::test]
async fn an_unfinished_payload_fails_at_the_next_start_and_ended_units_are_left_alone() {
    let world = World::new(Mock::default()).await;
    let waiting = world.create().await.id().to_string();
    let ended = world.running().await;
    world.mock.end.notify_one();
    until(&ended, State::Succeeded).await;
    let world = world.restart(Mock::default()).await;
    let waiting = world.units.get(&waiting).unwrap();
    assert_eq!((waiting.status().state, waiting.status().detail.as_str()), (State::Failed, "Pending at restart"));
    assert_eq!(waiting.dir().read_status().unwrap().state, State::Failed, "on disk, too");
    assert_eq!(world.units.get(ended.id().as_str()).unwrap().status().state, State::Succeeded);
    assert_eq!(world.mock.recovered.load(Ordering::SeqCst), 1, "ended units are not recovered");
}

#[tokio::test]
async fn unreadable_units_are_listed_and_strangers_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let node = dir.path().join("n1");
    std::fs::create_dir_all(node.join("Broken01")).unwrap();
    std::fs::write(node.join("Broken01/status"), b"{\"State\":").unwrap();
    std::fs::create_dir(node.join("Empty001")).unwrap();
    std::fs::write(node.join("file0001"), b"x").unwrap();
    std::fs::create_dir(node.join("not a unit")).unwrap();
    let world = World::open(dir, Mock::default()).await;
    let unit = world.units.get("Broken01").unwrap();
    assert_eq!((unit.status().state, unit.status().detail.as_str()), (State::Pending, "Unit Created"));
    assert_eq!(unit.status().extra_data, Value::from("Unknown WorkType"));
    assert_eq!(world.units.all().len(), 1);
    for kept in ["Empty001", "file0001", "not a unit"] {
        assert!(world.dir.path().join("n1").join(kept).exists(), "{kept}");
    }
    unit.release(false).await.unwrap();
    assert!(!world.dir.path().join("n1/Broken01").exists());
}

/// control-protocol 7, weakness 15: a reader without the lock never meets a torn file.
#[test]
fn a_status_is_whole_for_a_reader_without_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let mut status = worknode_protocol::unit::Status::created("mock");
    let unit = UnitDir::create(dir.path().join("Unit0001"), &status).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0_u64;
            while !stop.load(Ordering::SeqCst) {
                let bytes = std::fs::read(unit.path().join("status")).unwrap();
                worknode_protocol::unit::Status::parse(&bytes).expect("whole");
                reads += 1;
            }
            reads
        });
        for round in 0..20_000_u64 {
            status.stdout_size = round;
            status.detail = "x".repeat(usize::try_from(round % 200).unwrap());
            unit.write_status(&status).unwrap();
        }
        stop.store(true, Ordering::SeqCst);
        assert!(reader.join().unwrap() > 0);
    });
}

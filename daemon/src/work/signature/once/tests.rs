use std::os::unix::fs::PermissionsExt;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A memory with a clock of its own.
struct World {
    dir: tempfile::TempDir,
    memory: Memory,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let memory = Memory::read(&dir.path().join(".n.tokens"), at(0)).unwrap();
        Self { dir, memory }
    }

    fn restarted(self, now: i64) -> Self {
        let memory = Memory::read(&self.file(), at(now)).unwrap();
        Self { memory, ..self }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join(".n.tokens")
    }

    fn use_up(&mut self, id: &str, end: i64, now: i64) -> Result<(), TokenFault> {
        self.memory.use_up(id.to_owned(), at(end), at(now))
    }
}

#[test]
fn a_token_is_used_once_while_it_is_valid() {
    let mut world = World::new();
    assert_eq!(world.use_up("a", 100, 10), Ok(()));
    assert_eq!(world.use_up("b", 100, 10), Ok(()));
    assert_eq!(world.use_up("a", 100, 99), Err(TokenFault::Used));
    let mut world = world.restarted(50);
    assert_eq!(world.use_up("a", 100, 99), Err(TokenFault::Used), "a restart does not forget");
    assert_eq!(world.use_up("c", 200, 100), Ok(()));
    assert_eq!(world.memory.used.len(), 1, "what nobody can use any more is forgotten");
    assert_eq!(fs::metadata(world.file()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_torn_line_spoils_no_other() {
    let mut world = World::new();
    assert_eq!(world.use_up("a", 100, 10), Ok(()));
    let mut file = OpenOptions::new().append(true).open(world.file()).unwrap();
    file.write_all(b"100 tor").unwrap();
    drop(file);
    let mut world = world.restarted(10);
    assert_eq!(world.use_up("b", 100, 10), Ok(()));
    let mut world = world.restarted(10);
    assert_eq!(world.use_up("a", 100, 10), Err(TokenFault::Used));
    assert_eq!(world.use_up("b", 100, 10), Err(TokenFault::Used));
    fs::write(world.file(), b"\xff\xff 1\n\n100\nx y\n200 d\n").unwrap();
    let mut world = world.restarted(10);
    assert_eq!(world.use_up("d", 200, 10), Err(TokenFault::Used));
}

#[test]
fn the_file_does_not_grow_for_ever() {
    let mut world = World::new();
    for second in 0..5000 {
        assert_eq!(world.use_up(&format!("t{second}"), second + 10, second), Ok(()));
    }
    let lines = fs::read_to_string(world.file()).unwrap().lines().filter(|line| !line.is_empty()).count();
    assert!(lines <= IDLE_LINES + 2 * 10, "{lines} lines");
    assert_eq!(world.use_up("t4999", 5009, 5000), Err(TokenFault::Used));
}

#[test]
fn there_is_a_most_and_then_no_token_is_forgotten_early() {
    let mut world = World::new();
    let ids: Vec<_> = (0..MOST).map(|n| format!("t{n}")).collect();
    world.memory.used = ids.iter().cloned().collect();
    world.memory.ends = ids.into_iter().map(|id| (100, id)).collect();
    assert_eq!(world.use_up("more", 100, 10), Err(TokenFault::TooMany));
    assert_eq!(world.use_up("t0", 100, 10), Err(TokenFault::Used));
    assert_eq!(world.use_up("more", 200, 100), Ok(()));
}

#[tokio::test]
async fn what_cannot_be_remembered_long_enough_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (used, task) = UsedTokens::start(dir.path().join(".n.tokens"));
    let words = async |id: &str, end| used.use_up(id.to_owned(), end).await.map_err(|fault| fault.to_string());
    let hours = |hours| Some(Timestamp::now() + SignedDuration::from_hours(hours));
    assert_eq!(words("a", hours(1)).await, Ok(()));
    assert_eq!(words("a", hours(1)).await, Err("token was used before".to_owned()));
    for end in [None, hours(25)] {
        assert_eq!(words("b", end).await, Err("token is valid for longer than 24h0m0s".to_owned()));
    }
    drop(used);
    task.await.unwrap();
}

#[tokio::test]
async fn a_memory_that_cannot_be_kept_lets_nothing_pass() {
    let (used, _task) = UsedTokens::start("/nonexistent/.n.tokens".into());
    let end = Some(Timestamp::now() + SignedDuration::from_hours(1));
    let fault = used.use_up("a".to_owned(), end).await.unwrap_err();
    assert_eq!(fault.to_string(), "token cannot be remembered: No such file or directory (os error 2)");
}

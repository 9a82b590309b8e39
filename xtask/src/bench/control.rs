//! Short requests: their latencies, and many units at once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use worknode_tests::wait::Deadline;
use worknode_tests::work::{created, submit_line};
use worknode_tests::{Node, Session, process};

use super::{Bench, Taken};

/// Requests of each cheap kind; the median is the figure.
const CHEAP: usize = 1000;

/// Units submitted one after another.
const SUBMITS: usize = 40;

/// Connections of the burst.
const CONNECTIONS: usize = 16;

/// Lists asked for.
const LISTS: usize = 200;

/// Status, connect and submit, one at a time.
pub(super) fn latencies(bench: &Bench<'_>) -> Result<Taken> {
    let node = bench.harness()?.start()?;
    let mut session = node.connect()?;
    let status = median_of(CHEAP, || timed(|| session.ask("status")))?;
    let connect = median_of(CHEAP, || timed(|| node.connect()?.ask("status")))?;
    let mut figures = vec![("status", status), ("connect", connect)];

    let mut replies = Vec::new();
    let mut finished = Vec::new();
    for _ in 0..SUBMITS {
        let (unit, reply, start) = submit(&node)?;
        replies.push(reply);
        let deadline = Deadline::default();
        while !ended(&session.ask(&format!("work status {unit}"))?) {
            deadline.left("the unit's end")?;
        }
        finished.push(start.elapsed());
    }
    let results = median_of(SUBMITS / 4, || {
        let (unit, _, start) = submit(&node)?;
        node.results(&unit)?;
        Ok(start.elapsed())
    })?;
    figures.push(("reply", median(replies)));
    figures.push(("finished", median(finished)));
    figures.push(("results-end", results));
    Ok(figures)
}

/// Submits a small `cat` over a connection that stands already: its ID, the time until the reply, and the start.
fn submit(node: &Node) -> Result<(String, Duration, Instant)> {
    let mut session = node.connect()?;
    let start = Instant::now();
    let unit = created(&session.ask(&submit_line("cat", &[]))?)?;
    session.send(b"hello\n")?;
    session.half_close()?;
    let reply = session.line()?;
    ensure!(reply.contains("Job Started"), "{reply}");
    Ok((unit, start.elapsed(), start))
}

/// Whether a status answer (or each unit of a list) tells of an end. A search in the text, for the client's parsing is
/// not to be measured.
fn ended(answer: &str) -> bool {
    !answer.contains("\"Pending\"") && !answer.contains("\"Running\"")
}

/// Many units at once, and then what a node with many units is like.
pub(super) fn burst(bench: &Bench<'_>) -> Result<Taken> {
    let units = bench.options.units;
    let mut node = bench.harness()?.start()?;
    let idle = process::memory(node.pid()?)?.resident;
    let rate = f64::from(units) / burst_of(&node, units)?.as_secs_f64();
    let after = process::memory(node.pid()?)?.resident;
    let mut session = node.connect()?;
    let list = median_of(LISTS, || timed(|| session.ask("work list")))?;
    drop(session);
    node.stop()?;
    let restart = restart_until_listed(&mut node, units)?;
    Ok(vec![
        ("burst", rate),
        ("rss-idle", megabytes(idle)),
        ("rss-units", megabytes(after)),
        ("list", list),
        ("restart", restart.as_secs_f64() * 1e3),
    ])
}

/// The time from the first connection until the list shows every unit ended.
fn burst_of(node: &Node, units: u32) -> Result<Duration> {
    let taken = AtomicU32::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let submitters: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    while taken.fetch_add(1, Ordering::Relaxed) < units {
                        submit(node)?;
                    }
                    Ok(())
                })
            })
            .collect();
        submitters
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| anyhow::bail!("a submitter panicked")))
    })?;
    let mut session = node.connect()?;
    let deadline = Deadline::default();
    loop {
        let list = session.ask("work list")?;
        if ended(&list) {
            let listed = list.matches("\"StateName\"").count();
            ensure!(u32::try_from(listed).ok() == Some(units), "{listed} of {units} units are listed");
            return Ok(start.elapsed());
        }
        deadline.left("the end of all units")?;
        pause(Duration::from_millis(2));
    }
}

fn restart_until_listed(node: &mut Node, units: u32) -> Result<Duration> {
    let deadline = Deadline::default();
    let start = Instant::now();
    node.spawn()?;
    loop {
        let list = Session::unix(&node.socket()).and_then(|mut session| {
            session.line()?;
            session.ask("work list")
        });
        if list.is_ok_and(|list| u32::try_from(list.matches("\"StateName\"").count()).ok() == Some(units)) {
            return Ok(start.elapsed());
        }
        deadline.left("the list of all units").with_context(|| node.log_tail())?;
        pause(Duration::from_micros(200));
    }
}

fn timed<T>(request: impl FnOnce() -> Result<T>) -> Result<Duration> {
    let start = Instant::now();
    request()?;
    Ok(start.elapsed())
}

/// The median in milliseconds.
fn median_of(count: usize, mut once: impl FnMut() -> Result<Duration>) -> Result<f64> {
    Ok(median((0..count).map(|_| once()).collect::<Result<_>>()?))
}

fn median(times: Vec<Duration>) -> f64 {
    super::table::median(times.iter().map(|time| time.as_secs_f64() * 1e3).collect())
}

/// Bytes in millions.
#[allow(clippy::cast_precision_loss, reason = "a figure of three digits")]
pub(super) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[allow(clippy::disallowed_methods, reason = "both programs are asked alike, and only asking tells of an end")]
fn pause(length: Duration) {
    std::thread::sleep(length);
}

//! `streammethod: attach`: output as the worker writes it, by an attach of its own from the start. The log is what is gone
//! back to: where there can be no such attach, where it missed the begin, and where it breaks (docs/decisions/0017-attach.md).
//!
//! An attach shows what is written after it. So before the first byte is handed out, the first line of the log is compared
//! with what has come: if they are the same, the begin is here; if not, nothing has been lost yet, and the log is the source.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::Method;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep_until, timeout},
};

use super::{
    attach::{OutputEnd, OutputSession, Source, Target},
    client,
    follower::Stage,
    output::Output,
    pod::WORKER,
    stamp::Stamp,
};
use crate::work::store::UnitDir;

/// Name of the file with standard error, where it is kept apart (work-types 2.8).
const STDERR_FILE: &str = "stderr";
/// Bytes of the log that are compared: its first line, or as much of it.
const HEAD: usize = 4096;
/// What is held back at most until a line has come whole.
const HELD: usize = 64 * 1024;
/// The log may be behind what is attached, and a line on stderr behind one on stdout: so often it is looked at ...
const LOOKS: u32 = 10;
/// ... so far apart.
const BETWEEN: Duration = Duration::from_millis(100);
/// Bytes put together before they are written, where more are there already.
const BATCH: usize = 256 * 1024;
/// How long a session may go on after the worker's end was seen.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// What became of the output.
#[derive(Debug)]
pub(crate) enum Heard {
    /// All of it is there.
    All,
    /// Part of it may have been missed, and the log cannot give it: stderr is kept apart.
    Missed,
    /// The log is to go on. Why.
    Log(String),
}

/// Standard error of a unit, kept apart.
#[derive(Debug)]
pub(crate) struct Stderr(Arc<File>);

impl Stderr {
    /// Opens the file. Blocks.
    pub(crate) fn open(dir: &UnitDir) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(dir.file(STDERR_FILE))?;
        Ok(Self(Arc::new(file)))
    }

    async fn append(&self, bytes: Vec<u8>) -> io::Result<()> {
        let file = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || (&*file).write_all(&bytes)).await.map_err(io::Error::other)?
    }
}

/// The output of one worker.
pub(crate) struct Attached<'a> {
    pub(crate) target: Target<'a>,
    /// Where standard error goes; none: into the output.
    pub(crate) stderr: Option<&'a Stderr>,
}

/// What has come before it is clear that it is the begin.
#[derive(Default)]
struct Begin {
    pieces: Vec<(Source, Bytes)>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Begin {
    fn push(&mut self, source: Source, bytes: Bytes) {
        match source {
            Source::Stdout => self.stdout.extend_from_slice(&bytes),
            Source::Stderr => self.stderr.extend_from_slice(&bytes),
        }
        self.pieces.push((source, bytes));
    }

    fn length(&self) -> usize {
        self.stdout.len() + self.stderr.len()
    }

    /// True if the log must have a line by now.
    fn has_line(&self) -> bool {
        self.stdout.contains(&b'\n') || self.stderr.contains(&b'\n') || self.length() >= HELD
    }
}

impl Attached<'_> {
    /// Appends what the worker writes to `output`. `ready` is told when stdin may be sent.
    pub(crate) async fn follow(
        &self,
        output: &mut Output,
        mut stage: watch::Receiver<Stage>,
        ready: oneshot::Sender<()>,
    ) -> io::Result<Heard> {
        // Fails when the watcher has failed: then this is dropped, too.
        let _ = stage.wait_for(|stage| *stage >= Stage::Running).await;
        if *stage.borrow() != Stage::Running {
            return Ok(Heard::Log("the worker was over".to_owned()));
        }
        let mut session = match OutputSession::open(&self.target).await {
            Ok(session) => session,
            Err(fault) => return Ok(Heard::Log(fault.to_string())),
        };
        let _ = ready.send(());
        let mut end = None;
        let mut begin = self.begin(&mut session, &mut stage, &mut end).await;
        let whole = self.is_whole(&mut begin, &mut session, &mut end).await;
        if !whole && self.stderr.is_none() {
            return Ok(Heard::Log("the attach may have come after the first line".to_owned()));
        }
        for (source, bytes) in std::mem::take(&mut begin.pieces) {
            self.append(output, source, bytes.into()).await?;
        }
        let end = match end {
            Some(end) => end,
            None => self.rest(output, &mut session, &mut stage).await?,
        };
        output.settle().await?;
        Ok(match end {
            OutputEnd::Whole if whole => Heard::All,
            OutputEnd::Broken(why) if self.stderr.is_none() => Heard::Log(why),
            _ => Heard::Missed,
        })
    }

    /// What comes until there is a line, or no more.
    async fn begin(
        &self,
        session: &mut OutputSession,
        stage: &mut watch::Receiver<Stage>,
        end: &mut Option<OutputEnd>,
    ) -> Begin {
        let mut begin = Begin::default();
        let mut over = None;
        while end.is_none() && !begin.has_line() {
            match next(session, stage, &mut over).await {
                Ok((source, bytes)) => begin.push(source, bytes),
                Err(ended) => *end = Some(ended),
            }
        }
        begin
    }

    /// True if the log begins with what has come.
    async fn is_whole(&self, begin: &mut Begin, session: &mut OutputSession, end: &mut Option<OutputEnd>) -> bool {
        for _ in 0..LOOKS {
            match self.head().await {
                Ok(head) if agrees(&head, &begin.stdout, &begin.stderr) => return true,
                Ok(_) => {}
                Err(fault) => {
                    tracing::debug!(pod = self.target.pod, error = %fault, "the log's begin could not be read");
                    return false;
                }
            }
            let until = Instant::now() + BETWEEN;
            while end.is_none() && begin.length() < HELD {
                match timeout(until.saturating_duration_since(Instant::now()), session.next()).await {
                    Ok(Ok((source, bytes))) => begin.push(source, bytes),
                    Ok(Err(ended)) => *end = Some(ended),
                    Err(_) => break,
                }
            }
            sleep_until(until).await;
        }
        false
    }

    /// The log's first bytes, time stamp and all.
    async fn head(&self) -> Result<Bytes, client::ApiError> {
        let pod = client::pod_path(self.target.namespace, self.target.pod);
        let path = format!("{pod}/log?container={WORKER}&timestamps=true&limitBytes={HEAD}");
        self.target.api.bytes(&client::request(Method::GET, &path, Bytes::new())?, HEAD).await
    }

    /// What comes until the end.
    async fn rest(
        &self,
        output: &mut Output,
        session: &mut OutputSession,
        stage: &mut watch::Receiver<Stage>,
    ) -> io::Result<OutputEnd> {
        let mut over = None;
        loop {
            let (source, first) = match next(session, stage, &mut over).await {
                Ok(piece) => piece,
                Err(end) => return Ok(end),
            };
            let mut batch = (source, Vec::from(first));
            let end = loop {
                if batch.1.len() >= BATCH {
                    break None;
                }
                match session.next().now_or_never() {
                    Some(Ok((source, bytes))) if self.stderr.is_none() || source == batch.0 => {
                        batch.1.extend_from_slice(&bytes);
                    }
                    Some(Ok((source, bytes))) => {
                        let full = std::mem::replace(&mut batch, (source, bytes.into()));
                        self.append(output, full.0, full.1).await?;
                    }
                    Some(Err(end)) => break Some(end),
                    None => break None,
                }
            };
            self.append(output, batch.0, batch.1).await?;
            if let Some(end) = end {
                return Ok(end);
            }
        }
    }

    async fn append(&self, output: &mut Output, source: Source, bytes: Vec<u8>) -> io::Result<()> {
        match self.stderr.filter(|_| source == Source::Stderr) {
            Some(stderr) => stderr.append(bytes).await,
            None => output.append_raw(bytes).await,
        }
    }
}

/// The next piece; a session that does not end with its worker is broken.
async fn next(
    session: &mut OutputSession,
    stage: &mut watch::Receiver<Stage>,
    over: &mut Option<Instant>,
) -> Result<(Source, Bytes), OutputEnd> {
    loop {
        tokio::select! {
            biased;
            piece = session.next() => return piece,
            Ok(_) = stage.wait_for(|stage| *stage >= Stage::Over), if over.is_none() => {
                *over = Some(Instant::now() + LAST_WORDS);
            }
            () = at(*over) => return Err(OutputEnd::Broken("the session did not end with its worker".to_owned())),
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// True if the first line of `head`, the begin of a log with its time stamps, is the first of what came on one of the two
/// streams, as far as both are there. The log has no carriage return before a line feed.
fn agrees(head: &[u8], stdout: &[u8], stderr: &[u8]) -> bool {
    let mut parts = head.splitn(2, |byte| *byte == b' ');
    let (Some(stamp), Some(text)) = (parts.next(), parts.next()) else { return false };
    if Stamp::parse(stamp).is_none() {
        return false;
    }
    let (logged, logged_ends) = first_line(text);
    [stdout, stderr].into_iter().filter(|stream| !stream.is_empty()).any(|stream| {
        let (line, ends) = first_line(stream);
        let line = line.strip_suffix(b"\r").filter(|_| ends).unwrap_or(line);
        match (logged_ends, ends) {
            (true, true) => logged == line,
            (true, false) => logged.starts_with(line),
            (false, true) => line.starts_with(logged) && !logged.is_empty(),
            (false, false) => (line.starts_with(logged) || logged.starts_with(line)) && !logged.is_empty(),
        }
    })
}

/// A first line, and whether its end is there.
fn first_line(text: &[u8]) -> (&[u8], bool) {
    match memchr::memchr(b'\n', text).and_then(|end| text.get(..end)) {
        Some(line) => (line, true),
        None => (text, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_begin_is_known_by_the_first_line_of_the_log() {
        let log = |text: &str| format!("2026-11-21T08:32:26.215651485Z {text}");
        for (head, stdout, stderr, same) in [
            ("one\n", "one\ntwo", "", true),
            ("one\n", "one\r\ntwo", "", true),
            ("one\n", "", "one\n", true),
            ("one\n", "two\n", "one\n", true),
            ("zero\n", "one\n", "", false),
            ("one and\n", "one\n", "", false),
            ("on", "one\n", "", true),
            ("one\n", "on", "", true),
            ("\n", "\nx", "", true),
            ("\n", "x\n", "", false),
        ] {
            assert_eq!(agrees(log(head).as_bytes(), stdout.as_bytes(), stderr.as_bytes()), same, "{head:?} {stdout:?}");
        }
        assert!(!agrees(b"", b"one\n", b""));
        assert!(!agrees(b"failed to open log\n", b"failed to open log\n", b""));
        assert!(!agrees(log("one\n").as_bytes(), b"", b""));
    }
}

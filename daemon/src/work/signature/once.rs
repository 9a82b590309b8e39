//! The memory of tokens that are good for one use: which of those whose time is not over were used.
//!
//! One task owns it, and its file beside the units' directory: a restart does not forget. It is read when it is first asked.

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use worknode_protocol::{control::token::TokenFault, duration::GoDuration};

/// Longest time for which a token is remembered, in hours.
const LONGEST_HOURS: i64 = 24;
/// Most tokens remembered: with the usual five minutes, some 300 requests a second. It bounds memory and file.
const MOST: usize = 100_000;
/// Requests that wait.
const QUEUE: usize = 64;
/// Lines that may be out of date before the file is written anew, beside as many as there are in it that are not.
const IDLE_LINES: usize = 1000;

/// Asks the memory. Cheap to clone; the task ends with the last of them.
#[derive(Debug, Clone)]
pub struct UsedTokens {
    requests: mpsc::Sender<Use>,
}

#[derive(Debug)]
struct Use {
    id: String,
    end: Timestamp,
    answer: oneshot::Sender<Result<(), TokenFault>>,
}

impl UsedTokens {
    /// A memory in this file, which need not exist.
    pub fn start(file: PathBuf) -> (Self, JoinHandle<()>) {
        let (requests, queue) = mpsc::channel(QUEUE);
        (Self { requests }, tokio::spawn(serve(file, queue)))
    }

    /// Uses a genuine token up.
    ///
    /// # Errors
    /// It was used before, or cannot be remembered for as long as it is valid.
    pub async fn use_up(&self, id: String, end: Option<Timestamp>) -> Result<(), TokenFault> {
        let longest = SignedDuration::from_hours(LONGEST_HOURS);
        let end = end.filter(|end| end.duration_since(Timestamp::now()) <= longest);
        let too_long =
            || TokenFault::TooLong(GoDuration::from_nanos(i64::try_from(longest.as_nanos()).unwrap_or_default()));
        let end = end.ok_or_else(too_long)?;
        let (answer, answered) = oneshot::channel();
        let gone = |_| TokenFault::NoMemory("node is shutting down".to_owned());
        self.requests.send(Use { id, end, answer }).await.map_err(|_| gone(()))?;
        answered.await.map_err(|_| gone(()))?
    }
}

async fn serve(file: PathBuf, mut queue: mpsc::Receiver<Use>) {
    let mut memory = None;
    while let Some(Use { id, end, answer }) = queue.recv().await {
        let (file, before) = (file.clone(), memory.take());
        // Files are touched on the blocking pool; the memory goes along and comes back.
        let used = tokio::task::spawn_blocking(move || {
            let mut memory: Memory = match before {
                Some(memory) => memory,
                None => Memory::read(&file, Timestamp::now())?,
            };
            let used = memory.use_up(id, end, Timestamp::now());
            Ok::<_, io::Error>((memory, used))
        });
        let outcome = match used.await.map_err(io::Error::other).flatten() {
            Ok((kept, used)) => {
                memory = Some(kept);
                used
            }
            Err(fault) => Err(TokenFault::NoMemory(fault.to_string())),
        };
        let _ = answer.send(outcome);
    }
}

/// What was used, and the file that says so: a line for each, `SECONDS NAME`.
struct Memory {
    path: PathBuf,
    file: File,
    /// Lines in the file.
    lines: usize,
    used: HashSet<String>,
    /// The same in the order in which they may be forgotten.
    ends: BTreeSet<(i64, String)>,
}

impl Memory {
    /// What cannot be read as a line is passed over: the last one may be torn.
    fn read(path: &Path, now: Timestamp) -> io::Result<Self> {
        let text = match fs::read(path) {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let mut ends = BTreeSet::new();
        for line in String::from_utf8_lossy(&text).lines() {
            let Some((seconds, id)) = line.split_once(' ') else { continue };
            let Ok(seconds) = seconds.parse::<i64>() else { continue };
            if seconds > now.as_second() {
                ends.insert((seconds, id.to_owned()));
            }
        }
        let (file, lines) = write_anew(path, &ends)?;
        let used = ends.iter().map(|(_, id)| id.clone()).collect();
        Ok(Self { path: path.to_owned(), file, lines, used, ends })
    }

    fn use_up(&mut self, id: String, end: Timestamp, now: Timestamp) -> Result<(), TokenFault> {
        while self.ends.first().is_some_and(|(end, _)| *end <= now.as_second()) {
            if let Some((_, id)) = self.ends.pop_first() {
                self.used.remove(&id);
            }
        }
        if self.used.contains(&id) {
            return Err(TokenFault::Used);
        }
        if self.used.len() >= MOST {
            return Err(TokenFault::TooMany);
        }
        let failed = |fault: io::Error| TokenFault::NoMemory(fault.to_string());
        if self.lines >= 2 * self.ends.len() + IDLE_LINES {
            (self.file, self.lines) = write_anew(&self.path, &self.ends).map_err(failed)?;
        }
        let end = end.as_second();
        // One write, with a line feed before it, too: a line that was torn does not spoil this one.
        self.file.write_all(format!("\n{end} {id}\n").as_bytes()).map_err(failed)?;
        self.lines += 1;
        self.used.insert(id.clone());
        self.ends.insert((end, id));
        Ok(())
    }
}

/// Replaces the file as a whole, and opens it to be continued.
fn write_anew(path: &Path, ends: &BTreeSet<(i64, String)>) -> io::Result<(File, usize)> {
    let next = path.with_extension("tokens.next");
    let text: String = ends.iter().map(|(end, id)| format!("{end} {id}\n")).collect();
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&next, path)?;
    Ok((file, ends.len()))
}

#[cfg(test)]
mod tests;

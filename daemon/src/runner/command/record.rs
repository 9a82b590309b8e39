//! `keeper.jsonl`, the file in which the keeper of a job says who it is and what became of the job.
//!
//! It is made under `status.lock` while the unit is pending, and that is the claim: a unit is started by whoever made
//! the file, and a unit without it that is failed or cancelled under the same lock is never started. Later lines are
//! appended by the keeper alone; a torn last line does not count.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
};

use serde::{Deserialize, Serialize};

use super::{
    launch::{Outcome, StopRule},
    process::Process,
};
use crate::work::store::UnitDir;

/// Name of the file in the unit's directory.
pub(super) const FILE: &str = "keeper.jsonl";

/// A keeper writes three short lines.
const LIMIT: u64 = 1024 * 1024;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    /// The keeper has the unit, and will start the job next.
    Claimed { boot: String, keeper: Process, stop: StopRule },
    /// The job runs.
    Started(Process),
    /// The job is over.
    Ended(Outcome),
}

/// What the file says.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// The boot in which the processes live.
    pub(super) boot: String,
    /// The keeper.
    pub(super) keeper: Process,
    /// How the job is to be ended.
    pub(super) stop: StopRule,
    /// The job, once it has been running for a moment.
    pub(super) job: Option<Process>,
    /// The end.
    pub(super) outcome: Option<Outcome>,
}

impl Record {
    /// Reads it. `None`: nobody has claimed the unit.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn read(dir: &UnitDir) -> io::Result<Option<Self>> {
        let mut text = Vec::new();
        match File::open(dir.file(FILE)) {
            Ok(file) => file.take(LIMIT).read_to_end(&mut text)?,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(fault) => return Err(fault),
        };
        Ok(Self::parse(&text))
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut record: Option<Self> = None;
        for line in text.get(..whole)?.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match (serde_json::from_slice(line).ok()?, &mut record) {
                (Line::Claimed { boot, keeper, stop }, None) => {
                    record = Some(Self { boot, keeper, stop, job: None, outcome: None });
                }
                (Line::Started(job), Some(record)) => record.job = Some(job),
                (Line::Ended(outcome), Some(record)) => record.outcome = Some(outcome),
                _ => return None,
            }
        }
        record
    }
}

/// The keeper's hand on the file.
pub(super) struct Pen(File);

impl Pen {
    /// Makes the file with its first line. To be called under `status.lock`. `None`: there is one already.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn claim(dir: &UnitDir, boot: String, keeper: Process, stop: StopRule) -> io::Result<Option<Self>> {
        let file = match OpenOptions::new().append(true).create_new(true).mode(0o600).open(dir.file(FILE)) {
            Ok(file) => file,
            Err(fault) if fault.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let mut pen = Self(file);
        // Without its line the file would only stand in the way.
        pen.write(&Line::Claimed { boot, keeper, stop }).inspect_err(|_| drop(fs::remove_file(dir.file(FILE))))?;
        Ok(Some(pen))
    }

    /// Notes that the job runs.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn started(&mut self, job: Process) -> io::Result<()> {
        self.write(&Line::Started(job))
    }

    /// Notes how the job ended.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn ended(&mut self, outcome: &Outcome) -> io::Result<()> {
        self.write(&Line::Ended(outcome.clone()))
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.0.write_all(&text)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use worknode_protocol::unit::{Detail, State};

    use super::*;

    const STOP: StopRule = StopRule { grace: Duration::from_secs(10), kill_tree: true };
    const KEEPER: Process = Process { pid: 7, start: 70 };

    fn claimed(dir: &tempfile::TempDir) -> (UnitDir, Pen) {
        let unit = UnitDir::at(dir.path());
        let pen = Pen::claim(&unit, "b".to_owned(), KEEPER, STOP).unwrap().unwrap();
        (unit, pen)
    }

    #[test]
    fn a_unit_is_claimed_once() {
        let dir = tempfile::tempdir().unwrap();
        let unit = UnitDir::at(dir.path());
        assert!(Record::read(&unit).unwrap().is_none());
        let (unit, _pen) = claimed(&dir);
        assert!(Pen::claim(&unit, "b".to_owned(), KEEPER, STOP).unwrap().is_none());
        let record = Record::read(&unit).unwrap().unwrap();
        assert_eq!((record.keeper, record.job, record.outcome), (KEEPER, None, None));
    }

    #[test]
    fn what_the_keeper_wrote_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let (unit, mut pen) = claimed(&dir);
        let outcome = Outcome::new(State::Failed, &Detail::ExitStatus(3));
        pen.started(Process { pid: 8, start: 80 }).unwrap();
        pen.ended(&outcome).unwrap();
        let record = Record::read(&unit).unwrap().unwrap();
        assert_eq!(record.job, Some(Process { pid: 8, start: 80 }));
        assert_eq!(record.outcome, Some(outcome));
    }

    #[test]
    fn a_torn_line_does_not_count_wherever_it_is_torn() {
        let dir = tempfile::tempdir().unwrap();
        let (unit, mut pen) = claimed(&dir);
        pen.ended(&Outcome::new(State::Succeeded, &Detail::ExitStatus(0))).unwrap();
        let text = fs::read(unit.file(FILE)).unwrap();
        let first = text.iter().position(|byte| *byte == b'\n').unwrap();
        for length in 0..text.len() {
            let record = Record::parse(&text[..length]);
            assert_eq!(record.is_some(), length > first, "{length}");
            assert!(record.is_none_or(|record| record.outcome.is_none()));
        }
        assert!(Record::parse(&text).unwrap().outcome.is_some());
    }

    #[test]
    fn a_strange_file_is_no_claim() {
        for text in ["\n", "{}\n", "{\"ended\":{\"state\":2,\"detail\":\"\"}}\n", "null\n", "\u{0}\n"] {
            assert!(Record::parse(text.as_bytes()).is_none(), "{text:?}");
        }
    }
}

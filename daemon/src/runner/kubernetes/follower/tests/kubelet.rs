//! A kubelet that answers for a log, as that of Kubernetes 1.34 does: a request reads the newest file from its begin; one
//! that follows goes on to the next file when it is told of its making, for which it listens only from its first end of file
//! on; then it opens whatever file is the newest.

use super::{
    super::super::stamp::Stamp,
    super::Request,
    history::{History, SECOND},
};

/// How often a kubelet at the end of a file looks whether the container still runs.
const POLL: u64 = SECOND;

/// What comes next from an answer.
#[derive(Debug)]
pub(super) enum Next {
    Data(u64, Vec<u8>),
    End(u64),
}

/// One request's reading.
pub(super) struct Reader {
    follow: bool,
    since: Stamp,
    /// Bytes it may yet give.
    left: usize,
    /// Nanoseconds for each record.
    cost: u64,
    /// Times in which nothing can be sent.
    frozen: Vec<(u64, u64)>,
    now: u64,
    file: usize,
    record: usize,
    /// The next file whose making it will hear of.
    hears: Option<usize>,
    at_line: bool,
    over: bool,
    done: bool,
}

impl Reader {
    pub(super) fn open(history: &History, request: &Request, now: u64, cost: u64, frozen: Vec<(u64, u64)>) -> Self {
        let file = history.newest(now);
        let since = request.since.as_ref().map_or(Stamp(i64::MIN), |text| Stamp::parse(text.as_bytes()).unwrap());
        Self {
            follow: request.follow,
            since,
            left: request.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap()),
            cost,
            frozen,
            now,
            file,
            record: history.files[file].from,
            hears: None,
            at_line: true,
            over: false,
            done: false,
        }
    }

    /// Reads on. `None`: it is at its end.
    pub(super) fn next(&mut self, history: &History) -> Option<Next> {
        if self.done {
            return None;
        }
        loop {
            let there = self.record < history.end_of(self.file);
            match history.records.get(self.record).filter(|record| there && record.at <= self.now) {
                Some(_) => {
                    if let Some(data) = self.read(history) {
                        return Some(Next::Data(self.now, data));
                    }
                    if self.left == 0 {
                        return self.end();
                    }
                }
                None if !self.follow || self.over => return self.end(),
                None => self.wait(history),
            }
        }
    }

    fn end(&mut self) -> Option<Next> {
        self.done = true;
        Some(Next::End(self.now))
    }

    fn read(&mut self, history: &History) -> Option<Vec<u8>> {
        let shown = history.records[self.record].stamp.0 >= self.since.0;
        self.now += if shown { self.cost } else { 1000 };
        while let Some((_, until)) = self.frozen.iter().find(|(from, until)| (*from..*until).contains(&self.now)) {
            self.now = *until;
        }
        let record = &history.records[self.record];
        self.record += 1;
        let mut data = Vec::new();
        if shown {
            if self.at_line {
                data.extend_from_slice(format!("{} ", record.stamp).as_bytes());
            }
            data.extend_from_slice(&record.text);
            if record.full {
                data.push(b'\n');
            }
            data.truncate(self.left);
            self.left -= data.len();
        }
        self.at_line = record.full;
        (!data.is_empty()).then_some(data)
    }

    /// At the end of the file.
    fn wait(&mut self, history: &History) {
        let Some(hears) = self.hears else {
            self.hears = Some(history.newest(self.now) + 1);
            return;
        };
        if self.now >= history.end {
            self.over = true;
        } else if history.files.get(hears).is_some_and(|file| file.born <= self.now) {
            self.hears = Some(hears + 1);
            self.file = history.newest(self.now);
            self.record = history.files[self.file].from;
        } else {
            let record = (self.record < history.end_of(self.file)).then(|| history.records[self.record].at);
            let file = history.files.get(hears).map(|file| file.born);
            let polls = (history.end - self.now).div_ceil(POLL) * POLL;
            self.now = [record, file, Some(self.now + polls)].into_iter().flatten().min().unwrap();
        }
    }
}

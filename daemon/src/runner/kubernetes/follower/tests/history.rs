//! What a container wrote, and how its runtime and kubelet kept it. Fixed before anybody reads. Times are true ones, in
//! nanoseconds; stamps are the node's clock.

use rand::{RngExt, rngs::StdRng};

use super::super::super::stamp::Stamp;

pub(super) const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;
/// The node's clock at the begin of the model.
const CLOCK: i64 = 1_795_249_946_215_651_485;
/// What the runtime keeps of a long line in one record.
const RECORD: usize = 16 * 1024;

/// One record of a log file.
pub(super) struct Record {
    pub(super) at: u64,
    pub(super) stamp: Stamp,
    pub(super) text: Vec<u8>,
    /// It ends its line.
    pub(super) full: bool,
}

/// One file of a log: records from `from` on.
pub(super) struct File {
    pub(super) born: u64,
    pub(super) from: usize,
}

/// A container's life.
pub(super) struct History {
    pub(super) records: Vec<Record>,
    pub(super) files: Vec<File>,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) started: Stamp,
    pub(super) finished: Stamp,
}

/// What kind of history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Bytes after which a file is put aside; none: never.
    pub(super) limit: Option<usize>,
    /// Time between two looks at the sizes.
    pub(super) interval: u64,
    /// Neighbours may share a stamp.
    pub(super) coarse: bool,
    /// The node's clock is set back and forth.
    pub(super) steps: bool,
    /// Pauses of hours.
    pub(super) slow: bool,
}

impl History {
    pub(super) fn draw(rng: &mut StdRng, style: Style) -> Self {
        let start = rng.random_range(0..2 * SECOND);
        let mut writer = Writer { rng, style, now: start + 10 * MILLI, offset: CLOCK, records: Vec::new() };
        writer.write();
        let Writer { records, now: end, offset, rng, .. } = writer;
        let whole = |time: i64| Stamp(time.div_euclid(1_000_000_000) * 1_000_000_000);
        let at = |time: u64, offset: i64| i64::try_from(time).unwrap() + offset;
        let (started, finished) = (whole(at(start, CLOCK)), whole(at(end, offset)));
        let mut history = Self { records, files: vec![File { born: 0, from: 0 }], start, end, started, finished };
        history.rotate(rng.random_range(0..style.interval), style);
        history
    }

    /// The kubelet's looks at the sizes: only while the container runs.
    fn rotate(&mut self, phase: u64, style: Style) {
        let Some(limit) = style.limit else { return };
        let (mut tick, mut from, mut next, mut size) = (phase, 0, 0, 0);
        while tick < self.end && next < self.records.len() {
            while let Some(record) = self.records.get(next).filter(|record| record.at <= tick) {
                size += record.text.len() + 45;
                next += 1;
            }
            // Runtimes that stamp whole reads do not rotate in the middle of one.
            let apart =
                self.records.get(next).is_none_or(|after| next == 0 || after.stamp != self.records[next - 1].stamp);
            if tick > self.start && size >= limit && apart && next > from {
                self.files.push(File { born: tick, from: next });
                (from, size) = (next, 0);
            }
            let pause = self.records.get(next).map_or(0, |record| record.at.saturating_sub(tick));
            tick += style.interval * (pause / style.interval).max(1);
        }
    }

    /// One past the last record of a file.
    pub(super) fn end_of(&self, file: usize) -> usize {
        self.files.get(file + 1).map_or(self.records.len(), |next| next.from)
    }

    /// The newest file at a time.
    pub(super) fn newest(&self, at: u64) -> usize {
        self.files.iter().rposition(|file| file.born <= at).unwrap_or(0)
    }

    /// All that was ever written, and where each record begins in it.
    pub(super) fn text(&self) -> (Vec<u8>, Vec<usize>) {
        let (mut text, mut begins) = (Vec::new(), Vec::new());
        for record in &self.records {
            begins.push(text.len());
            text.extend_from_slice(&record.text);
            if record.full {
                text.push(b'\n');
            }
        }
        (text, begins)
    }
}

struct Writer<'a> {
    rng: &'a mut StdRng,
    style: Style,
    now: u64,
    offset: i64,
    records: Vec<Record>,
}

impl Writer<'_> {
    fn write(&mut self) {
        let bursts = self.rng.random_range(0..8);
        for _ in 0..bursts {
            let lines =
                if self.style.limit.is_some() { self.rng.random_range(1..120) } else { self.rng.random_range(0..20) };
            let pace = match self.rng.random_range(0..4) {
                0 => 1000,
                1 => MILLI,
                2 => 50 * MILLI,
                _ => SECOND / 3,
            };
            for _ in 0..lines {
                self.now += self.rng.random_range(1..=pace);
                self.line();
            }
            self.now += match self.rng.random_range(0..5) {
                0 => 0,
                1 | 2 => self.rng.random_range(0..2 * SECOND),
                3 => self.rng.random_range(0..20 * SECOND),
                _ if self.style.slow => self.rng.random_range(0..10_000 * SECOND),
                _ => self.rng.random_range(0..60 * SECOND),
            };
            if self.style.steps {
                self.offset += self.rng.random_range(-400_000_000..400_000_000);
            }
        }
        // The runtime loses what is written right before the end; a job that cares waits (kubernetes-streams 4.7).
        self.now += self.rng.random_range(MILLI..SECOND * 3 / 2);
    }

    fn line(&mut self) {
        let text = self.text();
        let mut pieces = text.chunks(RECORD).peekable();
        if pieces.peek().is_none() {
            self.record(&[], true);
        }
        // The runtime's last record of a process that ends without a line feed has none.
        let open = self.rng.random_bool(0.01);
        while let Some(piece) = pieces.next() {
            let last = pieces.peek().is_none();
            self.record(piece, last && !open);
            self.now += 1000;
            // A line on stderr lands in the middle of it.
            if !last && self.rng.random_bool(0.1) {
                self.record(b"from stderr", true);
            }
        }
    }

    fn record(&mut self, text: &[u8], full: bool) {
        // Some runtimes stamp all that one read gave them.
        let near = self.records.last().is_some_and(|before| self.now - before.at < MILLI);
        let equal = self.style.coarse && near && self.rng.random_bool(0.6);
        let stamp = match self.records.last() {
            Some(before) if equal => before.stamp,
            // The clock of the runtime is finer than its writing.
            _ => Stamp(i64::try_from(self.now).unwrap() + self.offset),
        };
        self.now += 1;
        self.records.push(Record { at: self.now, stamp, text: text.to_vec(), full });
    }

    fn text(&mut self) -> Vec<u8> {
        let number = self.records.len();
        let long = if self.style.limit.is_some() { 3000 } else { 300 };
        match self.rng.random_range(0..20) {
            0 | 1 => Vec::new(),
            2 => b" ".to_vec(),
            3 => b"\0\xff\xfe\r".to_vec(),
            4 => b"2026-11-21T08:32:26.215651485Z looks like one".to_vec(),
            5 if self.rng.random_bool(0.2) => {
                vec![b'a' + u8::try_from(number % 26).unwrap(); self.rng.random_range(RECORD..3 * RECORD)]
            }
            6..10 => format!("line {}", self.rng.random_range(0..5)).into_bytes(),
            _ => format!("{number:06} {}", "x".repeat(self.rng.random_range(0..long))).into_bytes(),
        }
    }
}

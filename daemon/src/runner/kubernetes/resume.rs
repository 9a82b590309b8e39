//! Following a container's log over many requests without losing or doubling a byte. No I/O: answers of the API server
//! go in, bytes for the unit's output come out.
//!
//! A log request goes on from a whole second, inclusive, so that every one after the first repeats lines. A line is known
//! by its time stamp and its ordinal among neighbours of the same stamp; never by its number or by bytes, which rotation
//! makes meaningless (kubernetes-streams 4.3). Everything up to that line is skipped, and of the line itself what was
//! handed out before. If the line does not come back, the kubelet has rotated it away: a [`Gap`].
//!
//! Lines are handed on as they arrive, so that memory does not grow with their length.

use serde::{Deserialize, Serialize};

use super::stamp::{self, Stamp};

/// Longest time stamp in front of a line, in bytes.
const STAMP_LIMIT: usize = 40;

/// How far the log has been handed out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The last line begun; none before the first.
    pub(crate) line: Option<Line>,
}

/// A line of which something was handed out, be it nothing but its begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Its time stamp.
    pub(crate) stamp: Stamp,
    /// How many lines of the same stamp stand right before it.
    pub(crate) ordinal: u64,
    /// Bytes of it that were handed out, its line feed left aside.
    pub(crate) bytes: u64,
    /// Its line feed was handed out.
    pub(crate) ended: bool,
    /// The latest stamp so far: later than `stamp` where the node's clock was set back.
    pub(crate) latest: Stamp,
}

/// Lines that the log no longer has: at least one is missing, or may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gap {
    /// Stamp of the last line before it; none if the log's first lines are missing.
    pub(crate) after: Option<Stamp>,
    /// Stamp of the first line after it; none if nothing followed.
    pub(crate) before: Option<Stamp>,
}

/// Why an answer is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The first line after a gap was met by a follower that was told to stop there. Nothing was handed out.
    #[error("lines before {} are missing", .0.before.map(|stamp| stamp.to_string()).unwrap_or_default())]
    Gap(Gap),
    /// A line without a time stamp: the kubelet's own words, not the container's.
    #[error("log line without a time stamp: {0}")]
    NoStamp(String),
}

/// What to do where the log has a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnGap {
    /// Go on behind it and remember it.
    Accept,
    /// Hand out nothing and answer [`Refusal::Gap`].
    Refuse,
}

/// One follower for one container. Between two answers [`Follower::begin`] is called.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    position: Position,
    place: Place,
    /// True until the line of `position` has come by in this answer.
    seeking: bool,
    /// Lines right before in this answer with the stamp of `position`.
    equals: u64,
    /// The begin of a line whose time stamp is not yet complete.
    head: Vec<u8>,
    stamps: stamp::Reader,
    gaps: Vec<Gap>,
}

/// Where in a line the next byte of an answer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In its time stamp.
    Stamp,
    /// In text that was handed out earlier or is older than the position.
    Skipped,
    /// In the line of the position: so many bytes were handed out earlier.
    Known(u64),
    /// In text that is handed out.
    Fresh,
}

impl Follower {
    /// Gaps remembered; of more than these the last is extended, so that a hopeless log cannot fill the memory.
    const GAPS: usize = 16;

    /// A follower that goes on behind `position`.
    pub(crate) fn new(position: Position) -> Self {
        let seeking = position.line.is_some();
        Self {
            position,
            place: Place::Stamp,
            seeking,
            equals: 0,
            head: Vec::new(),
            stamps: stamp::Reader::default(),
            gaps: Vec::new(),
        }
    }

    /// How far the log has been handed out.
    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    /// What the next request is to give as `sinceTime`; none asks for the whole log.
    pub(crate) fn since(&self) -> Option<String> {
        self.position.line.as_ref().map(|line| line.stamp.second())
    }

    /// The gaps met so far.
    pub(crate) fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// The next bytes belong to a new answer, whose request gave [`Follower::since`].
    pub(crate) fn begin(&mut self) {
        self.place = Place::Stamp;
        self.seeking = self.position.line.is_some();
        self.equals = 0;
        self.head.clear();
    }

    /// The answer came to its proper end. If the position's line was not in it, all that came after it is unknown: that
    /// is a gap with nothing behind.
    pub(crate) fn finish(&mut self, on_gap: OnGap) -> Result<(), Refusal> {
        let lost = self.position.line.as_ref().filter(|_| self.seeking && !matches!(self.place, Place::Known(_)));
        let Some(line) = lost else { return Ok(()) };
        let gap = Gap { after: Some(line.stamp), before: None };
        match on_gap {
            OnGap::Refuse => Err(Refusal::Gap(gap)),
            OnGap::Accept => {
                self.remember(gap);
                Ok(())
            }
        }
    }

    /// Takes bytes of an answer and appends to `out` what is new. After an error the answer is to be dropped.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], on_gap: OnGap, out: &mut Vec<u8>) -> Result<(), Refusal> {
        while !bytes.is_empty() {
            bytes = match self.place {
                Place::Stamp => self.stamp(bytes, on_gap)?,
                Place::Skipped => self.skipped(bytes),
                Place::Known(rest) => self.known(bytes, rest, out),
                Place::Fresh => self.fresh(bytes, out),
            };
        }
        Ok(())
    }

    /// Reads a time stamp, which may come in pieces.
    fn stamp<'a>(&mut self, bytes: &'a [u8], on_gap: OnGap) -> Result<&'a [u8], Refusal> {
        let window = bytes.get(..STAMP_LIMIT).unwrap_or(bytes);
        let end = window.iter().position(|byte| matches!(byte, b' ' | b'\n'));
        let Some((text, rest)) = end.and_then(|end| bytes.split_at_checked(end)) else {
            self.head.extend_from_slice(window);
            return if self.head.len() >= STAMP_LIMIT { Err(self.no_stamp(b"")) } else { Ok(&[]) };
        };
        let stamp = if self.head.is_empty() {
            self.stamps.parse(text)
        } else {
            self.head.extend_from_slice(text);
            let stamp = self.stamps.parse(&self.head);
            if stamp.is_some() {
                self.head.clear();
            }
            stamp
        };
        match (stamp, rest.split_first()) {
            (Some(stamp), Some((b' ', rest))) => {
                self.line(stamp, on_gap)?;
                Ok(rest)
            }
            _ => Err(self.no_stamp(text)),
        }
    }

    fn no_stamp(&mut self, text: &[u8]) -> Refusal {
        if self.head.is_empty() {
            self.head.extend_from_slice(text);
        }
        Refusal::NoStamp(String::from_utf8_lossy(&self.head).into_owned())
    }

    /// A line of this stamp begins.
    fn line(&mut self, stamp: Stamp, on_gap: OnGap) -> Result<(), Refusal> {
        if self.seeking
            && let Some(line) = &self.position.line
        {
            let (last, latest, ordinal, bytes) = (line.stamp, line.latest, line.ordinal, line.bytes);
            if stamp == last {
                let found = self.equals == ordinal;
                self.equals += 1;
                self.place = if found { Place::Known(bytes) } else { Place::Skipped };
                return Ok(());
            }
            self.equals = 0;
            if stamp <= latest {
                self.place = Place::Skipped;
                return Ok(());
            }
            let gap = Gap { after: Some(last), before: Some(stamp) };
            if on_gap == OnGap::Refuse {
                return Err(Refusal::Gap(gap));
            }
            // Nothing is put in between, not even a line feed: where the log was rotated while its reader was at the
            // end, what follows is the very next byte.
            self.remember(gap);
        }
        self.seeking = false;
        self.fresh_line(stamp);
        Ok(())
    }

    fn fresh_line(&mut self, stamp: Stamp) {
        let (ordinal, latest) = match &self.position.line {
            Some(line) if line.stamp == stamp => (line.ordinal + 1, line.latest),
            Some(line) => (0, line.latest.max(stamp)),
            None => (0, stamp),
        };
        self.position.line = Some(Line { stamp, ordinal, bytes: 0, ended: false, latest });
        self.place = Place::Fresh;
    }

    fn remember(&mut self, gap: Gap) {
        let full = self.gaps.len() >= Self::GAPS;
        match self.gaps.last_mut() {
            // The same question asked again: the answer may have become clearer.
            Some(last) if last.after == gap.after => *last = gap,
            Some(last) if full => last.before = gap.before,
            _ => self.gaps.push(gap),
        }
    }

    fn skipped<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (_, ended, rest) = split_line(bytes);
        if ended {
            self.place = Place::Stamp;
        }
        rest
    }

    /// The position's line comes by once more.
    fn known<'a>(&mut self, bytes: &'a [u8], known: u64, out: &mut Vec<u8>) -> &'a [u8] {
        let (text, ended, rest) = split_line(bytes);
        let length = length(text);
        if length <= known && !ended {
            self.place = Place::Known(known - length);
            return rest;
        }
        self.seeking = false;
        let Some(line) = &mut self.position.line else { return rest };
        // A line that has ended cannot have grown. One that came back shorter has lost its end: keep what was given.
        let fresh = usize::try_from(known).ok().and_then(|known| text.get(known..)).unwrap_or_default();
        if !line.ended {
            out.extend_from_slice(fresh);
            line.bytes += self::length(fresh);
            if ended {
                out.push(b'\n');
                line.ended = true;
            }
        }
        self.place = match (ended, line.ended) {
            (true, _) => Place::Stamp,
            (false, true) => Place::Skipped,
            (false, false) => Place::Fresh,
        };
        rest
    }

    /// The bulk of the work: whole lines are handed on without leaving this function.
    fn fresh<'a>(&mut self, bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let (text, ended, rest) = split_line(bytes);
        out.extend_from_slice(text);
        if let Some(line) = &mut self.position.line {
            line.bytes += length(text);
            line.ended = ended;
        }
        if ended {
            out.push(b'\n');
            self.place = Place::Stamp;
        }
        rest
    }
}

/// What stands before the first line feed, whether there is one, and what follows it.
fn split_line(bytes: &[u8]) -> (&[u8], bool, &[u8]) {
    match memchr::memchr(b'\n', bytes).and_then(|end| Some((bytes.get(..end)?, bytes.get(end + 1..)?))) {
        Some((text, rest)) => (text, true, rest),
        None => (bytes, false, &[]),
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;

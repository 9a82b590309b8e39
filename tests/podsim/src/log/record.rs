//! One record of a log file: `2026-11-21T08:32:26.215651485Z stdout F text\n`.
//!
//! `F` ends a line, `P` says that the line goes on in another record (kubernetes-streams 4.2).

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// Longest text of one record, in bytes.
pub(crate) const RECORD_LIMIT: usize = 16 * 1024;
/// Length of `2026-11-21T08:32:26`.
pub(crate) const SECONDS_LEN: usize = 19;
/// Length of `2026-11-21T08:32:26.215651485Z`.
pub(crate) const STAMP_LEN: usize = 30;
/// Length of ` stdout F `, and of ` stderr F `.
const TAG_LEN: usize = 10;

/// Where output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

/// Gives out time stamps that always rise.
#[derive(Debug, Default)]
pub(crate) struct Stamper {
    last_nanos: u128,
    second: Option<u64>,
    /// `second`, formatted up to the point.
    prefix: String,
}

impl Stamper {
    /// Appends a stamp of now, later than every one before it.
    pub(crate) fn stamp(&mut self, out: &mut Vec<u8>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        self.last_nanos = now.max(self.last_nanos.saturating_add(1));
        let second = u64::try_from(self.last_nanos / 1_000_000_000).unwrap_or(u64::MAX);
        if self.second != Some(second) {
            self.second = Some(second);
            self.prefix = format_second(i64::try_from(second).unwrap_or(i64::MAX));
        }
        out.extend_from_slice(self.prefix.as_bytes());
        out.push(b'.');
        let mut digits = [b'0'; 9];
        let mut rest = self.last_nanos % 1_000_000_000;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        out.extend_from_slice(&digits);
        out.push(b'Z');
    }
}

/// `2026-11-21T08:32:26`, UTC.
pub(crate) fn format_second(second: i64) -> String {
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

/// Appends one record.
pub(crate) fn write(out: &mut Vec<u8>, stamper: &mut Stamper, source: Source, text: &[u8], line_ends: bool) {
    stamper.stamp(out);
    out.extend_from_slice(match (source, line_ends) {
        (Source::Stdout, true) => b" stdout F ",
        (Source::Stdout, false) => b" stdout P ",
        (Source::Stderr, true) => b" stderr F ",
        (Source::Stderr, false) => b" stderr P ",
    });
    out.extend_from_slice(text);
    out.push(b'\n');
}

/// A record as it stands in the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) stamp: &'a [u8],
    pub(crate) text: &'a [u8],
    pub(crate) line_ends: bool,
}

impl<'a> Record<'a> {
    /// Takes the first record of `bytes` apart and says how long it was; `None` if it is not whole.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let tag_end = STAMP_LEN + TAG_LEN;
        let newline = memchr::memchr(b'\n', bytes.get(tag_end..)?)? + tag_end;
        let record = Self {
            stamp: bytes.get(..STAMP_LEN)?,
            text: bytes.get(tag_end..newline)?,
            line_ends: bytes.get(tag_end - 2) == Some(&b'F'),
        };
        Some((record, newline + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_as_it_was_written() {
        let mut out = Vec::new();
        let mut stamper = Stamper::default();
        write(&mut out, &mut stamper, Source::Stdout, b"one", true);
        write(&mut out, &mut stamper, Source::Stderr, b"", false);
        let (first, len) = Record::parse(&out).unwrap();
        assert_eq!((first.text, first.line_ends), (b"one".as_slice(), true));
        assert_eq!(first.stamp.len(), STAMP_LEN);
        let (second, rest) = Record::parse(&out[len..]).unwrap();
        assert_eq!((second.text, second.line_ends), (b"".as_slice(), false));
        assert!(second.stamp > first.stamp);
        assert_eq!(len + rest, out.len());
        assert_eq!(Record::parse(&out[..len - 1]), None);
    }

    #[test]
    fn stamps_rise_even_when_the_clock_does_not() {
        let mut stamper = Stamper { last_nanos: u128::from(u64::MAX), ..Stamper::default() };
        let (mut one, mut two) = (Vec::new(), Vec::new());
        stamper.stamp(&mut one);
        stamper.stamp(&mut two);
        assert!(two > one, "{one:?} {two:?}");
    }
}

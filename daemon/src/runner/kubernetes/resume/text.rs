//! What stands behind the time stamps: passed over, handed out, or handed out in part.

use super::{Lines, Place};

impl Lines {
    pub(super) fn skipped<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (_, ended, rest) = split_line(bytes);
        if ended {
            self.place = Place::Stamp;
        }
        rest
    }

    /// The position's line comes by once more.
    pub(super) fn known<'a>(&mut self, bytes: &'a [u8], known: u64, out: &mut Vec<u8>) -> &'a [u8] {
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
    pub(super) fn fresh<'a>(&mut self, bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
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

//! What can be known about the place between two lines of a log, when rotation may have taken what stood there. Pure.
//!
//! The API gives out only the newest file of a log. The reasons for each rule are in `docs/decisions`.

use std::time::Duration;

use super::{
    position::{Gap, Line},
    stamp::Stamp,
};

/// Nanoseconds that two rotations of one log are apart at least. The kubelet refuses to look at sizes more often than every
/// three seconds; what is left is for looks that were delayed.
pub(crate) const SPACING: i64 = 1_000_000_000;

/// Longest time between two looks at the newest file that cannot have missed one.
const DENSE: Duration = Duration::from_secs(2);

/// What is known of the lines behind a position whose own line may not come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Behind {
    /// Nothing: the stream broke, and there may have been more in the file.
    #[default]
    Unknown,
    /// The file with the position was read to its end, and soon after it was written: the next file is the newest.
    Next,
    /// The file was read to its end. The next one begins with the line of this stamp.
    File(Stamp),
    /// The file was read to its end, but so late that a file may lie between it and the newest. Not if no time does.
    Late,
}

impl Behind {
    /// True if no line can be missing between `line` and the first line of the newest file, stamped `next`. Where the
    /// newest file is empty, `end` is when the container's process ended.
    pub(crate) fn is_whole(self, line: &Line, next: Option<Stamp>, end: Option<Stamp>) -> bool {
        match self {
            Self::Unknown => false,
            Self::Next => true,
            Self::File(first) => next == Some(first),
            Self::Late => next.or(end).is_some_and(|next| next.0.saturating_sub(line.latest.0) < SPACING),
        }
    }
}

/// First lines of the newest file, as they were seen over time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heads {
    /// The last look.
    asked: Option<Duration>,
    /// The first and the last look of a dense row that began when the reader was in the newest file.
    row: Option<(Duration, Duration)>,
    /// First lines of files that the reader had not reached.
    ahead: Vec<Stamp>,
}

impl Heads {
    /// First lines remembered.
    const LIMIT: usize = 64;

    /// A look asked for at `asked`, when the reader stood at `latest`. `head` is none where the newest file is empty.
    pub(crate) fn note(&mut self, asked: Duration, head: Option<Stamp>, latest: Option<Stamp>) {
        self.asked = Some(asked);
        match head {
            Some(head) if latest.is_some_and(|latest| head <= latest) => {
                self.ahead.clear();
                self.row = Some((asked, asked));
            }
            Some(head) => {
                let dense = |row: &(Duration, Duration)| asked.saturating_sub(row.1) <= DENSE;
                self.row = self.row.filter(dense).map(|(first, _)| (first, asked));
                if !self.ahead.contains(&head) && self.ahead.len() < Self::LIMIT {
                    self.ahead.push(head);
                }
            }
            // One empty file looks like the next: it may be filled and put aside before the next look.
            None => {}
        }
    }

    /// A stream was asked for: it begins in the newest file.
    pub(crate) fn opened(&mut self, asked: Duration) {
        self.row = Some((asked, asked));
    }

    /// True if the last look is so long ago.
    pub(crate) fn is_due(&self, now: Duration, every: Duration) -> bool {
        self.asked.is_none_or(|asked| now.saturating_sub(asked) >= every)
    }

    /// True if every file that was the newest until `now` was seen, back to one in which the reader was at `since` or before.
    pub(crate) fn are_dense(&self, since: Duration, now: Duration) -> bool {
        let row = self.row.filter(|(first, last)| *first <= since && now.saturating_sub(*last) <= DENSE);
        self.ahead.len() < Self::LIMIT && row.is_some()
    }

    /// True if a file began between these lines.
    pub(crate) fn has_between(&self, after: Option<Stamp>, before: Option<Stamp>) -> bool {
        self.ahead.iter().any(|head| Gap { after, before }.holds(Some(*head)))
    }

    /// The first line of the file after the one with `line`, if it was seen.
    pub(crate) fn after(&self, latest: Stamp) -> Option<Stamp> {
        self.ahead.iter().copied().filter(|head| *head > latest).min()
    }
}

/// Reads the begin of an answer that was cut after some bytes: the stamp of the newest file's first line. `Ok(None)`: the
/// file is empty.
pub(crate) fn head_of(text: &[u8]) -> Result<Option<Stamp>, ()> {
    if text.is_empty() {
        return Ok(None);
    }
    let end = text.iter().position(|byte| *byte == b' ').ok_or(())?;
    text.get(..end).and_then(Stamp::parse).map(Some).ok_or(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(latest: i64) -> Line {
        Line { stamp: Stamp(latest), ordinal: 0, bytes: 0, ended: true, latest: Stamp(latest) }
    }

    #[test]
    fn only_a_file_read_to_its_end_vouches_for_the_next() {
        let (line, soon, late) = (line(0), Some(Stamp(SPACING - 1)), Some(Stamp(SPACING)));
        for (behind, expected) in [
            (Behind::Unknown, [false, false, false]),
            (Behind::Next, [true, true, true]),
            (Behind::File(Stamp(SPACING)), [false, true, false]),
            (Behind::Late, [true, false, false]),
        ] {
            let is = [soon, late, None].map(|next| behind.is_whole(&line, next, None));
            assert_eq!(is, expected, "{behind:?}");
        }
        assert!(Behind::Late.is_whole(&line, None, soon), "the process ended at once");
    }

    #[test]
    fn looks_that_are_too_far_apart_prove_nothing() {
        let second = Duration::from_secs(1);
        let mut heads = Heads::default();
        heads.note(second, Some(Stamp(50)), Some(Stamp(10)));
        assert!(!heads.are_dense(second, second), "the reader was in the newest file in none of them");
        heads.note(second * 2, Some(Stamp(50)), Some(Stamp(50)));
        heads.note(second * 3, Some(Stamp(70)), Some(Stamp(60)));
        assert!(heads.are_dense(second * 3, second * 4));
        assert!(heads.has_between(Some(Stamp(60)), Some(Stamp(80))));
        assert!(!heads.has_between(Some(Stamp(60)), Some(Stamp(70))), "the file that was reached is not skipped");
        assert!(!heads.are_dense(second, second * 4), "nothing is known of what was before");
        assert_eq!(heads.after(Stamp(60)), Some(Stamp(70)));
        heads.note(second * 5, None, Some(Stamp(60)));
        assert!(!heads.are_dense(second * 3, second * 6), "an empty file tells nothing");
    }

    #[test]
    fn heads_are_read_from_cut_answers() {
        let stamp = Stamp(1_795_249_946_215_651_485);
        assert_eq!(head_of(format!("{stamp} some te").as_bytes()), Ok(Some(stamp)));
        assert_eq!(head_of(b""), Ok(None));
        assert_eq!(head_of(b"unable to retrieve container logs"), Err(()));
        assert_eq!(head_of(b"2026-11-21T08:32"), Err(()));
    }
}

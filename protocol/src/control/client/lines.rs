/// Bytes received, handed out by lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// Bytes at the front that have been handed out.
    taken: usize,
    /// Bytes that are known to hold no line feed, counted from the front.
    searched: usize,
}

/// A line exceeds its limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Lines {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.searched = self.searched.saturating_sub(self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next line without its line feed, if it has arrived whole. With `ended` an unfinished last line counts.
    pub(super) fn take(&mut self, limit: usize, ended: bool) -> Result<Option<Vec<u8>>, TooLong> {
        let from = self.searched.max(self.taken);
        let unseen = self.bytes.get(from..).unwrap_or_default();
        let end = match unseen.iter().position(|byte| *byte == b'\n') {
            Some(at) => from + at,
            None => {
                self.searched = self.bytes.len();
                if self.searched - self.taken > limit {
                    return Err(TooLong);
                }
                if !ended || self.taken == self.bytes.len() {
                    return Ok(None);
                }
                self.bytes.len()
            }
        };
        if end - self.taken > limit {
            return Err(TooLong);
        }
        let line = self.bytes.get(self.taken..end).unwrap_or_default().to_vec();
        self.taken = (end + 1).min(self.bytes.len());
        self.searched = self.taken;
        Ok(Some(line))
    }

    /// All that has not been handed out.
    pub(super) fn take_rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(self).bytes_untaken();
        rest.shrink_to_fit();
        rest
    }

    fn bytes_untaken(mut self) -> Vec<u8> {
        self.bytes.drain(..self.taken);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_come_whole_and_the_rest_stays() {
        let mut lines = Lines::default();
        lines.push(b"one\ntw");
        assert_eq!(lines.take(9, false), Ok(Some(b"one".to_vec())));
        assert_eq!(lines.take(9, false), Ok(None));
        lines.push(b"o\n\nrest");
        assert_eq!(lines.take(9, false), Ok(Some(b"two".to_vec())));
        assert_eq!(lines.take(9, false), Ok(Some(Vec::new())));
        assert_eq!(lines.take_rest(), b"rest");
        assert_eq!(lines.take(9, true), Ok(None));
    }

    #[test]
    fn an_unfinished_line_counts_at_the_end_only() {
        let mut lines = Lines::default();
        lines.push(b"half");
        assert_eq!(lines.take(9, false), Ok(None));
        assert_eq!(lines.take(9, true), Ok(Some(b"half".to_vec())));
        assert_eq!(lines.take(9, true), Ok(None));
    }

    #[test]
    fn a_line_is_bounded_with_and_without_its_end() {
        for tail in ["", "\n"] {
            let mut lines = Lines::default();
            lines.push(format!("12345{tail}").as_bytes());
            assert_eq!(lines.take(4, false), Err(TooLong));
        }
        let mut lines = Lines::default();
        lines.push(b"1234\n");
        assert_eq!(lines.take(4, false), Ok(Some(b"1234".to_vec())));
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_lines(
            text in "[ab\n]{0,40}", cuts in prop::collection::vec(0_usize..40, 0..6),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut lines = Lines::default();
            let mut got = Vec::new();
            for piece in cuts.windows(2) {
                lines.push(&text.as_bytes()[piece[0]..piece[1]]);
                while let Some(line) = lines.take(100, false).unwrap() {
                    got.push(String::from_utf8(line).unwrap());
                }
            }
            got.extend(lines.take(100, true).unwrap().map(|line| String::from_utf8(line).unwrap()));
            prop_assert_eq!(got, text.split_terminator('\n').map(str::to_owned).collect::<Vec<_>>());
        }
    }
}

//! Whether an output is what was written, but for what its gaps name.

use super::{
    super::{super::position::Gap, BEGIN, LARGE},
    history::{History, Record},
};

/// What a run that is right was like.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Gaps in which something is missing.
    pub(super) real: usize,
    /// Gaps in which nothing is.
    pub(super) false_alarms: usize,
    /// Files rotated before anything was read: nothing in a log tells that its first line is not the first, but a log that
    /// begins late and large.
    pub(super) unseen: usize,
}

/// Compares. `early` bytes came at once with the first answer.
pub(super) fn check(history: &History, out: &[u8], gaps: &[Gap], early: usize) -> Result<Verdict, String> {
    let (text, begins) = history.text();
    let mut gaps = gaps.to_vec();
    gaps.sort_by_key(|gap| (gap.after, gap.before));
    let checker = Checker { history, text: &text, begins: &begins, out };
    let mut verdict = Verdict::default();
    if checker.fits(0, 0, &gaps, &mut verdict) {
        return Ok(verdict);
    }
    for file in history.files.iter().skip(1) {
        let first = history.records.get(file.from);
        let late = first.is_some_and(|first| first.stamp.0 - history.started.0 >= BEGIN);
        let begin = begins.get(file.from).copied().unwrap_or(text.len());
        let large = u64::try_from(early).unwrap() >= LARGE;
        if !(late && large) && checker.fits(begin, 0, &gaps, &mut verdict) {
            verdict.unseen = 1;
            return Ok(verdict);
        }
    }
    let same = text.iter().zip(out).take_while(|(left, right)| left == right).count();
    let show = |text: &[u8]| {
        text[same.saturating_sub(20).min(text.len())..(same + 60).min(text.len())].escape_ascii().to_string()
    };
    let record = begins.partition_point(|begin| *begin <= same).saturating_sub(1);
    Err(format!(
        "{} of {} bytes; alike up to {same}, in record {record} of files {:?}: {:?}; not {:?}; gaps {gaps:?}",
        out.len(),
        text.len(),
        history.files.iter().map(|file| file.from).collect::<Vec<_>>(),
        show(out),
        show(&text),
    ))
}

struct Checker<'a> {
    history: &'a History,
    text: &'a [u8],
    begins: &'a [usize],
    out: &'a [u8],
}

impl Checker<'_> {
    /// True if the output from `out` on is the text from `text` on, without what lies in these gaps.
    fn fits(&self, text: usize, out: usize, gaps: &[Gap], verdict: &mut Verdict) -> bool {
        let (rest, written) = (&self.out[out..], &self.text[text..]);
        let Some((gap, gaps)) = gaps.split_first() else { return rest == written || self.repeats(text, rest) };
        let alike = rest.iter().zip(written).take_while(|(left, right)| left == right).count();
        let low = gap.after.map_or(0, |after| {
            let index = self.history.records.iter().position(|record| record.stamp == after);
            index.map_or(usize::MAX, |index| self.begins[index])
        });
        for (begin, high, open) in self.ends(gap) {
            let highest = (text + alike).min(high);
            for cut in (low.max(text)..=highest).rev() {
                let ended = cut == 0 || self.text[cut - 1] == b'\n';
                if (open && ended) || !self.continues(out + cut - text, begin) {
                    continue;
                }
                let missing = begin > cut;
                // A line that was glued to another comes once more with its own stamp.
                let line = self.text[begin..].iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                let from = out + cut - text;
                let twice = open && self.out[from..].starts_with(&self.text[begin..begin + line]);
                let fits = self.fits(begin, from, gaps, verdict);
                if fits || (twice && self.fits(begin, from + line, gaps, verdict)) {
                    *(if missing { &mut verdict.real } else { &mut verdict.false_alarms }) += 1;
                    return true;
                }
            }
        }
        false
    }

    /// True if the rest is the text from `text` on, but that the rest of one line that rotation cut in two comes twice.
    fn repeats(&self, text: usize, rest: &[u8]) -> bool {
        let written = &self.text[text..];
        self.history.files.iter().skip(1).map(|file| file.from).any(|from| {
            let Some(begin) = self.begins.get(from).filter(|begin| **begin >= text) else { return false };
            let tail = &self.text[*begin..];
            let tail = &tail[..tail.iter().position(|byte| *byte == b'\n').map_or(tail.len(), |end| end + 1)];
            let once = begin + tail.len() - text;
            let (Some(same), Some(more)) = (rest.get(..once), rest.get(once..)) else { return false };
            let cut = !self.history.records[from - 1].full;
            cut && same == &written[..once] && more.strip_prefix(tail) == Some(&written[once..])
        })
    }

    /// A quick look before the whole rest is compared: at least one line stands between two gaps.
    fn continues(&self, out: usize, text: usize) -> bool {
        let line = |bytes: &[u8], from: usize| {
            let rest = &bytes[from..(from + 64).min(bytes.len())];
            rest.iter().position(|byte| *byte == b'\n').map_or(rest, |end| &rest[..=end]).to_vec()
        };
        let (out, text) = (line(self.out, out), line(self.text, text));
        out.starts_with(&text) || text.starts_with(&out)
    }

    /// Where a gap may end in the text, and how far what came before it may reach: beyond its end only where rotation cut a
    /// line in two, the rest of which may come once more. Where a file was left out in the middle of a line (`true`), the
    /// kubelet goes on without a stamp: the gap ends with the next line.
    fn ends(&self, gap: &Gap) -> Vec<(usize, usize, bool)> {
        let Some(before) = gap.before else { return vec![(self.text.len(), self.text.len(), false)] };
        let records = &self.history.records;
        let here = records.iter().enumerate().filter(|(_, record)| record.stamp == before);
        let until = |record: &Record| record.stamp == before || gap.holds(Some(record.stamp));
        let inside = |from: &usize| records.get(*from).is_some_and(until);
        let files = self.history.files.iter().map(|file| file.from).filter(inside);
        let files = files.map(|from| (self.begins[from], self.begins[from], true)).collect::<Vec<_>>();
        let ends = here.map(|(index, _)| {
            let cut = index > 0 && !records[index - 1].full;
            let line = (index..records.len())
                .find(|index| records[*index].full)
                .map_or(self.text.len(), |last| self.begins.get(last + 1).copied().unwrap_or(self.text.len()));
            (self.begins[index], if cut { line } else { self.begins[index] }, false)
        });
        ends.chain(files).collect()
    }
}

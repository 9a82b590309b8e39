use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;

const NOW: Duration = Duration::ZERO;

const START: i64 = 1_795_249_946_215_651_485;

/// A container's log as the kubelet would show it: lines before `first` are rotated away, lines from `written` on are yet
/// to come.
struct Log {
    lines: Vec<(Stamp, Vec<u8>)>,
    first: usize,
    written: usize,
    /// The last line has no line feed.
    open: bool,
}

impl Log {
    fn text(&self, range: std::ops::Range<usize>, stamps: bool) -> Vec<u8> {
        let mut text = Vec::new();
        for (index, (stamp, line)) in self.lines[range.clone()].iter().enumerate() {
            if stamps {
                text.extend_from_slice(format!("{stamp} ").as_bytes());
            }
            text.extend_from_slice(line);
            if !(self.open && range.start + index + 1 == self.lines.len()) {
                text.push(b'\n');
            }
        }
        text
    }

    /// What the API server answers now: whole seconds, inclusive, in the order of the file.
    fn answer(&self, since: Option<&str>) -> Vec<u8> {
        let since = since.map_or(i64::MIN, |text| Stamp::parse(text.as_bytes()).unwrap().0);
        let shown = self.first.min(self.written)..self.written;
        let mut text = Vec::new();
        for index in shown {
            if self.lines[index].0.0 >= since {
                text.extend_from_slice(&self.text(index..index + 1, true));
            }
        }
        text
    }
}

fn line(rng: &mut StdRng) -> Vec<u8> {
    match rng.random_range(0..10) {
        0 | 1 => Vec::new(),
        2 => b" ".to_vec(),
        3 => b"\0\xff\xfe\r".to_vec(),
        4 => vec![b'x'; rng.random_range(1000..40_000)],
        5 => b"2026-11-21T08:32:26.215651485Z looks like one".to_vec(),
        _ => format!("line {}", rng.random_range(0..5)).into_bytes(),
    }
}

/// How the node's clock stamps neighbouring lines.
#[derive(Clone, Copy, PartialEq)]
enum Clock {
    /// Each line later than the one before.
    Rises,
    /// Some lines share a stamp: runtimes that stamp what one read gave them.
    Coarse,
    /// Coarse, and set back now and then.
    StepsBack,
}

fn log(rng: &mut StdRng, clock: Clock) -> Log {
    let mut now = START;
    let lines = (0..rng.random_range(0..60))
        .map(|_| {
            now += match rng.random_range(0..8) {
                0..3 if clock != Clock::Rises => 0,
                0..6 => rng.random_range(1..1_000_000),
                6 => rng.random_range(1..3_000_000_000),
                _ if clock == Clock::StepsBack => -rng.random_range(1..400_000_000),
                _ => 1,
            };
            (Stamp(now), line(rng))
        })
        .collect();
    Log { lines, first: 0, written: 0, open: rng.random_bool(0.3) }
}

/// Feeds one answer in random pieces, cut short at random if `cut`.
fn feed(rng: &mut StdRng, lines: &mut Lines, answer: &[u8], cut: bool, on_gap: OnGap, out: &mut Vec<u8>) -> bool {
    lines.begin(Behind::Unknown, false);
    let end = if cut { rng.random_range(0..=answer.len()) } else { answer.len() };
    let mut rest = &answer[..end];
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rng.random_range(1..=rest.len().min(5000)));
        if lines.feed(piece, NOW, on_gap, out).is_err() {
            return false;
        }
        rest = after;
    }
    cut || lines.finish(on_gap, None).is_ok()
}

fn seeds() -> std::ops::Range<u64> {
    // `WORKNODE_SEEDS=100000` is the long run.
    0..std::env::var("WORKNODE_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(1000)
}

/// Follows the log to its end over cut answers and restarts of the daemon; `rotate` says how often lines vanish.
fn read(rng: &mut StdRng, log: &mut Log, rotate: f64) -> (Vec<u8>, Vec<Gap>) {
    let (mut out, mut gaps) = (Vec::new(), Vec::new());
    let mut lines = Lines::new(Position::default(), Vec::new());
    for _ in 0..rng.random_range(1..12) {
        log.written = rng.random_range(log.written..=log.lines.len());
        let answer = log.answer(lines.since().as_deref());
        feed(rng, &mut lines, &answer, true, OnGap::Accept, &mut out);
        if rng.random_bool(rotate) {
            log.first = rng.random_range(log.first..=log.written);
        }
        if rng.random_bool(0.2) {
            gaps.extend_from_slice(lines.gaps());
            let stored = serde_json::to_string(lines.position()).unwrap();
            lines = Lines::new(serde_json::from_str(&stored).unwrap(), Vec::new());
        }
    }
    log.written = log.lines.len();
    let answer = log.answer(lines.since().as_deref());
    feed(rng, &mut lines, &answer, false, OnGap::Accept, &mut out);
    gaps.extend_from_slice(lines.gaps());
    (out, gaps)
}

#[test]
fn nothing_is_lost_or_doubled_by_cuts_and_restarts() {
    for seed in seeds() {
        let rng = &mut StdRng::seed_from_u64(seed);
        let mut log = log(rng, Clock::Coarse);
        let (out, gaps) = read(rng, &mut log, 0.0);
        assert_eq!(gaps, [], "seed {seed}");
        assert_eq!(
            out.escape_ascii().to_string(),
            log.text(0..log.lines.len(), false).escape_ascii().to_string(),
            "seed {seed}"
        );
    }
}

#[test]
fn a_clock_set_back_while_connected_loses_and_doubles_nothing() {
    for seed in seeds() {
        let rng = &mut StdRng::seed_from_u64(seed);
        let log = log(rng, Clock::StepsBack);
        let mut lines = Lines::new(Position::default(), Vec::new());
        let mut out = Vec::new();
        // One cut somewhere; then the whole rest. What is written between is not filtered by the server here.
        let whole = Log { written: log.lines.len(), ..log };
        let answer = whole.answer(None);
        feed(rng, &mut lines, &answer, true, OnGap::Refuse, &mut out);
        assert!(feed(rng, &mut lines, &answer, false, OnGap::Refuse, &mut out), "seed {seed}");
        assert_eq!(out, whole.text(0..whole.lines.len(), false), "seed {seed}");
    }
}

#[test]
fn what_rotation_takes_is_never_silent() {
    let mut gaps_seen = 0;
    for seed in seeds() {
        let rng = &mut StdRng::seed_from_u64(seed);
        let mut log = log(rng, Clock::Rises);
        let (out, gaps) = read(rng, &mut log, 0.3);
        // What vanished before the first request leaves no trace.
        let told =
            !gaps.is_empty() || (0..=log.lines.len()).any(|first| log.text(first..log.lines.len(), false) == out);
        assert!(told, "seed {seed}");
        gaps_seen += gaps.len();
    }
    assert!(gaps_seen > 10);
}

/// One answer, from a given position on.
fn one(answer: &[u8], position: Position, on_gap: OnGap) -> (Result<(), Refusal>, String, Lines) {
    let mut lines = Lines::new(position, Vec::new());
    let mut out = Vec::new();
    lines.begin(Behind::Unknown, false);
    let result = lines.feed(answer, NOW, on_gap, &mut out);
    (result, String::from_utf8(out).unwrap(), lines)
}

fn at(nanos: i64) -> String {
    Stamp(START + nanos).to_string()
}

#[test]
fn since_time_repeats_the_second_and_the_repetition_is_taken_out() {
    let answer = format!("{} a\n{} b\n{} c\n", at(0), at(5), at(6));
    let (_, out, lines) = one(answer.as_bytes(), Position::default(), OnGap::Refuse);
    assert_eq!(out, "a\nb\nc\n");
    assert_eq!(lines.since().as_deref(), Some("2026-11-21T08:32:26Z"));
    let again = format!("{answer}{} d\n", at(6));
    let (result, out, _) = one(again.as_bytes(), lines.position().clone(), OnGap::Refuse);
    assert_eq!((result, out.as_str()), (Ok(()), "d\n"));
}

#[test]
fn a_line_cut_in_the_middle_goes_on_where_it_was_cut() {
    let cut = format!("{} a\n{} hel", at(0), at(5));
    let (_, out, lines) = one(cut.as_bytes(), Position::default(), OnGap::Refuse);
    assert_eq!(out, "a\nhel");
    let whole = format!("{} a\n{} hello\n{} x\n", at(0), at(5), at(9));
    let (_, out, _) = one(whole.as_bytes(), lines.position().clone(), OnGap::Refuse);
    assert_eq!(out, "lo\nx\n");
}

#[test]
fn a_line_that_does_not_come_back_is_a_gap() {
    let (_, _, lines) = one(format!("{} a\n{} hel", at(0), at(5)).as_bytes(), Position::default(), OnGap::Refuse);
    let rotated = format!("{} x\n", at(700));
    let gap = Gap { after: Some(Stamp(START + 5)), before: Some(Stamp(START + 700)) };
    let (result, out, _) = one(rotated.as_bytes(), lines.position().clone(), OnGap::Refuse);
    assert_eq!((result, out.as_str()), (Err(Refusal::Gap(gap)), ""));
    let (result, out, after) = one(rotated.as_bytes(), lines.position().clone(), OnGap::Accept);
    assert_eq!((result, out.as_str(), after.gaps()), (Ok(()), "x\n", &[gap][..]));
    // An empty answer tells nothing about what came after the line.
    let (_, _, mut empty) = one(b"", lines.position().clone(), OnGap::Accept);
    assert!(empty.finish(OnGap::Refuse, None).is_err());
    empty.finish(OnGap::Accept, None).unwrap();
    assert_eq!(empty.gaps(), [Gap { after: Some(Stamp(START + 5)), before: None }]);
}

#[test]
fn an_answer_that_begins_in_the_middle_of_a_line_is_read_from_the_next_one_on() {
    let (_, _, lines) = one(format!("{} a\n", at(700_000_000)).as_bytes(), Position::default(), OnGap::Refuse);
    // The API server has filtered the first record of a long line, not the second (kubernetes-streams 4.3).
    for rest in ["rest of a long line", "rest-of-a-long-line-without-any-blank-in-its-first-forty-bytes", ""] {
        let answer = format!("{rest}\n{} a\n{} b\n", at(700_000_000), at(700_000_001));
        let (result, out, _) = one(answer.as_bytes(), lines.position().clone(), OnGap::Refuse);
        assert_eq!((result, out.as_str()), (Ok(()), "b\n"), "{rest}");
    }
    // Nothing but such a line are words of the kubelet.
    let (result, _, mut words) = one(b"unable to retrieve logs\n", lines.position().clone(), OnGap::Refuse);
    assert_eq!((result, words.words()), (Ok(()), Some("unable")));
    assert!(matches!(words.finish(OnGap::Accept, None), Err(Refusal::NoStamp(_))));
}

#[test]
fn a_pause_that_passed_faster_here_is_told() {
    let mut lines = Lines::new(Position::default(), Vec::new());
    let mut out = Vec::new();
    lines.begin(Behind::Unknown, true);
    let second = Duration::from_secs(1);
    let mut feed = |lines: &mut Lines, now, stamp: i64| {
        let line = format!("{} x\n", at(stamp * 1_000_000_000));
        lines.feed(line.as_bytes(), second * now, OnGap::Refuse, &mut out).unwrap();
        out.len()
    };
    assert_eq!([(0, 0), (5, 5), (6, 9)].map(|(now, stamp)| feed(&mut lines, now, stamp)), [2, 4, 4]);
    let gap = Gap { after: Some(Stamp(START + 5_000_000_000)), before: Some(Stamp(START + 9_000_000_000)) };
    assert_eq!(lines.held().map(|jump| jump.gap), Some(gap));
    let mut held = Vec::new();
    lines.release(false, &mut held).unwrap();
    assert_eq!((held.as_slice(), lines.gaps(), lines.held()), (&b"x\n"[..], &[][..], None));
    assert_eq!(feed(&mut lines, 14, 17), 6, "a pause that was as long here");
    // Where a file is known to begin in between, no time excuses.
    lines.mark(Stamp(START + 18_000_000_000));
    feed(&mut lines, 16, 19);
    assert!(lines.held().is_some());
}

#[test]
fn a_file_that_begins_twice_is_taken_once() {
    let mut lines = Lines::new(Position::default(), Vec::new());
    let mut out = Vec::new();
    lines.begin(Behind::Unknown, true);
    let line = |second: i64| format!("{} {second}\n", at(second * 1_000_000_000));
    for second in [0, 9, 10, 9, 10, 11] {
        lines.feed(line(second).as_bytes(), NOW, OnGap::Refuse, &mut out).unwrap();
        lines.release(second == 9, &mut out).unwrap();
    }
    assert_eq!(String::from_utf8(out).unwrap(), "0\n9\n10\n11\n");
}

#[test]
fn words_of_the_kubelet_are_not_output() {
    for text in [
        "unable to retrieve container logs for containerd://abc\n",
        "\n",
        "nonsense-without-any-blank-for-more-than-forty-bytes",
    ] {
        let (result, out, _) = one(text.as_bytes(), Position::default(), OnGap::Accept);
        assert!(matches!(result, Err(Refusal::NoStamp(_))), "{text}");
        assert_eq!(out, "");
    }
}

#[test]
fn gaps_are_counted_within_bounds() {
    let mut position = Position::default();
    let mut lines = Lines::new(position.clone(), Vec::new());
    for round in 0..100 {
        let (_, mut out) = ((), Vec::new());
        lines.begin(Behind::Unknown, false);
        let answer = format!("{} x\n", at(round * 2_000_000_000));
        lines.feed(answer.as_bytes(), NOW, OnGap::Accept, &mut out).unwrap();
        position = lines.position().clone();
    }
    assert!(position.line.is_some());
    assert_eq!(lines.gaps().len(), Lines::GAPS);
    assert_eq!(lines.gaps().last().unwrap().before, Some(Stamp(START + 99 * 2_000_000_000)));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_follower_fall(pieces in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..80), 0..8)) {
        let mut lines = Lines::new(Position::default(), Vec::new());
        let mut out = Vec::new();
        for piece in pieces {
            if lines.feed(&piece, NOW, OnGap::Accept, &mut out).is_err() {
                lines.begin(Behind::Unknown, false);
            }
        }
    }
}

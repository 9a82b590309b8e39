//! Any bytes as a container's log with time stamps: read without a panic; what stands behind the stamps comes
//! out, in pieces as in one; and what came once does not come again when the log is asked for a second time.
//!
//! The modules are pure and private to the daemon. They are taken in by path, so that none has to be made public
//! nor the whole daemon be instrumented for them.
#![no_main]

#[allow(dead_code, reason = "the daemon uses more of it")]
#[path = "../../daemon/src/runner/kubernetes/evidence.rs"]
mod evidence;
#[allow(dead_code, reason = "the daemon uses more of it")]
#[path = "../../daemon/src/runner/kubernetes/pace.rs"]
mod pace;
#[allow(dead_code, reason = "the daemon uses more of it")]
#[path = "../../daemon/src/runner/kubernetes/position.rs"]
mod position;
#[allow(dead_code, reason = "the daemon uses more of it")]
#[path = "../../daemon/src/runner/kubernetes/resume.rs"]
mod resume;
#[allow(dead_code, reason = "the daemon uses more of it")]
#[path = "../../daemon/src/runner/kubernetes/stamp.rs"]
mod stamp;

use std::time::Duration;

use evidence::Behind;
use libfuzzer_sys::fuzz_target;
use position::Position;
use resume::{Lines, OnGap};
use stamp::Stamp;

fuzz_target!(|input: &[u8]| {
    // The first byte says how long the pieces are and what a gap does.
    let Some((choice, log)) = input.split_first() else { return };
    let on_gap = if choice & 0x80 == 0 { OnGap::Accept } else { OnGap::Refuse };
    let piece = usize::from(choice & 0x7f) + 1;

    let (whole, output, ended) = follow(log, log.len().max(1), on_gap);
    let (pieces, same_output, same_end) = follow(log, piece, on_gap);
    assert_eq!((&output, ended), (&same_output, same_end));
    assert_eq!(whole.position(), pieces.position());
    assert_eq!(whole.gaps(), pieces.gaps());
    if ended && begins_with_a_stamp(log) {
        assert_eq!(output, texts(log));
    }
    if ended && is_in_order(log) {
        let mut lines = whole;
        let mut again = Vec::new();
        lines.begin(Behind::Unknown, false);
        assert_eq!(lines.feed(log, NOW, on_gap, &mut again), Ok(()));
        assert_eq!(lines.finish(on_gap, None), Ok(()));
        assert!(again.is_empty(), "given twice: {}", String::from_utf8_lossy(&again));
    }
});

const NOW: Duration = Duration::ZERO;

/// Reads one answer to its end: the lines, what they handed out, and whether all of it was read.
fn follow(log: &[u8], piece: usize, on_gap: OnGap) -> (Lines, Vec<u8>, bool) {
    let mut lines = Lines::new(Position::default(), Vec::new());
    let mut output = Vec::new();
    lines.begin(Behind::Unknown, false);
    let fed = log.chunks(piece).try_for_each(|bytes| lines.feed(bytes, NOW, on_gap, &mut output));
    let ended = fed.and_then(|()| lines.finish(on_gap, None)).is_ok();
    (lines, output, ended)
}

/// Whether the first line has a time stamp: one without is the rest of a line, and passed over.
fn begins_with_a_stamp(log: &[u8]) -> bool {
    let end = log.iter().position(|byte| matches!(byte, b' ' | b'\n')).unwrap_or(log.len());
    log.get(..end).and_then(Stamp::parse).is_some()
}

/// What stands behind the time stamps.
fn texts(log: &[u8]) -> Vec<u8> {
    let text = |line: &[u8]| {
        let blank = line.iter().position(|byte| *byte == b' ');
        blank.and_then(|blank| line.get(blank + 1..)).unwrap_or_default().to_vec()
    };
    log.split_inclusive(|byte| *byte == b'\n').flat_map(text).collect()
}

/// Whether no line is older than the one before it, as in the log of a machine whose clock is not set back.
fn is_in_order(log: &[u8]) -> bool {
    let stamps = log.split(|byte| *byte == b'\n').map(|line| {
        let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        line.get(..end).and_then(Stamp::parse)
    });
    stamps.flatten().is_sorted()
}

//! What a unit may come to.

use worknode_tests::{State, UnitStatus};

use super::job::Job;

/// What a unit came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All of the output, and the job's own end.
    Right(&'static str),
    /// Something is missing, or the unit failed, and its words say so.
    Told(&'static str),
    /// Output is missing or there twice, and nobody says so.
    Lost(String),
    /// Another end than any fault can have brought about.
    Wrong(String),
}

/// Judges. `harmed`: its pod was deleted, evicted or killed from outside.
pub(super) fn judge(job: &Job, status: &UnitStatus, output: &[u8], harmed: bool) -> Verdict {
    let expected = job.output();
    let words = || format!("{status}, {} of {} bytes", output.len(), expected.len());
    let detail = status.detail.as_str();
    let declared = detail.contains("Output may be incomplete: ");
    let own_end = match job.exit {
        0 => status.state == State::Succeeded && (detail == "Finished" || declared),
        code => {
            let text = format!("exit status {code}");
            status.state == State::Failed && (detail == text || (declared && detail.starts_with(&text)))
        }
    };
    if own_end {
        return match () {
            () if output == expected => Verdict::Right(if declared { "whole, in doubt" } else { "whole" }),
            () if declared && (job.method != "logger" || is_part(output, &expected)) => Verdict::Told("output missing"),
            () => Verdict::Lost(words()),
        };
    }
    let cut = detail.starts_with("stdin was cut at byte ") && !job.payload().is_empty();
    match status.state {
        State::Failed if cut => Verdict::Told("stdin cut"),
        State::Failed if harmed && is_of_harm(detail) => Verdict::Told("pod taken away"),
        _ => Verdict::Wrong(words()),
    }
}

/// The words of units whose pods others took away.
fn is_of_harm(detail: &str) -> bool {
    ["not found", "evicted: ", "OOMKilled", "exit status 137", "exit status 143", "output was cut at byte "]
        .iter()
        .any(|words| detail.contains(words))
}

/// True if the output's lines are lines of what was written, in order and once each; a first and a last one may be cut.
fn is_part(output: &[u8], expected: &[u8]) -> bool {
    let mut written = expected.split_inclusive(|byte| *byte == b'\n');
    output.split_inclusive(|byte| *byte == b'\n').all(|line| written.any(|other| other == line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_their_order() {
        assert!(is_part(b"a\nc\n", b"a\nb\nc\n"));
        assert!(!is_part(b"c\na\n", b"a\nb\nc\n"));
        assert!(!is_part(b"a\na\n", b"a\nb\nc\n"));
    }
}

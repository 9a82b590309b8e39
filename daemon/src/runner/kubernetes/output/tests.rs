use std::time::Duration;

use super::{
    super::{
        evidence::Behind,
        resume::{Lines, OnGap},
        stamp::Stamp,
    },
    *,
};

fn log(lines: std::ops::Range<i64>) -> Vec<u8> {
    lines.map(|number| format!("{} line {number}\n", Stamp(number * 1_000_000_000))).collect::<String>().into_bytes()
}

fn text(lines: std::ops::Range<i64>) -> String {
    lines.map(|number| format!("line {number}\n")).collect()
}

/// Reads the log from where the output stands, in pieces of so many bytes.
async fn follow(output: &mut Output, log: &[u8], piece: usize) {
    let mut lines = Lines::new(output.position().clone(), Vec::new());
    lines.begin(Behind::Unknown, false);
    for piece in log.chunks(piece) {
        let mut out = Vec::new();
        lines.feed(piece, Duration::ZERO, OnGap::Refuse, &mut out).unwrap();
        output.append(out, lines.position().clone(), Notes::default()).await.unwrap();
    }
    output.settle().await.unwrap();
}

fn stdout(dir: &UnitDir) -> String {
    std::fs::read_to_string(dir.stdout()).unwrap()
}

#[tokio::test]
async fn output_goes_on_where_it_was_left() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = UnitDir::at(temporary.path());
    let whole = log(0..500);
    for end in [0, 10, 4000, 9000, whole.len()] {
        let mut output = Output::open(&dir).unwrap();
        follow(&mut output, &whole[..end], 700).await;
        assert!(!output.differs());
    }
    assert_eq!(stdout(&dir), text(0..500));
}

#[tokio::test]
async fn a_write_cut_short_by_a_kill_is_completed() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = UnitDir::at(temporary.path());
    let whole = log(0..2000);
    let mut output = Output::open(&dir).unwrap();
    follow(&mut output, &whole[..1000], 1000).await;
    let before = dir.stdout_bytes();
    follow(&mut output, &whole, whole.len()).await;
    let written = dir.stdout_bytes();
    drop(output);
    for left in [before, before + 1, before + 17, written - 1, written] {
        File::options().write(true).open(dir.stdout()).unwrap().set_len(left).unwrap();
        let mut output = Output::open(&dir).unwrap();
        follow(&mut output, &whole, 333).await;
        assert!(!output.differs(), "{left}");
        assert_eq!(stdout(&dir), text(0..2000), "{left}");
        // The next round needs the record of the great write again.
        std::fs::remove_file(dir.file(FILE)).unwrap();
        std::fs::write(dir.stdout(), "").unwrap();
        let mut output = Output::open(&dir).unwrap();
        follow(&mut output, &whole[..1000], 1000).await;
        follow(&mut output, &whole, whole.len()).await;
    }
}

#[tokio::test]
async fn output_of_another_program_is_compared_and_completed() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = UnitDir::at(temporary.path());
    std::fs::write(dir.stdout(), "line 0\nline 1\nli").unwrap();
    let mut output = Output::open(&dir).unwrap();
    follow(&mut output, &log(0..5), 9).await;
    assert!(!output.differs());
    assert_eq!(stdout(&dir), text(0..5));
}

#[tokio::test]
async fn what_does_not_agree_is_kept_and_told() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = UnitDir::at(temporary.path());
    std::fs::write(dir.stdout(), "line 0\nline 1\n").unwrap();
    let mut output = Output::open(&dir).unwrap();
    follow(&mut output, &log(3..5), 1000).await;
    assert!(output.differs());
    assert_eq!(stdout(&dir), "line 0\nline 1\nline 3\nline 4\n");
    std::fs::write(dir.file(FILE), "nonsense").unwrap();
    assert!(Output::open(&dir).unwrap().differs(), "nothing compared yet");
}

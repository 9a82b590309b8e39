//! The reading side: what `GET .../log` answers, followed or not.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::record::{Record, SECONDS_LEN, format_second};
use super::writer::{ContainerLog, Tail};

/// Read from the file at once; a chunk of the answer holds what this gives.
const READ_SIZE: usize = 256 * 1024;

/// What a reader wants of a log (kubernetes-streams 4).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LogQuery {
    pub(crate) follow: bool,
    pub(crate) timestamps: bool,
    /// Records before this second (Unix time) are left out.
    pub(crate) since: Option<i64>,
    /// Only the last so many records of what is there.
    pub(crate) tail_records: Option<u64>,
    /// Ends after so many bytes, wherever that is.
    pub(crate) limit_bytes: Option<u64>,
}

/// One reader of one log.
pub(crate) struct LogStream {
    log: Arc<ContainerLog>,
    tail: watch::Receiver<Tail>,
    file: File,
    /// The rotation that `file` belongs to.
    generation: u64,
    position: u64,
    /// End of the file when reading began; for a reader that does not follow.
    end: u64,
    follow: bool,
    /// From the container's end to the end of a followed answer.
    linger: Duration,
    renderer: Renderer,
    buffer: Vec<u8>,
}

impl LogStream {
    pub(crate) fn open(log: Arc<ContainerLog>, query: &LogQuery, linger: Duration) -> io::Result<Self> {
        let tail = log.subscribe();
        let (file, at) = log.open()?;
        let position = match query.tail_records {
            Some(count) => start_of_last_records(&file, at.written, count)?,
            None => 0,
        };
        let renderer = Renderer {
            timestamps: query.timestamps,
            since: query.since.map(format_second),
            left: query.limit_bytes,
            in_line: false,
        };
        Ok(Self {
            log,
            tail,
            file,
            generation: at.generation,
            position,
            end: at.written,
            follow: query.follow,
            linger,
            renderer,
            buffer: Vec::new(),
        })
    }

    /// The next part of the answer, never empty; `None` at its end. Waits for news if it follows.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if self.renderer.left == Some(0) {
                return Ok(None);
            }
            let tail = *self.tail.borrow_and_update();
            let readable = self.readable(tail)?;
            if self.position < readable {
                let out = self.read(readable)?;
                if !out.is_empty() {
                    return Ok(Some(out));
                }
            } else if !self.follow {
                return Ok(None);
            } else if tail.ended {
                // A container that is over is not looked at again: what a rotation put into a newer file is lost
                // for this reader, as it is with a kubelet.
                tokio::time::sleep(self.linger).await;
                return Ok(None);
            } else if tail.generation != self.generation {
                let (file, at) = self.log.open()?;
                (self.file, self.generation, self.position) = (file, at.generation, 0);
            } else if self.tail.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// How far the open file may be read: whole records only.
    fn readable(&self, tail: Tail) -> io::Result<u64> {
        if !self.follow {
            Ok(self.end)
        } else if tail.generation == self.generation {
            Ok(tail.written)
        } else {
            Ok(self.file.metadata()?.len())
        }
    }

    fn read(&mut self, readable: u64) -> io::Result<Bytes> {
        let left = usize::try_from(readable.saturating_sub(self.position)).unwrap_or(usize::MAX);
        self.buffer.resize(left.min(READ_SIZE), 0);
        let got = self.file.read_at(&mut self.buffer, self.position)?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let bytes = self.buffer.get(..got).unwrap_or_default();
        let mut out = Vec::with_capacity(got);
        let used = self.renderer.render(bytes, &mut out);
        self.position = self.position.saturating_add(u64::try_from(used).unwrap_or(u64::MAX));
        Ok(Bytes::from(out))
    }
}

/// Turns records into lines.
#[derive(Debug, Default)]
struct Renderer {
    timestamps: bool,
    since: Option<String>,
    left: Option<u64>,
    /// The last record did not end its line, so the next one, of whatever stream, goes on with it.
    in_line: bool,
}

impl Renderer {
    /// Appends the lines of all whole records in `bytes`; returns how many bytes those were.
    fn render(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> usize {
        let mut used = 0;
        while let Some((record, len)) = bytes.get(used..).and_then(Record::parse) {
            used += len;
            if let (Some(since), Some(second)) = (&self.since, record.stamp.get(..SECONDS_LEN))
                && second < since.as_bytes()
            {
                self.in_line = !record.line_ends;
                continue;
            }
            if self.timestamps && !self.in_line {
                out.extend_from_slice(record.stamp);
                out.push(b' ');
            }
            out.extend_from_slice(record.text);
            if record.line_ends {
                out.push(b'\n');
            }
            self.in_line = !record.line_ends;
        }
        if let Some(left) = &mut self.left {
            out.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left = left.saturating_sub(u64::try_from(out.len()).unwrap_or(u64::MAX));
        }
        used
    }
}

/// Where the last `count` records of the first `end` bytes begin.
fn start_of_last_records(file: &File, end: u64, count: u64) -> io::Result<u64> {
    let mut buffer = vec![0; READ_SIZE];
    let (mut block_end, mut seen) = (end, 0);
    while block_end > 0 {
        let start = block_end.saturating_sub(u64::try_from(READ_SIZE).unwrap_or(u64::MAX));
        let block = buffer.get_mut(..usize::try_from(block_end - start).unwrap_or(0)).unwrap_or_default();
        file.read_exact_at(block, start)?;
        for newline in memchr::memrchr_iter(b'\n', block) {
            // Each newline ends a record; the one before the wanted records stands right before their start.
            if seen == count {
                return Ok(start + u64::try_from(newline).unwrap_or(0) + 1);
            }
            seen += 1;
        }
        block_end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::super::record::{Source, Stamper, write};
    use super::*;

    fn records(parts: &[(Source, &str, bool)]) -> Vec<u8> {
        let (mut out, mut stamper) = (Vec::new(), Stamper::default());
        for (source, text, ends) in parts {
            write(&mut out, &mut stamper, *source, text.as_bytes(), *ends);
        }
        out
    }

    #[test]
    fn stderr_is_glued_into_a_long_line() {
        let file =
            records(&[(Source::Stdout, "LL", false), (Source::Stderr, "ERR", true), (Source::Stdout, "TAIL", true)]);
        let mut out = Vec::new();
        let mut renderer = Renderer { timestamps: true, ..Renderer::default() };
        assert_eq!(renderer.render(&file, &mut out), file.len());
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(lines, ["LLERR", "TAIL"]);
    }

    #[test]
    fn a_limit_cuts_anywhere() {
        let file = records(&[(Source::Stdout, "abc", true), (Source::Stdout, "def", true)]);
        let mut out = Vec::new();
        let mut renderer = Renderer { left: Some(6), ..Renderer::default() };
        renderer.render(&file, &mut out);
        assert_eq!(out, b"abc\nde");
        assert_eq!(renderer.left, Some(0));
    }

    #[test]
    fn the_last_records_are_found_across_blocks() {
        let line = "x".repeat(1000);
        let many: Vec<_> = (0..1000).map(|_| (Source::Stdout, line.as_str(), true)).collect();
        let bytes = records(&many);
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &bytes).unwrap();
        let end = bytes.len() as u64;
        let each = end / 1000;
        for count in [0, 1, 2, 500, 999, 1000, 2000] {
            let start = start_of_last_records(&file, end, count).unwrap();
            assert_eq!(start, end - each * count.min(1000), "{count}");
        }
    }
}

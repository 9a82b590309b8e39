//! The writing side: lines out of a byte stream, records into a file, rotation.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::record::{self, RECORD_LIMIT, Source, Stamper};

/// The log of one run of one container.
#[derive(Debug)]
pub(crate) struct ContainerLog {
    /// The newest file; older ones have a number appended.
    path: PathBuf,
    writer: Mutex<Writer>,
    tail: watch::Sender<Tail>,
}

/// How far a log has got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Times the log was rotated.
    pub(crate) generation: u64,
    /// Bytes of whole records in the newest file.
    pub(crate) written: u64,
    /// The container has ended; nothing will be added.
    pub(crate) ended: bool,
}

#[derive(Debug)]
struct Writer {
    file: File,
    stamper: Stamper,
    records: Vec<u8>,
}

impl ContainerLog {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let writer = Writer { file: File::create(path)?, stamper: Stamper::default(), records: Vec::new() };
        Ok(Self { path: path.to_owned(), writer: Mutex::new(writer), tail: watch::Sender::new(Tail::default()) })
    }

    /// Appends what `splitter` makes of `bytes`; with `last` also a line that has no newline yet.
    pub(crate) fn append(&self, splitter: &mut Splitter, bytes: &[u8], last: bool) -> io::Result<()> {
        let mut writer = self.lock();
        let Writer { file, stamper, records } = &mut *writer;
        records.clear();
        splitter.feed(bytes, &mut |source, text, line_ends| record::write(records, stamper, source, text, line_ends));
        if last {
            splitter.finish(&mut |source, text, line_ends| record::write(records, stamper, source, text, line_ends));
        }
        if !records.is_empty() {
            file.write_all(records)?;
            let added = u64::try_from(records.len()).unwrap_or(u64::MAX);
            self.tail.send_modify(|tail| tail.written = tail.written.saturating_add(added));
        }
        Ok(())
    }

    /// Nothing more will come.
    pub(crate) fn end(&self) {
        self.tail.send_modify(|tail| tail.ended = true);
    }

    /// Puts the newest file aside and starts another, keeping `files` in all.
    pub(crate) fn rotate(&self, files: usize) -> io::Result<()> {
        let mut writer = self.lock();
        let generation = self.tail.borrow().generation;
        fs::rename(&self.path, self.aside(generation))?;
        writer.file = File::create(&self.path)?;
        self.tail.send_modify(|tail| {
            tail.generation = tail.generation.saturating_add(1);
            tail.written = 0;
        });
        let keep = u64::try_from(files.saturating_sub(1)).unwrap_or(u64::MAX);
        if let Some(old) = generation.checked_sub(keep) {
            // Absent where an earlier rotation kept fewer.
            let _ = fs::remove_file(self.aside(old));
        }
        Ok(())
    }

    pub(crate) fn size(&self) -> u64 {
        self.tail.borrow().written
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Tail> {
        self.tail.subscribe()
    }

    /// Opens the newest file, and says how far it has got.
    pub(crate) fn open(&self) -> io::Result<(File, Tail)> {
        let _no_rotation_now = self.lock();
        Ok((File::open(&self.path)?, *self.tail.borrow()))
    }

    fn aside(&self, generation: u64) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{generation}"));
        PathBuf::from(name)
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cuts the output of one stream into records of at most [`RECORD_LIMIT`] bytes.
#[derive(Debug)]
pub(crate) struct Splitter {
    source: Source,
    /// The begun line, as far as it is not in a record yet; at most [`RECORD_LIMIT`] and one read.
    line: Vec<u8>,
}

impl Splitter {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, line: Vec::new() }
    }

    fn feed(&mut self, bytes: &[u8], emit: &mut impl FnMut(Source, &[u8], bool)) {
        let mut rest = bytes;
        while let Some(newline) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(newline);
            rest = after.get(1..).unwrap_or_default();
            if self.line.is_empty() {
                emit_line(self.source, line, emit);
            } else {
                self.line.extend_from_slice(line);
                emit_line(self.source, &self.line, emit);
                self.line.clear();
            }
        }
        self.line.extend_from_slice(rest);
        while self.line.len() > RECORD_LIMIT {
            let (full, left) = self.line.split_at(RECORD_LIMIT);
            emit(self.source, full, false);
            self.line = left.to_vec();
        }
    }

    /// A last line that has no newline becomes a record that does not end its line.
    fn finish(&mut self, emit: &mut impl FnMut(Source, &[u8], bool)) {
        if !self.line.is_empty() {
            emit(self.source, &self.line, false);
            self.line.clear();
        }
    }
}

/// A whole line; a CR before its LF is dropped, as the runtime does.
fn emit_line(source: Source, line: &[u8], emit: &mut impl FnMut(Source, &[u8], bool)) {
    let mut rest = line.strip_suffix(b"\r").unwrap_or(line);
    while rest.len() > RECORD_LIMIT {
        let (full, left) = rest.split_at(RECORD_LIMIT);
        emit(source, full, false);
        rest = left;
    }
    emit(source, rest, true);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(parts: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let mut splitter = Splitter::new(Source::Stdout);
        let mut records = Vec::new();
        let mut emit = |_, text: &[u8], ends| records.push((text.to_vec(), ends));
        for part in parts {
            splitter.feed(part, &mut emit);
        }
        splitter.finish(&mut emit);
        records
    }

    #[test]
    fn lines_across_reads() {
        let records = split(&[b"a", b"b\r", b"\n\nc\r\n", b"d\re"]);
        let expected = [("ab", true), ("", true), ("c", true), ("d\re", false)];
        assert_eq!(records, expected.map(|(text, ends)| (text.as_bytes().to_vec(), ends)));
    }

    #[test]
    fn long_lines_become_records_of_the_limit() {
        let long = vec![b'x'; 2 * RECORD_LIMIT + 5];
        let with_newline: Vec<u8> = [&long[..], b"\n"].concat();
        for records in [split(&[&with_newline]), split(&[&long, b"\n"])] {
            let shape: Vec<_> = records.iter().map(|(text, ends)| (text.len(), *ends)).collect();
            assert_eq!(shape, [(RECORD_LIMIT, false), (RECORD_LIMIT, false), (5, true)]);
        }
        assert_eq!(split(&[&long[..RECORD_LIMIT], b"\n"]).len(), 1);
    }
}

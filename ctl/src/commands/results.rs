//! Reading what a unit has written.

use serde_json::json;
use worknode_protocol::unit::{State, Status};

use super::Node;
use super::follow::{Follow, Step};
use crate::connect::Received;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Printer;

/// Bytes read and written at a time.
const BLOCK: usize = 256 * 1024;

/// Bytes looked through at a time for the beginnings of the last lines.
const TAIL_BLOCK: u64 = 1024 * 1024;

/// Longest text of one JSON line; a longer line of the unit comes in pieces.
const LONGEST_TEXT: usize = 64 * 1024;

pub(super) fn results(node: &Node, unit: &str, printer: &mut Printer) -> Result<Exit, Failure> {
    let status = print_to_end(node, unit, 0, printer)?;
    if status.state == State::Failed {
        return Err(Failure::UnitFailed(status.detail));
    }
    Ok(Exit::Done)
}

pub(super) fn logs(
    node: &Node,
    unit: &str,
    follow: bool,
    tail: Option<u64>,
    printer: &mut Printer,
) -> Result<Exit, Failure> {
    let status = node.unit_status(unit)?;
    let start = match tail {
        Some(lines) => tail_start(node, unit, status.stdout_size, lines)?,
        None => 0,
    };
    // The size of a unit that has ended may be short of its output (control-protocol 5.5), so that is read to its end.
    if follow || status.state.is_final() {
        print_to_end(node, unit, start, printer)?;
    } else {
        let mut writer = Writer::new(start, printer);
        read_range(node, unit, start, status.stdout_size, |bytes| writer.write(bytes))?;
        writer.finish()?;
    }
    Ok(Exit::Done)
}

fn print_to_end(node: &Node, unit: &str, start: u64, printer: &mut Printer) -> Result<Status, Failure> {
    let mut follow = Follow::open(node, unit, start)?;
    let progress = printer.receiving();
    let mut writer = Writer::new(start, printer);
    let mut block = vec![0; BLOCK];
    let status = loop {
        match follow.next(&mut block, None)? {
            Step::Bytes(length) => writer.write(block.get(..length).unwrap_or_default())?,
            Step::Ended(status) => break status,
            Step::Waiting => {}
        }
        progress.set_position(follow.position() - start);
    };
    progress.finish_and_clear();
    writer.finish()?;
    Ok(status)
}

/// Hands on the bytes from `start` up to `end` that the unit has.
fn read_range(
    node: &Node,
    unit: &str,
    start: u64,
    end: u64,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut left = end.saturating_sub(start);
    if left == 0 {
        return Ok(());
    }
    let mut stream = node.session()?.results(unit, start)?;
    let mut block = vec![0; BLOCK];
    while left > 0 {
        let Received::Bytes(length) = stream.receive(&mut block, None)? else { break };
        let wanted = length.min(usize::try_from(left).unwrap_or(usize::MAX));
        take(block.get(..wanted).unwrap_or_default())?;
        left -= u64::try_from(wanted).unwrap_or(left);
    }
    Ok(())
}

/// Where the last `lines` lines of the first `size` bytes begin. Read backwards, a block at a time.
fn tail_start(node: &Node, unit: &str, size: u64, lines: u64) -> Result<u64, Failure> {
    if lines == 0 {
        return Ok(size);
    }
    let mut missing = lines;
    let mut end = size;
    while end > 0 {
        let start = end.saturating_sub(TAIL_BLOCK);
        let mut block = Vec::new();
        read_range(node, unit, start, end, |bytes| {
            block.extend_from_slice(bytes);
            Ok(())
        })?;
        for (index, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let next_line = start + u64::try_from(index).unwrap_or(u64::MAX - start) + 1;
            // A line feed at the very end ends the last line and begins none.
            missing -= u64::from(next_line != size);
            if missing == 0 {
                return Ok(next_line);
            }
        }
        end = start;
    }
    Ok(0)
}

/// Writes output as it is, or as lines of JSON.
struct Writer<'p> {
    printer: &'p mut Printer,
    /// For JSON: the line begun, and the byte at which it begins.
    line: Vec<u8>,
    offset: u64,
}

impl<'p> Writer<'p> {
    fn new(offset: u64, printer: &'p mut Printer) -> Self {
        Self { printer, line: Vec::new(), offset }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if !self.printer.json() {
            return self.printer.data(bytes);
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            for part in piece.chunks(LONGEST_TEXT) {
                self.line.extend_from_slice(part);
                if self.line.ends_with(b"\n") || self.line.len() >= LONGEST_TEXT {
                    self.end_line()?;
                }
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), Failure> {
        if self.line.is_empty() { Ok(()) } else { self.end_line() }
    }

    fn end_line(&mut self) -> Result<(), Failure> {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        self.printer.compact(&json!({ "stream": "stdout", "offset": self.offset, "text": text }))?;
        self.offset += u64::try_from(line.len()).unwrap_or(0);
        Ok(())
    }
}

//! Frames, and the lines that carry them.
//!
//! A frame is one line: its bytes are stuffed (COBS) so that no line feed is among them, and its last four are a checksum.
//! So a reader that joins in the middle, or finds two writers' bytes mixed, loses what was torn and is right again at the
//! next line feed. It also makes a frame one record of the container's log, and lets a shell read past it.
//!
//! Offsets count bytes of a whole stream from its begin. They say where a frame's bytes belong, whatever came before.

use crate::crc::crc32;

/// Ends a line, and is in none.
const END: u8 = b'\n';
/// Most bytes of a stream in one frame: with all else less than 16 KiB, at which container runtimes split a line of the log.
pub const CHUNK: usize = 16_000;
/// Longest line that can be a frame.
const LONGEST: usize = 16 * 1024;
/// Bytes of a payload that may be on their way to the job.
pub const INPUT_WINDOW: u64 = 1024 * 1024;
/// Bytes of output that may be on their way to the daemon. Less than the buffers of any attach hold: one that nobody reads
/// any more must not keep the next one waiting.
pub const OUTPUT_WINDOW: u64 = 2 * 1024 * 1024;
/// Longest run of a stuffed block.
const RUN: usize = 254;
/// Kind and session before a frame's body.
const HEAD: usize = 9;

/// What both sides say. Each belongs to a session: one attach, numbered by the daemon; the highest number counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Daemon: a session begins; I have the output up to here.
    Hello {
        /// Bytes of output on disk.
        output: u64,
    },
    /// Daemon: are you there? Answered with [`Frame::Welcome`].
    Ping,
    /// Shim: what I have. The answer to `Hello` and `Ping`, and said where something did not arrive.
    Welcome {
        /// Payload that has arrived; one more than its length: and its end.
        input: u64,
        /// Output before this is no longer kept.
        output: u64,
    },
    /// Daemon: a piece of the payload.
    Input {
        /// Where it belongs.
        at: u64,
        /// Some bytes.
        bytes: Vec<u8>,
    },
    /// Daemon: the payload's end.
    InputEnd {
        /// Its length.
        at: u64,
    },
    /// Shim: a piece of the output.
    Output {
        /// Where it belongs.
        at: u64,
        /// Some bytes.
        bytes: Vec<u8>,
    },
    /// Shim: the job was given the payload up to here, counted as in `Welcome`. Daemon: the output is on disk up to here.
    Ack {
        /// The offset.
        at: u64,
    },
    /// Shim: the job is over.
    End {
        /// The length of all output.
        at: u64,
        /// The job's exit code; for a signal N, 128 + N.
        code: i32,
    },
    /// Daemon: I have everything; go.
    Finish,
}

/// One line that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A whole frame.
    Frame {
        /// The session that it belongs to.
        session: u64,
        /// What it says.
        frame: Frame,
    },
    /// Something else: torn, or no frame at all.
    Other(Vec<u8>),
}

impl Frame {
    fn kind(&self) -> u8 {
        match self {
            Self::Hello { .. } => 1,
            Self::Ping => 2,
            Self::Welcome { .. } => 3,
            Self::Input { .. } => 4,
            Self::InputEnd { .. } => 5,
            Self::Output { .. } => 6,
            Self::Ack { .. } => 7,
            Self::End { .. } => 8,
            Self::Finish => 9,
        }
    }

    /// Appends its line.
    pub fn encode(&self, session: u64, out: &mut Vec<u8>) {
        let mut content = vec![self.kind()];
        content.extend(session.to_be_bytes());
        match self {
            Self::Hello { output: at } | Self::InputEnd { at } | Self::Ack { at } => content.extend(at.to_be_bytes()),
            Self::Welcome { input, output } => {
                content.extend(input.to_be_bytes());
                content.extend(output.to_be_bytes());
            }
            Self::Input { at, bytes } | Self::Output { at, bytes } => {
                content.extend(at.to_be_bytes());
                content.extend_from_slice(bytes);
            }
            Self::End { at, code } => {
                content.extend(at.to_be_bytes());
                content.extend(code.to_be_bytes());
            }
            Self::Ping | Self::Finish => {}
        }
        content.extend(crc32(&content).to_be_bytes());
        stuff(&content, out);
        out.push(END);
    }

    fn read(kind: u8, body: &[u8]) -> Option<Self> {
        let (first, rest) = body.split_at_checked(8).unwrap_or((&[], body));
        let at = first.try_into().map(u64::from_be_bytes);
        Some(match (kind, rest) {
            (1, []) => Self::Hello { output: at.ok()? },
            (2, []) if first.is_empty() => Self::Ping,
            (3, rest) => Self::Welcome { input: at.ok()?, output: u64::from_be_bytes(rest.try_into().ok()?) },
            (4, [_, ..]) => Self::Input { at: at.ok()?, bytes: rest.to_vec() },
            (5, []) => Self::InputEnd { at: at.ok()? },
            (6, [_, ..]) => Self::Output { at: at.ok()?, bytes: rest.to_vec() },
            (7, []) => Self::Ack { at: at.ok()? },
            (8, rest) => Self::End { at: at.ok()?, code: i32::from_be_bytes(rest.try_into().ok()?) },
            (9, []) if first.is_empty() => Self::Finish,
            _ => return None,
        })
    }
}

/// A line without its end, if it is a frame.
fn decode(line: &[u8]) -> Option<Line> {
    let content = unstuff(line)?;
    let (content, sum) = content.split_last_chunk::<4>()?;
    if crc32(content) != u32::from_be_bytes(*sum) {
        return None;
    }
    let (head, body) = content.split_at_checked(HEAD)?;
    let (&kind, session) = head.split_first()?;
    let session = u64::from_be_bytes(session.try_into().ok()?);
    Some(Line::Frame { session, frame: Frame::read(kind, body)? })
}

/// Takes [`END`] out: each run of other bytes gets its length plus one before it, and that is never `END` once it was
/// combined with it.
fn stuff(mut content: &[u8], out: &mut Vec<u8>) {
    loop {
        let longest = content.get(..RUN).unwrap_or(content);
        let run = longest.iter().position(|&byte| byte == END).unwrap_or(longest.len());
        let (bytes, rest) = content.split_at(run);
        out.push(u8::try_from(run + 1).unwrap_or(u8::MAX) ^ END);
        out.extend_from_slice(bytes);
        content = match rest.split_first() {
            None => return,
            Some(_) if run == RUN => rest,
            Some((_, rest)) => rest,
        };
    }
}

fn unstuff(mut line: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::with_capacity(line.len());
    while let Some((&code, rest)) = line.split_first() {
        let run = usize::from((code ^ END).checked_sub(1)?);
        let (bytes, rest) = rest.split_at_checked(run)?;
        content.extend_from_slice(bytes);
        if run < RUN && !rest.is_empty() {
            content.push(END);
        }
        line = rest;
    }
    Some(content)
}

/// Bytes to lines.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Bytes of the buffer that were given out.
    taken: usize,
    /// The line is too long to be a frame; its end is awaited.
    skipping: bool,
}

impl Decoder {
    /// Takes what came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next line of what came. Empty lines are none.
    pub fn next_line(&mut self) -> Option<Line> {
        loop {
            let rest = self.buffer.get(self.taken..).unwrap_or_default();
            let Some(length) = rest.iter().position(|&byte| byte == END) else {
                if rest.len() > LONGEST {
                    self.skipping = true;
                }
                if self.skipping {
                    self.taken = self.buffer.len();
                }
                return None;
            };
            let line = rest.get(..length).unwrap_or_default();
            let skipped = std::mem::take(&mut self.skipping) || length > LONGEST;
            let line = match (skipped, line) {
                (true, _) => Some(Line::Other(Vec::new())),
                (false, []) => None,
                (false, line) => Some(decode(line).unwrap_or_else(|| Line::Other(line.to_vec()))),
            };
            self.taken += length + 1;
            if line.is_some() {
                return line;
            }
        }
    }
}

/// Words between the daemon and the shell that receives the shim: lines that are no frames.
pub mod word {
    /// Daemon: who is there?
    pub const HELLO: &str = "worknode:hello";
    /// Shell: I wait for the program.
    pub const READY: &str = "worknode:ready";
    /// Daemon: the program follows.
    pub const SEND: &str = "worknode:send";
    /// Shell: what came is not the program.
    pub const TORN: &str = "worknode:torn";
    /// Shim: I run.
    pub const STARTED: &str = "worknode:started";
    /// What lines that mean nothing are made of.
    pub const FILLER: u8 = b'-';
}

//! The shim's half of the conversation, without I/O: which bytes are where, and what is to be said next.

use std::collections::VecDeque;

use crate::wire::{CHUNK, Frame, INPUT_WINDOW, Line, OUTPUT_WINDOW, word};

/// Payload given to the job before that is told, unless it is all that there is.
const ACK: u64 = INPUT_WINDOW / 4;

/// Something to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Say {
    /// A frame.
    Frame(Frame),
    /// A piece of the output: [`Frame::Output`] with these bytes of what is kept.
    Output {
        /// Where it begins.
        at: u64,
        /// How many bytes.
        length: usize,
    },
}

/// What is known of a job's streams.
#[derive(Debug)]
pub struct Relay {
    /// The session that counts; none yet: 0.
    session: u64,
    input: Input,
    output: Output,
    code: Option<i32>,
    say_welcome: bool,
    say_end: bool,
    /// A missing piece was told of; until it comes that is not said again.
    complained: bool,
    finished: bool,
}

#[derive(Debug, Default)]
struct Input {
    /// Has arrived; the end counts as one.
    received: u64,
    ended: bool,
    /// Arrived and not yet given to the job.
    queue: VecDeque<u8>,
    /// Given to the job, or it did not want it; the end counts as one.
    given: u64,
    /// Of that, told.
    told: u64,
    /// The job takes no more.
    refused: bool,
    /// The job's stdin is closed.
    closed: bool,
}

#[derive(Debug)]
struct Output {
    /// Kept from here ...
    begin: u64,
    /// ... sent up to here ...
    sent: u64,
    /// ... and written by the job up to here.
    end: u64,
    capacity: u64,
}

impl Relay {
    /// A job that begins. So many bytes of its output can be kept.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        Self {
            session: 0,
            input: Input::default(),
            output: Output { begin: 0, sent: 0, end: 0, capacity },
            code: None,
            say_welcome: false,
            say_end: false,
            complained: false,
            finished: false,
        }
    }

    /// The session that counts.
    #[must_use]
    pub fn session(&self) -> u64 {
        self.session
    }

    /// Takes a line of the daemon's. True if it was one of the session that counts.
    pub fn hear(&mut self, line: Line) -> bool {
        let (session, frame) = match line {
            Line::Frame { session, frame } => (session, frame),
            Line::Other(line) => {
                // It may have been a frame of ours.
                let is_word = line.starts_with(b"worknode:") || line.iter().all(|&byte| byte == word::FILLER);
                self.say_welcome |= self.session > 0 && !is_word;
                return false;
            }
        };
        match frame {
            Frame::Hello { output } if session >= self.session => {
                self.session = session;
                self.output.acknowledge(output);
                // What was sent to another session may not have arrived.
                self.output.sent = self.output.begin;
                self.input.told = 0;
                self.complained = false;
                self.say_welcome = true;
                self.say_end = self.code.is_some();
            }
            _ if session != self.session => return false,
            Frame::Ping => self.say_welcome = true,
            Frame::Ack { at } => self.output.acknowledge(at),
            Frame::Input { at, bytes } => self.take(at, &bytes),
            Frame::InputEnd { at } => self.take_end(at),
            Frame::Finish => self.finished = self.code.is_some() && self.output.begin == self.output.end,
            // These are ours.
            Frame::Hello { .. } | Frame::Welcome { .. } | Frame::Output { .. } | Frame::End { .. } => return false,
        }
        true
    }

    fn take(&mut self, at: u64, bytes: &[u8]) {
        let known = self.input.received.checked_sub(at);
        let Some(known) = known.and_then(|known| usize::try_from(known).ok()) else { return self.complain() };
        let Some(new) = bytes.get(known..).filter(|_| !self.input.ended) else { return };
        self.complained &= new.is_empty();
        self.input.received += length(new);
        if self.input.refused {
            self.input.given = self.input.received;
        } else {
            self.input.queue.extend(new);
        }
    }

    fn take_end(&mut self, at: u64) {
        if self.input.ended {
            return;
        }
        if self.input.received != at {
            return self.complain();
        }
        self.complained = false;
        self.input.ended = true;
        self.input.received += 1;
        self.input.settle();
    }

    fn complain(&mut self) {
        self.say_welcome |= !std::mem::replace(&mut self.complained, true);
    }

    /// Bytes for the job's stdin.
    #[must_use]
    pub fn for_job(&self) -> &[u8] {
        self.input.queue.as_slices().0
    }

    /// The job was given so many of them.
    pub fn given(&mut self, count: usize) {
        let count = count.min(self.input.queue.len());
        self.input.queue.drain(..count);
        self.input.given += u64::try_from(count).unwrap_or_default();
        self.input.settle();
    }

    /// The job takes nothing more: what is left of the payload is of no use.
    pub fn refused(&mut self) {
        self.input.refused = true;
        self.input.queue.clear();
        self.input.given = self.input.received;
    }

    /// True once: all of the payload was given to the job, whose stdin is to be closed now.
    pub fn close_now(&mut self) -> bool {
        let now = self.input.ended && self.input.queue.is_empty();
        now && !std::mem::replace(&mut self.input.closed, true)
    }

    /// How many bytes of output there is room for.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.output.capacity.saturating_sub(self.output.end - self.output.begin)
    }

    /// Where the next byte of output belongs.
    #[must_use]
    pub fn output_end(&self) -> u64 {
        self.output.end
    }

    /// The job has written so many bytes, and they are kept.
    pub fn kept(&mut self, count: usize) {
        self.output.end += u64::try_from(count).unwrap_or_default();
    }

    /// The job is over, and all of its output is kept.
    pub fn ended(&mut self, code: i32) {
        self.code = Some(code);
        self.say_end = true;
        self.refused();
    }

    /// The daemon has everything.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// True if there is something to be said.
    #[must_use]
    pub fn has_words(&self) -> bool {
        self.session > 0 && (self.say_welcome || self.owes_ack() || self.output.next() > 0 || self.owes_end())
    }

    fn owes_ack(&self) -> bool {
        let Input { given, told, received, .. } = self.input;
        given > told && (given == received || given - told >= ACK)
    }

    fn owes_end(&self) -> bool {
        self.say_end && self.output.sent == self.output.end
    }

    /// What is to be said next. It counts as said.
    pub fn say(&mut self) -> Option<Say> {
        if self.session == 0 {
            return None;
        }
        if std::mem::take(&mut self.say_welcome) {
            let (input, output) = (self.input.received, self.output.begin);
            return Some(Say::Frame(Frame::Welcome { input, output }));
        }
        if self.owes_ack() {
            self.input.told = self.input.given;
            return Some(Say::Frame(Frame::Ack { at: self.input.given }));
        }
        let length = self.output.next();
        if length > 0 {
            let at = self.output.sent;
            self.output.sent += u64::try_from(length).unwrap_or_default();
            return Some(Say::Output { at, length });
        }
        if self.owes_end() {
            self.say_end = false;
            return self.code.map(|code| Say::Frame(Frame::End { at: self.output.end, code }));
        }
        None
    }
}

impl Input {
    /// The end is given with the last byte.
    fn settle(&mut self) {
        if self.ended && self.queue.is_empty() {
            self.given = self.received;
        }
    }
}

impl Output {
    fn acknowledge(&mut self, at: u64) {
        self.begin = at.clamp(self.begin, self.end);
        self.sent = self.sent.max(self.begin);
    }

    /// Bytes of the next piece.
    fn next(&self) -> usize {
        let window = OUTPUT_WINDOW.saturating_sub(self.sent - self.begin);
        let length = (self.end - self.sent).min(window);
        usize::try_from(length).unwrap_or(usize::MAX).min(CHUNK)
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or_default()
}

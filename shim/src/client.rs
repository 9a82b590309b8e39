//! The daemon's half of the conversation, without I/O: one session.

use crate::wire::{CHUNK, Frame, INPUT_WINDOW, Line, OUTPUT_WINDOW, word};

/// Output on disk before that is told, unless it is all that has come.
const ACK: u64 = OUTPUT_WINDOW / 8;

/// Something to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tell {
    /// A frame.
    Frame(Frame),
    /// A piece of the payload: [`Frame::Input`] with these bytes.
    Input {
        /// Where it begins.
        at: u64,
        /// How many bytes.
        length: usize,
    },
    /// A question to the shell that receives the program, should it be there.
    Question,
    /// The program itself, after [`word::SEND`].
    Program,
}

/// What a line of the pod's means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing to be done.
    Nothing,
    /// The shim is there.
    Welcome,
    /// The next bytes of the output.
    Output(Vec<u8>),
    /// The shell has received something that is not the program.
    Torn,
    /// The job is over and all of its output has come.
    End(i32),
}

/// Why a session is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Output is missing in between; another session gets it.
    Gap,
    /// Output is missing for ever: the shim no longer keeps it.
    Lost {
        /// From here ...
        from: u64,
        /// ... to there.
        to: u64,
    },
}

/// One session.
#[derive(Debug)]
pub struct Client {
    session: u64,
    /// Length of the payload.
    payload: u64,
    input_sent: u64,
    input_acked: u64,
    /// Output that has come.
    output: u64,
    /// Of that, on disk ...
    durable: u64,
    /// ... and told.
    told: u64,
    welcomed: bool,
    say: Owed,
}

#[derive(Debug, Default)]
struct Owed {
    question: bool,
    hello: bool,
    program: bool,
    ping: bool,
    ack: bool,
    finish: bool,
}

impl Client {
    /// A session that begins, with a number higher than all before. `output` bytes are on disk.
    #[must_use]
    pub fn new(session: u64, payload: u64, output: u64) -> Self {
        Self {
            session,
            payload,
            input_sent: 0,
            input_acked: 0,
            output,
            durable: output,
            told: output,
            welcomed: false,
            say: Owed { question: true, hello: true, ..Owed::default() },
        }
    }

    /// The shim has answered.
    #[must_use]
    pub fn is_welcome(&self) -> bool {
        self.welcomed
    }

    /// Bytes of the payload that the job was given; one more: and its end.
    #[must_use]
    pub fn input_acked(&self) -> u64 {
        self.input_acked
    }

    /// The job was given all of the payload, or wanted no more of it.
    #[must_use]
    pub fn input_is_over(&self) -> bool {
        self.input_acked > self.payload
    }

    /// Asks again who is there.
    pub fn ask(&mut self) {
        self.say.question = true;
        self.say.hello = true;
    }

    /// Asks for a sign of life.
    pub fn ping(&mut self) {
        self.say.ping = true;
    }

    /// The output is on disk up to here.
    pub fn durable(&mut self, output: u64) {
        self.durable = output;
    }

    /// It is on disk that the job is over.
    pub fn finish(&mut self) {
        self.say.finish = true;
    }

    /// Takes a line.
    ///
    /// # Errors
    /// The session is of no use any more.
    pub fn hear(&mut self, line: Line) -> Result<Heard, Broken> {
        let frame = match line {
            Line::Frame { session, frame } if session == self.session => frame,
            Line::Frame { .. } => return Ok(Heard::Nothing),
            Line::Other(line) => return Ok(self.hear_word(&line)),
        };
        Ok(match frame {
            Frame::Welcome { input, output } => {
                if output > self.output {
                    return Err(Broken::Lost { from: self.output, to: output });
                }
                self.welcomed = true;
                self.input_sent = input;
                self.say.ack = true;
                Heard::Welcome
            }
            // Nothing else is for a session that has not begun.
            _ if !self.welcomed => Heard::Nothing,
            Frame::Output { at, bytes } => {
                let known = self.output.checked_sub(at).ok_or(Broken::Gap)?;
                let new = usize::try_from(known).ok().and_then(|known| bytes.get(known..)).unwrap_or_default();
                self.output += u64::try_from(new.len()).unwrap_or_default();
                if new.is_empty() { Heard::Nothing } else { Heard::Output(new.to_vec()) }
            }
            Frame::Ack { at } => {
                self.input_acked = self.input_acked.max(at);
                Heard::Nothing
            }
            Frame::End { at, .. } if at != self.output => return Err(Broken::Gap),
            Frame::End { code, .. } => {
                // The job wants nothing more.
                self.input_acked = self.payload + 1;
                Heard::End(code)
            }
            _ => Heard::Nothing,
        })
    }

    fn hear_word(&mut self, line: &[u8]) -> Heard {
        if line == word::READY.as_bytes() {
            self.say.program = true;
        } else if line == word::STARTED.as_bytes() {
            self.say.hello = true;
        } else if line == word::TORN.as_bytes() {
            return Heard::Torn;
        }
        Heard::Nothing
    }

    /// What is to be sent next. It counts as sent.
    pub fn tell(&mut self) -> Option<Tell> {
        let say = &mut self.say;
        if std::mem::take(&mut say.question) {
            return Some(Tell::Question);
        }
        if std::mem::take(&mut say.program) {
            return Some(Tell::Program);
        }
        if std::mem::take(&mut say.hello) {
            return Some(Tell::Frame(Frame::Hello { output: self.durable }));
        }
        if !self.welcomed {
            return None;
        }
        if self.durable - self.told >= ACK || (self.durable > self.told && self.durable == self.output) || say.ack {
            say.ack = false;
            self.told = self.durable;
            return Some(Tell::Frame(Frame::Ack { at: self.durable }));
        }
        if self.durable == self.output && std::mem::take(&mut say.finish) {
            return Some(Tell::Frame(Frame::Finish));
        }
        if std::mem::take(&mut say.ping) {
            return Some(Tell::Frame(Frame::Ping));
        }
        self.next_input()
    }

    fn next_input(&mut self) -> Option<Tell> {
        let at = self.input_sent;
        if at > self.payload || self.input_is_over() {
            return None;
        }
        if at == self.payload {
            self.input_sent += 1;
            return Some(Tell::Frame(Frame::InputEnd { at }));
        }
        let window = INPUT_WINDOW.saturating_sub(at.saturating_sub(self.input_acked));
        let length = usize::try_from((self.payload - at).min(window)).unwrap_or(usize::MAX).min(CHUNK);
        if length == 0 {
            return None;
        }
        self.input_sent += u64::try_from(length).unwrap_or_default();
        Some(Tell::Input { at, length })
    }
}

//! The client's half of the dialogue, without I/O.
//!
//! [`Client`] is told what arrived and says what it means; it is asked for a command and gives the bytes to send. A
//! driver, blocking or not, owns the connection and moves the bytes:
//!
//! | Call | What it is |
//! |---|---|
//! | [`Client::handle_input`], [`Client::handle_end`] | what happened on the connection |
//! | [`Client::poll_event`] | what it means; ask until it answers `None`, then wait for more input |
//! | [`Client::command`] | what to send; one command at a time |
//! | [`Client::payload_sent`], [`Client::greet_again`], [`Client::take_buffered`] | the turns of submit and connect |
//!
//! Bytes that are no lines (payload, results, a bridged connection) go past it: after [`Event::Created`] the driver
//! sends the payload and closes its sending half, after [`Event::Streaming`] and [`Event::Connected`] it first takes
//! what was read too far and then reads the connection itself. No copy is made of them here, and no end is put to
//! their size; lines are bounded.
//!
//! ```
//! use worknode_protocol::control::Request;
//! use worknode_protocol::control::client::{Client, Event};
//!
//! let mut client = Client::new();
//! client.handle_input(b"Receptor Control, node n1\n");
//! assert_eq!(client.poll_event()?, Some(Event::Greeted { node: "n1".to_owned() }));
//!
//! assert_eq!(client.command(&Request::Ping { target: "n2".to_owned() })?, "ping n2\n");
//! client.handle_input(b"{\"Error\":\"no route to node\",\"Success\":false}\n");
//! let Some(Event::Answered(answer)) = client.poll_event()? else { panic!() };
//! assert_eq!(answer.text("Error"), Some("no route to node"));
//! # Ok::<(), worknode_protocol::control::client::ClientError>(())
//! ```

mod answer;
mod lines;

pub use answer::{Answer, AnswerError, Refused};

use self::lines::Lines;
use super::{Request, WorkRequest};
use crate::json;

/// Longest line taken from the server unless told otherwise, in bytes: 64 MiB, the list of some 300,000 units.
pub const DEFAULT_MAX_ANSWER_BYTES: usize = 64 << 20;

/// Longest greeting taken, in bytes. It holds the identifier of a node; whoever sends more is no control service.
pub const MAX_BANNER_BYTES: usize = 4096;

/// What the server said.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It greeted; commands may follow.
    Greeted {
        /// Identifier of the node.
        node: String,
    },
    /// It answered a command; for a submit this is the answer after the payload, and the connection is over.
    Answered(Answer),
    /// It answered with an error. The connection can be used on, unless it is the answer after the payload of a submit,
    /// or stands in place of the greeting (a service that takes no more connections).
    Refused(Refused),
    /// It made a unit and waits for the payload and the end of the sending half; then call
    /// [`Client::payload_sent`].
    Created {
        /// Identifier of the unit.
        unit: String,
    },
    /// Results follow until the server closes: [`Client::take_buffered`], then the connection itself.
    Streaming {
        /// Identifier of the unit.
        unit: String,
    },
    /// Frames follow until the server closes (see [`follow`](super::follow)): [`Client::take_buffered`], then the
    /// connection itself.
    Following {
        /// Identifier of the unit.
        unit: String,
    },
    /// The connection now leads to the service asked for: [`Client::greet_again`] if that is a control service, or
    /// [`Client::take_buffered`], then the connection itself.
    Connected,
}

/// Why the dialogue cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The first line is not that of a control service, or there is none.
    #[error("Failed to connect to Receptor socket")]
    NoBanner,
    /// A line is longer than the limit.
    #[error("the server sent a line of more than {limit} bytes")]
    LineTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The connection ended before the answer.
    #[error("the connection was closed before the answer")]
    Closed,
    /// A line that answers nothing, or not what was asked.
    #[error("the server answered with something unknown: {0}")]
    Unexpected(String),
    /// A command while the answer to the one before is awaited, or on a connection that is over.
    #[error("a command is not possible now")]
    NotNow,
}

/// What the next line means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaiting {
    Banner,
    /// Nothing: a command may be given.
    Command,
    Answer,
    Created,
    /// The driver sends the payload.
    PayloadSent,
    SubmitAnswer,
    Header,
    FollowHeader,
    Connecting,
    /// Raw bytes, or the end.
    Nothing,
}

/// One connection to a control service, seen from the client.
#[derive(Debug)]
pub struct Client {
    lines: Lines,
    awaiting: Awaiting,
    ended: bool,
    max_answer_bytes: usize,
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// A connection just opened, on which the greeting is awaited.
    pub fn new() -> Self {
        Self {
            lines: Lines::default(),
            awaiting: Awaiting::Banner,
            ended: false,
            max_answer_bytes: DEFAULT_MAX_ANSWER_BYTES,
        }
    }

    /// Takes answers of at most `bytes` instead of [`DEFAULT_MAX_ANSWER_BYTES`].
    #[must_use]
    pub fn with_max_answer_bytes(mut self, bytes: usize) -> Self {
        self.max_answer_bytes = bytes;
        self
    }

    /// Tells of bytes that arrived. Ask for events after each call, so that a line without end is noticed.
    pub fn handle_input(&mut self, bytes: &[u8]) {
        self.lines.push(bytes);
    }

    /// Tells that the server has closed its sending half.
    pub fn handle_end(&mut self) {
        self.ended = true;
    }

    /// The next thing that the server said; `None` if more input is needed, or nothing is awaited.
    ///
    /// # Errors
    /// If the line is too long, is not what must stand here, or can no longer come.
    pub fn poll_event(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            let limit = match self.awaiting {
                Awaiting::Command | Awaiting::PayloadSent | Awaiting::Nothing => return Ok(None),
                Awaiting::Banner => MAX_BANNER_BYTES,
                _ => self.max_answer_bytes,
            };
            let line = match self.lines.take(limit, self.ended) {
                Ok(Some(line)) => line,
                Ok(None) if self.ended => return Err(self.cut_off()),
                Ok(None) => return Ok(None),
                Err(lines::TooLong) if self.awaiting == Awaiting::Banner => {
                    return Err(ClientError::NoBanner);
                }
                Err(lines::TooLong) => return Err(ClientError::LineTooLong { limit }),
            };
            let text = json::decode_lossy(&line);
            let text = text.trim();
            // No answer is empty; an error text that ends in a line feed leaves an empty line behind it.
            if !text.is_empty() || self.awaiting == Awaiting::Banner {
                return self.understand(text).map(Some);
            }
        }
    }

    /// The bytes that give a command. Exactly one answer follows.
    ///
    /// # Errors
    /// Before the greeting, while an answer is awaited, and when the connection is over.
    pub fn command(&mut self, request: &Request) -> Result<String, ClientError> {
        if self.awaiting != Awaiting::Command {
            return Err(ClientError::NotNow);
        }
        self.awaiting = match request {
            Request::Connect { .. } => Awaiting::Connecting,
            Request::Work(WorkRequest::Submit(_)) => Awaiting::Created,
            Request::Work(WorkRequest::Results(_)) => Awaiting::Header,
            Request::Work(WorkRequest::Follow(_)) => Awaiting::FollowHeader,
            _ => Awaiting::Answer,
        };
        Ok(request.to_line())
    }

    /// Tells that the payload has been sent whole and the sending half closed.
    ///
    /// # Errors
    /// If no unit waits for its payload.
    pub fn payload_sent(&mut self) -> Result<(), ClientError> {
        self.turn(Awaiting::PayloadSent, Awaiting::SubmitAnswer)
    }

    /// Tells that the service on the other end, after [`Event::Connected`], greets as a control service does.
    ///
    /// Before [`take_buffered`](Self::take_buffered), as the greeting may be among what is buffered.
    ///
    /// # Errors
    /// If the connection has not just been made.
    pub fn greet_again(&mut self) -> Result<(), ClientError> {
        self.turn(Awaiting::Nothing, Awaiting::Banner)
    }

    /// Whether a command may be given now.
    pub fn is_idle(&self) -> bool {
        self.awaiting == Awaiting::Command
    }

    /// What arrived beyond the last line: the first bytes of results or of a bridged connection.
    pub fn take_buffered(&mut self) -> Vec<u8> {
        self.lines.take_rest()
    }

    fn turn(&mut self, from: Awaiting, to: Awaiting) -> Result<(), ClientError> {
        if self.awaiting != from {
            return Err(ClientError::NotNow);
        }
        self.awaiting = to;
        Ok(())
    }

    fn cut_off(&self) -> ClientError {
        match self.awaiting {
            Awaiting::Banner => ClientError::NoBanner,
            _ => ClientError::Closed,
        }
    }

    /// Gives a line its meaning and turns to what comes after it.
    fn understand(&mut self, line: &str) -> Result<Event, ClientError> {
        let unexpected = || ClientError::Unexpected(line.to_owned());
        if let Some(refused) = Refused::read(line) {
            self.awaiting = match self.awaiting {
                Awaiting::Banner | Awaiting::SubmitAnswer => Awaiting::Nothing,
                _ => Awaiting::Command,
            };
            return Ok(Event::Refused(refused));
        }
        let (event, next) = match self.awaiting {
            Awaiting::Banner => {
                let node = between(line, "Receptor Control, node ", "").ok_or(ClientError::NoBanner)?;
                (Event::Greeted { node }, Awaiting::Command)
            }
            Awaiting::Created => {
                let unit = between(line, "Work unit created with ID ", ". Send stdin data and EOF.");
                (Event::Created { unit: unit.ok_or_else(unexpected)? }, Awaiting::PayloadSent)
            }
            Awaiting::Header => {
                let unit = between(line, "Streaming results for work unit ", "").ok_or_else(unexpected)?;
                (Event::Streaming { unit }, Awaiting::Nothing)
            }
            Awaiting::FollowHeader => {
                let unit = between(line, "Following work unit ", "").ok_or_else(unexpected)?;
                (Event::Following { unit }, Awaiting::Nothing)
            }
            Awaiting::Connecting if line.starts_with("Connecting") => (Event::Connected, Awaiting::Nothing),
            Awaiting::Answer | Awaiting::SubmitAnswer => {
                let next = if self.awaiting == Awaiting::Answer { Awaiting::Command } else { Awaiting::Nothing };
                (Event::Answered(Answer::read(line).ok_or_else(unexpected)?), next)
            }
            _ => return Err(unexpected()),
        };
        self.awaiting = next;
        Ok(event)
    }
}

/// What stands between `start` and `end` where `line` has both and something between them.
fn between(line: &str, start: &str, end: &str) -> Option<String> {
    let inner = line.strip_prefix(start)?.strip_suffix(end)?;
    (!inner.is_empty()).then(|| inner.to_owned())
}

#[cfg(test)]
mod tests;

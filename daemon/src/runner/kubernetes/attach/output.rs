//! A session for what the worker writes from now on, and nothing else.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Message;

use super::{
    AttachError, Target,
    choice::Socket,
    websocket::{self, ERROR, STDERR, STDOUT},
    word::Word,
};

/// Between two pings. The API server answers each: it reads from a session without stdin whatever the process does.
const PINGS: Duration = Duration::from_secs(20);
/// After so long without any message the connection is dead.
const DEAD: Duration = Duration::from_secs(50);

/// Where a piece of output comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

/// A session that is listened to.
pub(crate) struct OutputSession {
    socket: Socket,
    heard: Instant,
    ping_at: Instant,
}

/// How a session ended.
#[derive(Debug)]
pub(crate) enum OutputEnd {
    /// With the process: all that it wrote since the session was there has come.
    Whole,
    /// In other words than these nothing is known.
    Broken(String),
}

impl OutputSession {
    /// Attaches to stdout and stderr.
    pub(crate) async fn open(target: &Target<'_>) -> Result<Self, AttachError> {
        let socket = websocket::open_output(target, "stdout=true&stderr=true").await?;
        let now = Instant::now();
        Ok(Self { socket, heard: now, ping_at: now + PINGS })
    }

    /// The next piece of output, or the end. May be dropped and asked again.
    pub(crate) async fn next(&mut self) -> Result<(Source, Bytes), OutputEnd> {
        loop {
            let message = tokio::select! {
                biased;
                message = self.socket.next() => message,
                () = sleep_until(self.ping_at) => {
                    if self.heard.elapsed() >= DEAD {
                        return Err(OutputEnd::Broken("the API server does not answer".to_owned()));
                    }
                    self.ping_at = Instant::now() + PINGS;
                    if let Err(fault) = self.socket.send(Message::Ping(Bytes::new())).await {
                        return Err(OutputEnd::Broken(fault.to_string()));
                    }
                    continue;
                }
            };
            self.heard = Instant::now();
            let (channel, bytes) = match websocket::read(message) {
                Ok(Some(message)) => message,
                Ok(None) => continue,
                Err(word) => return Err(word.into()),
            };
            match channel {
                STDOUT if !bytes.is_empty() => return Ok((Source::Stdout, bytes)),
                STDERR if !bytes.is_empty() => return Ok((Source::Stderr, bytes)),
                ERROR => {
                    if let Some(word) = Word::read(&bytes) {
                        return Err(word.into());
                    }
                }
                _ => {}
            }
        }
    }
}

impl From<Word> for OutputEnd {
    fn from(word: Word) -> Self {
        match word {
            Word::Success => Self::Whole,
            Word::Closed => Self::Broken("the server closed the session without a word".to_owned()),
            Word::Failure(words) | Word::Broken(words) => Self::Broken(words),
        }
    }
}

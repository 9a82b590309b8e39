//! A payload on its way through a session, whatever carries it.

use std::time::Duration;

use bytes::Bytes;
use tokio::{sync::watch, time::timeout};

use super::{
    Delivery,
    payload::Payload,
    word::{Fault, Word},
};

/// Bytes between two words on how far the payload came.
const NOTE: u64 = 16 * 1024 * 1024;
/// How long the server's last words are waited for after it no longer takes anything.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The half of a session that sends. Errors are words for people.
pub(super) trait Mouth {
    /// Most bytes of payload in one message.
    const CHUNK: usize;

    /// True if the session goes on after the end of stdin, and then says what became of it. Else the end of the one is
    /// the end of the other.
    fn ends_stdin_alone(&self) -> bool;

    /// Sends so much of the payload, one to [`Mouth::CHUNK`] bytes.
    async fn send(&mut self, chunk: Bytes) -> Result<(), String>;

    /// Sees to it that what was sent is on its way.
    async fn flush(&mut self) -> Result<(), String>;

    /// Ends stdin.
    async fn end(&mut self) -> Result<(), String>;

    /// After the end of stdin: keeps the session alive until it breaks, and says what broke it.
    async fn stay(&mut self) -> String;
}

/// How far the payload came.
pub(super) struct Progress {
    /// Bytes of the messages that went out whole.
    pub(super) sent: u64,
    /// The first message may have gone out in part.
    pub(super) begun: bool,
    /// Told of every byte, woken now and then.
    told: watch::Sender<u64>,
    woken: u64,
}

impl Progress {
    pub(super) fn new(told: watch::Sender<u64>) -> Self {
        Self { sent: 0, begun: false, told, woken: 0 }
    }

    fn tell(&mut self) {
        let wake = self.sent - self.woken >= NOTE;
        if wake {
            self.woken = self.sent;
        }
        self.told.send_if_modified(|told| {
            *told = self.sent;
            wake
        });
    }
}

/// Both directions at once. The server's words count for more than a write that failed: they say why.
pub(super) async fn pump(
    mut mouth: impl Mouth,
    heard: impl Future<Output = Word>,
    payload: &Payload,
    progress: &mut Progress,
) -> Result<Delivery, Fault> {
    let mut heard = std::pin::pin!(heard);
    let told = tokio::select! {
        biased;
        word = &mut heard => {
            return match word {
                // Before the last byte was out.
                Word::Success => Ok(Delivery::Unread),
                word => word.into_fault(),
            };
        }
        told = tell(&mut mouth, payload, progress) => told,
    };
    match told {
        Ok(()) => {
            let word = tokio::select! {
                biased;
                word = &mut heard => word,
                broken = mouth.stay() => timeout(LAST_WORDS, heard).await.unwrap_or(Word::Broken(broken)),
            };
            match word {
                Word::Success => Ok(Delivery::HandedOver),
                // v4 ends stdin by ending the session; what was sent before has arrived (kubernetes-streams 1.4).
                Word::Closed if !mouth.ends_stdin_alone() => Ok(Delivery::HandedOver),
                word => word.into_fault(),
            }
        }
        Err(Fault::Broken(message)) => match timeout(LAST_WORDS, heard).await {
            Ok(Word::Success) => Ok(Delivery::Unread),
            Ok(Word::Failure(words)) => Word::Failure(words).into_fault(),
            _ => Err(Fault::Broken(message)),
        },
        Err(fault) => Err(fault),
    }
}

/// Sends the payload and the end of stdin.
async fn tell<M: Mouth>(mouth: &mut M, payload: &Payload, progress: &mut Progress) -> Result<(), Fault> {
    while progress.sent < payload.length() {
        let mut block = payload.block(progress.sent).await.map_err(Fault::Payload)?;
        while !block.is_empty() {
            let chunk = block.split_to(block.len().min(M::CHUNK));
            let count = u64::try_from(chunk.len()).unwrap_or_default();
            progress.begun = true;
            mouth.send(chunk).await.map_err(Fault::Broken)?;
            progress.sent += count;
        }
        progress.tell();
    }
    mouth.end().await.map_err(Fault::Broken)
}

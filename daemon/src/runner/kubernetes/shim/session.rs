//! One attach.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use worknode_protocol::unit::{Detail, State};
use worknode_shim::{
    client::{Broken, Client, Heard, Tell},
    wire::{Decoder, Frame},
};

use super::{Fault, Shim, Stdout, program};
use crate::runner::kubernetes::{
    attach::{self, AttachError, Ear, Voice},
    record::{Journal, Step},
};

/// Bytes put together before they are sent.
const MESSAGE: usize = 64 * 1024;
/// Messages on their way from one half of a session to the other.
const QUEUE: usize = 2;
/// After so long a silence the other side is asked whether it is there. Runtimes and proxies end silent streams, too.
const ASK: Duration = Duration::from_secs(5);
/// After so long a silence it is not.
const GONE: Duration = Duration::from_secs(30);
/// How often a program may arrive broken in one session, where nothing else is: then the image cannot take or run it.
const TORN: u32 = 2;

/// Why there is to be another session, if the worker is not over.
#[derive(Debug)]
pub(super) enum SessionEnd {
    /// It broke, ended or did not begin.
    Attach(AttachError),
    /// Nobody answered.
    Silent,
}

/// A session about to begin.
pub(super) struct Session<'a> {
    pub(super) shim: &'a Shim<'a>,
    pub(super) journal: &'a mut Journal,
    pub(super) stdout: &'a mut Stdout,
    /// Set when the helper answers.
    pub(super) begun: &'a mut bool,
}

/// The part of the payload that was last read.
#[derive(Default)]
struct Block {
    at: u64,
    bytes: Bytes,
}

impl Session<'_> {
    /// Attaches and talks until the session is of no use any more.
    pub(super) async fn run(mut self) -> Result<SessionEnd, Fault> {
        let (voice, ear) = match attach::open_duplex(&self.shim.target).await {
            Ok(session) => session,
            Err(fault) => return Ok(SessionEnd::Attach(fault)),
        };
        let (messages, to_send) = mpsc::channel(QUEUE);
        tokio::select! {
            end = self.converse(ear, messages) => end,
            words = speak(voice, to_send) => Ok(broken(words)),
        }
    }

    async fn converse(&mut self, mut ear: Ear, messages: mpsc::Sender<Bytes>) -> Result<SessionEnd, Fault> {
        let record = self.journal.record();
        let mut client = Client::new(record.session, self.shim.payload.length(), self.stdout.length());
        let mut decoder = Decoder::default();
        let mut block = Block::default();
        let mut message = Bytes::new();
        let mut heard = Instant::now();
        let mut ask_at = heard + ASK;
        let mut torn = 0;
        let mut code = None;
        let mut asked = false;
        loop {
            if message.is_empty() {
                message = self.compose(&mut client, &mut block, asked).await?;
            }
            tokio::select! {
                Ok(permit) = messages.reserve(), if !message.is_empty() => permit.send(std::mem::take(&mut message)),
                bytes = ear.next() => {
                    let bytes = match bytes {
                        Ok(bytes) => bytes,
                        Err(fault) => return Ok(SessionEnd::Attach(fault)),
                    };
                    heard = Instant::now();
                    ask_at = heard + ASK;
                    decoder.push(&bytes);
                    while let Some(line) = decoder.next_line() {
                        match client.hear(line) {
                            Ok(Heard::Output(bytes)) => self.stdout.push(&bytes),
                            Ok(Heard::Welcome) => *self.begun = true,
                            Ok(Heard::End(ended)) => code = Some(ended),
                            Ok(Heard::Torn) => torn += 1,
                            Ok(Heard::Nothing) => {}
                            Err(Broken::Gap) => return Ok(broken("a piece of the output is missing".to_owned())),
                            Err(Broken::Lost { from, .. }) => return Err(Fault::Lost(from)),
                        }
                    }
                    if torn >= TORN {
                        return Err(Fault::NotReceived);
                    }
                    self.note_input(&client).await?;
                }
                written = self.stdout.progress() => {
                    written.map_err(Fault::Output)?;
                    client.durable(self.stdout.length());
                }
                () = sleep_until(ask_at) => {
                    if heard.elapsed() >= GONE {
                        return Ok(SessionEnd::Silent);
                    }
                    ask_at = Instant::now() + ASK;
                    if client.is_welcome() {
                        client.ping();
                    } else {
                        asked = true;
                        client.ask();
                    }
                }
            }
            if let Some(ended) = code
                && self.stdout.is_settled()
            {
                code = None;
                // Before the helper goes: afterwards nobody could say it.
                let noted = self.journal.note(|record| record.job_code = Some(ended));
                noted.await.map_err(Fault::Record)?;
                client.finish();
            }
        }
    }

    /// Writes down, once, that the job was given all of its payload.
    async fn note_input(&mut self, client: &Client) -> Result<(), Fault> {
        if !client.input_is_over() || self.journal.record().step >= Step::StdinSent {
            return Ok(());
        }
        let length = self.shim.payload.length();
        let noted = self.journal.note(|record| {
            record.step = Step::StdinSent;
            record.stdin_sent = length;
        });
        noted.await.map_err(Fault::Record)?;
        self.shim.report(State::Running, Detail::PodRunning).await;
        Ok(())
    }

    /// Puts together what is to be sent now.
    async fn compose(&self, client: &mut Client, block: &mut Block, asked: bool) -> Result<Bytes, Fault> {
        let mut message = Vec::new();
        while message.len() < MESSAGE
            && let Some(tell) = client.tell()
        {
            let frame = match tell {
                Tell::Frame(frame) => frame,
                Tell::Input { at, length } => Frame::Input { at, bytes: self.payload(block, at, length).await? },
                Tell::Question => {
                    program::question(asked, &mut message);
                    continue;
                }
                Tell::Program => {
                    program::program(&mut message);
                    continue;
                }
            };
            frame.encode(self.journal.record().session, &mut message);
        }
        Ok(message.into())
    }

    async fn payload(&self, block: &mut Block, at: u64, length: usize) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let from = at + u64::try_from(bytes.len()).unwrap_or_default();
            let skip = from.checked_sub(block.at).and_then(|skip| usize::try_from(skip).ok());
            match skip.and_then(|skip| block.bytes.get(skip..)).filter(|rest| !rest.is_empty()) {
                Some(rest) => bytes.extend_from_slice(rest.get(..length - bytes.len()).unwrap_or(rest)),
                None => {
                    *block = Block { at: from, bytes: self.shim.payload.block(from).await.map_err(Fault::Payload)? };
                }
            }
        }
        Ok(bytes)
    }
}

/// Sends until it cannot; returns why.
async fn speak(mut voice: Voice, mut messages: mpsc::Receiver<Bytes>) -> String {
    while let Some(message) = messages.recv().await {
        if let Err(words) = voice.send(message).await {
            return words;
        }
    }
    std::future::pending().await
}

fn broken(message: String) -> SessionEnd {
    SessionEnd::Attach(AttachError::Cut { sent: 0, message })
}

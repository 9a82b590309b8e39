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
/// Most bytes of output that wait for the disk: what the helper may have under way, and some more.
const BACKLOG: usize = 4 * 1024 * 1024;
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

/// What is known in the course of a session.
struct Talk {
    client: Client,
    decoder: Decoder,
    block: Block,
    /// When the other side was last heard, and when it is to be asked for a sign of life.
    heard: Instant,
    ask_at: Instant,
    /// It did not answer the first question.
    asked: bool,
    /// Programs that did not arrive whole.
    torn: u32,
    /// The job's exit code; all of its output has come, and is on its way to the disk.
    code: Option<i32>,
}

impl Talk {
    fn new(session: u64, payload: u64, output: u64) -> Self {
        let heard = Instant::now();
        Self {
            client: Client::new(session, payload, output),
            decoder: Decoder::default(),
            block: Block::default(),
            heard,
            ask_at: heard + ASK,
            asked: false,
            torn: 0,
            code: None,
        }
    }

    /// Takes what came.
    fn hear(&mut self, bytes: &[u8], stdout: &mut Stdout) -> Result<(), Broken> {
        self.heard = Instant::now();
        self.ask_at = self.heard + ASK;
        self.decoder.push(bytes);
        while let Some(line) = self.decoder.next_line() {
            match self.client.hear(line)? {
                Heard::Output(bytes) => stdout.push(&bytes),
                Heard::End(code) => self.code = Some(code),
                Heard::Torn => self.torn += 1,
                Heard::Welcome | Heard::Nothing => {}
            }
        }
        Ok(())
    }

    /// Nothing has come for a while. False: for too long.
    fn remind(&mut self) -> bool {
        self.ask_at = Instant::now() + ASK;
        if self.client.is_welcome() {
            self.client.ping();
        } else {
            self.asked = true;
            self.client.ask();
        }
        self.heard.elapsed() < GONE
    }
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
        let number = self.journal.record().session;
        let mut talk = Talk::new(number, self.shim.payload.length(), self.stdout.length());
        let mut message = Bytes::new();
        loop {
            if message.is_empty() {
                message = self.compose(&mut talk, number).await?;
            }
            tokio::select! {
                Ok(permit) = messages.reserve(), if !message.is_empty() => permit.send(std::mem::take(&mut message)),
                // The helper waits for what it sent to be acknowledged; whoever else may write there does not.
                bytes = ear.next(), if self.stdout.backlog() <= BACKLOG => {
                    let bytes = match bytes {
                        Ok(bytes) => bytes,
                        Err(fault) => return Ok(SessionEnd::Attach(fault)),
                    };
                    match talk.hear(&bytes, self.stdout) {
                        Ok(()) if talk.torn >= TORN => return Err(Fault::NotReceived),
                        Ok(()) => {}
                        Err(Broken::Gap) => return Ok(broken("a piece of the output is missing".to_owned())),
                        Err(Broken::Lost { from, .. }) => return Err(Fault::Lost(from)),
                    }
                    *self.begun |= talk.client.is_welcome();
                }
                written = self.stdout.progress() => {
                    written.map_err(Fault::Output)?;
                    talk.client.durable(self.stdout.length());
                }
                () = sleep_until(talk.ask_at) => {
                    if !talk.remind() {
                        return Ok(SessionEnd::Silent);
                    }
                }
            }
            self.note(&mut talk).await?;
        }
    }

    /// Writes down, once each, that the job was given all of its payload, and that it is over.
    async fn note(&mut self, talk: &mut Talk) -> Result<(), Fault> {
        if talk.client.input_is_over() && self.journal.record().step < Step::StdinSent {
            let length = self.shim.payload.length();
            let noted = self.journal.note(|record| {
                record.step = Step::StdinSent;
                record.stdin_sent = length;
            });
            noted.await.map_err(Fault::Record)?;
            self.shim.report(State::Running, Detail::PodRunning).await;
        }
        if self.stdout.is_settled()
            && let Some(code) = talk.code.take()
        {
            // Before the helper goes: afterwards nobody could say it.
            self.journal.note(|record| record.job_code = Some(code)).await.map_err(Fault::Record)?;
            talk.client.finish();
        }
        Ok(())
    }

    /// Puts together what is to be sent now.
    async fn compose(&self, talk: &mut Talk, number: u64) -> Result<Bytes, Fault> {
        let mut message = Vec::new();
        while message.len() < MESSAGE
            && let Some(tell) = talk.client.tell()
        {
            match tell {
                Tell::Frame(frame) => frame.encode(number, &mut message),
                Tell::Input { at, length } => {
                    let bytes = self.payload(&mut talk.block, at, length).await?;
                    Frame::Input { at, bytes }.encode(number, &mut message);
                }
                Tell::Question => program::question(talk.asked, &mut message),
                Tell::Program => program::program(&mut message),
            }
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
    SessionEnd::Attach(AttachError::cut_before_the_first_byte(message))
}

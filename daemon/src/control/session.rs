//! One client's session: banner, then command after command until the client ends it or a command takes the connection
//! over (control-protocol 2.3).

use std::{io, sync::Arc};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use tracing::debug;
use worknode_protocol::control::{Parsed, Request, SessionError, SubmitError, banner, error_line, parse};

use super::{
    Context,
    access::Access,
    commands::{self, Next},
    stream::ControlStream,
    takeover::Takeover,
};

/// Bytes asked of the socket at a time while a command line is read.
const READ: usize = 8 * 1024;

/// Serves one client. Returns when the connection is done with; the stream is closed by then.
pub async fn serve(stream: ControlStream, access: Access, context: Arc<Context>, stop: CancellationToken) {
    let session = Session { stream, access, context, buffer: BytesMut::new(), scanned: 0 };
    if let Err(fault) = session.run(stop).await {
        debug!("control session ended: {fault}");
    }
}

struct Session {
    stream: ControlStream,
    access: Access,
    context: Arc<Context>,
    /// What was read and not yet used.
    buffer: BytesMut,
    /// Bytes of the buffer known to hold no line feed.
    scanned: usize,
}

/// What a client's next line is.
enum Line {
    /// A line without its line feed. `last`: the client has ended its side.
    Command { line: BytesMut, last: bool },
    /// Longer than allowed.
    TooLong,
    /// End of file, or the daemon leaves.
    End,
}

impl Session {
    async fn run(mut self, stop: CancellationToken) -> io::Result<()> {
        self.stream.write_all(banner(&self.context.node).as_bytes()).await?;
        self.stream.flush().await?;
        loop {
            let (line, last) = match self.next_line(&stop).await? {
                Line::Command { line, last } => (line, last),
                Line::TooLong => {
                    let limit = self.context.limits.command_line_bytes;
                    self.answer(&error_line(&SessionError::LineTooLong { limit })).await?;
                    return self.stream.close(&stop).await;
                }
                Line::End => break,
            };
            let answer = match parse(&line) {
                Parsed::Nothing => String::new(),
                Parsed::Refused(refusal) => refusal.to_lines(),
                Parsed::Request(request) => match self.carry_out(request).await {
                    Next::Answer(answer) => answer,
                    Next::TakeOver(takeover) => {
                        return takeover.run(self.stream, self.buffer, &self.context, &stop).await;
                    }
                },
            };
            if !answer.is_empty() {
                self.answer(&answer).await?;
            }
            if last {
                break;
            }
        }
        self.stream.shutdown().await
    }

    /// Carries out what this client may have carried out.
    async fn carry_out(&self, request: Request) -> Next {
        if let Err(denied) = self.access.check(&request, &self.context).await {
            return Next::Answer(error_line(&denied));
        }
        let next = commands::run(request, self.access.carrier(), &self.context).await;
        let Next::TakeOver(Takeover::Submit { unit, .. }) = &next else { return next };
        match self.access.claim(unit).await {
            Ok(()) => next,
            Err(fault) => {
                // Nobody was told of it, and nothing was started.
                let _ = unit.release(true).await;
                Next::Answer(error_line(&SubmitError::Store(fault.to_string())))
            }
        }
    }

    /// Sends whole lines.
    async fn answer(&mut self, lines: &str) -> io::Result<()> {
        self.stream.write_all(lines.as_bytes()).await?;
        self.stream.flush().await
    }

    /// Reads up to the next line feed. What follows it stays in the buffer: it may be a payload.
    async fn next_line(&mut self, stop: &CancellationToken) -> io::Result<Line> {
        let limit = self.context.limits.command_line_bytes;
        loop {
            let fresh = self.buffer.get(self.scanned..).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|byte| *byte == b'\n') {
                let mut line = self.buffer.split_to(self.scanned + at + 1);
                self.scanned = 0;
                line.truncate(line.len() - 1);
                return Ok(if line.len() > limit { Line::TooLong } else { Line::Command { line, last: false } });
            }
            self.scanned = self.buffer.len();
            if self.scanned > limit {
                return Ok(Line::TooLong);
            }
            self.buffer.reserve(READ);
            let read = tokio::select! {
                biased;
                read = self.stream.read_buf(&mut self.buffer) => read?,
                () = stop.cancelled() => return Ok(Line::End),
            };
            if read == 0 {
                self.scanned = 0;
                let line = self.buffer.split();
                return Ok(if line.is_empty() { Line::End } else { Line::Command { line, last: true } });
            }
        }
    }
}

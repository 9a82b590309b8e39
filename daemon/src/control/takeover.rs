//! The commands that take a connection over: a payload follows, output streams, or bytes are bridged.

use std::{io, sync::Arc};

use bytes::BytesMut;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio_util::sync::CancellationToken;
use tracing::debug;
use worknode_protocol::{
    control::{CONNECTING, SessionError, SubmitAnswer, SubmitError, created, error_line, follow::following, streaming},
    unit::Detail,
};

use super::{
    Context,
    spool::{self, SpoolFault},
    stream::{ControlStream, Duplex},
};
use crate::{
    runner::Started,
    work::{results, signature::Pledge, unit::UnitHandle},
};

/// What becomes of a connection that is no longer the session's.
pub enum Takeover {
    /// The payload of a new unit follows.
    Submit {
        /// The unit.
        unit: UnitHandle,
        /// What the payload has to be.
        pledge: Pledge,
    },
    /// The output of a unit is streamed.
    Results {
        /// The unit.
        unit: UnitHandle,
        /// The first byte wanted.
        start: i64,
    },
    /// All that becomes of a unit is told.
    Follow {
        /// The unit.
        unit: UnitHandle,
        /// The first byte of its output wanted.
        start: i64,
    },
    /// The connection becomes a stream to another service.
    Connect(Box<dyn Duplex>),
}

impl Takeover {
    /// Uses the connection up. `rest` was read from it already.
    ///
    /// # Errors
    /// The client's connection broke.
    pub async fn run(
        self,
        stream: ControlStream,
        rest: BytesMut,
        context: &Arc<Context>,
        stop: &CancellationToken,
    ) -> io::Result<()> {
        match self {
            Self::Submit { unit, pledge } => receive_and_start(unit, pledge, stream, rest, stop).await,
            Self::Results { unit, start } => stream_results(&unit, start, stream, context, stop).await,
            Self::Follow { unit, start } => follow(&unit, start, stream, context, stop).await,
            Self::Connect(far) => bridge(far, stream, rest, stop).await,
        }
    }
}

/// Stores the payload, starts the unit, answers, closes.
async fn receive_and_start(
    unit: UnitHandle,
    pledge: Pledge,
    mut stream: ControlStream,
    rest: BytesMut,
    stop: &CancellationToken,
) -> io::Result<()> {
    let greeted = greet(&mut stream, &created(unit.id())).await;
    if let Err(fault) = greeted {
        unit.fail(Detail::ErrorReadingInputData(fault.to_string())).await;
        return Err(fault);
    }
    let payload = unit.dir().stdin();
    // A payload that is still to be held against a signature goes nowhere before it is whole.
    let early = if pledge.is_for_a_payload() { None } else { unit.begin_early().await };
    let received = tokio::select! {
        biased;
        received = spool::receive(&mut stream, rest, payload, early.as_ref().map(|early| &early.upload)) => received,
        () = stop.cancelled() => {
            stream.write_all(error_line(&SessionError::ShuttingDown).as_bytes()).await?;
            return stream.shutdown().await;
        }
    };
    let answer = match received {
        Ok(bytes) => {
            debug!("unit {}: payload of {bytes} bytes", unit.id());
            let started = match early {
                Some(early) => unit.seal(early).await.map_err(|fault| SubmitError::Start(fault.to_string())),
                None => start(&unit, pledge).await,
            };
            match started {
                Ok(Started::Now) => SubmitAnswer::Started.to_line(unit.id()),
                Ok(Started::Later) => SubmitAnswer::Submitted.to_line(unit.id()),
                Err(fault) => error_line(&fault),
            }
        }
        Err(fault) => {
            unit.fail(Detail::ErrorReadingInputData(fault.to_string())).await;
            if matches!(fault, SpoolFault::Abandoned | SpoolFault::Read(_)) {
                return Ok(());
            }
            error_line(&SubmitError::Payload(Detail::ErrorReadingInputData(fault.to_string()).to_string()))
        }
    };
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Starts a unit whose payload is whole, if it is the one that was signed.
async fn start(unit: &UnitHandle, pledge: Pledge) -> Result<Started, SubmitError> {
    if let Err(fault) = pledge.check(unit.dir().stdin()).await {
        unit.fail(Detail::ErrorStartingWorker(fault.to_string())).await;
        return Err(fault.into());
    }
    unit.start().await.map_err(|fault| SubmitError::Start(fault.to_string()))
}

async fn greet(stream: &mut ControlStream, line: &str) -> io::Result<()> {
    stream.write_all(line.as_bytes()).await?;
    stream.flush().await
}

async fn stream_results(
    unit: &UnitHandle,
    start: i64,
    mut stream: ControlStream,
    context: &Context,
    stop: &CancellationToken,
) -> io::Result<()> {
    greet(&mut stream, &streaming(unit.id())).await?;
    let mut sender = stream.into_sender()?;
    tokio::select! {
        biased;
        done = results::stream(unit, start, &context.events, &mut sender) => done?,
        () = stop.cancelled() => {}
    }
    sender.stream().close(stop).await
}

async fn follow(
    unit: &UnitHandle,
    start: i64,
    mut stream: ControlStream,
    context: &Context,
    stop: &CancellationToken,
) -> io::Result<()> {
    greet(&mut stream, &following(unit.id())).await?;
    let mut sender = stream.into_sender()?;
    tokio::select! {
        biased;
        done = results::follow(unit, start, &context.events, &mut sender) => done?,
        () = stop.cancelled() => {}
    }
    sender.stream().shutdown().await
}

async fn bridge(
    mut far: Box<dyn Duplex>,
    mut stream: ControlStream,
    rest: BytesMut,
    stop: &CancellationToken,
) -> io::Result<()> {
    greet(&mut stream, CONNECTING).await?;
    far.write_all(&rest).await?;
    tokio::select! {
        biased;
        done = copy_bidirectional(&mut stream, &mut far) => done.map(drop),
        () = stop.cancelled() => Ok(()),
    }
}

//! The worker's log: the only source of a unit's output. This is the I/O around [`Follower`], which decides everything.

use std::{future::Future, io, pin::Pin};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    client::{self, Api, ApiError},
    follower::{Follower, Order, Request, Slot, Trouble, Verdict, Worker},
    output::Output,
    pod::WORKER,
    position::Gap,
    retry::Patience,
};

/// Bytes collected before they are written, where more are there already. Two such batches are held for each log.
const BATCH: usize = 256 * 1024;
/// The same where many logs are followed.
const SMALL_BATCH: usize = 32 * 1024;

/// Why the output is not complete.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The log could not be had.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// `stdout` could not be written.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// The log of one worker.
pub(crate) struct Log<'a> {
    pub(crate) api: &'a Api,
    pub(crate) namespace: &'a str,
    pub(crate) pod: &'a str,
    pub(crate) patience: Patience,
}

/// A request on its way, or its answer.
#[derive(Default)]
enum Channel<'a> {
    #[default]
    Idle,
    Asked(Pin<Box<dyn Future<Output = Result<Body, ApiError>> + Send + 'a>>),
    Answer(Body),
}

/// What comes from a channel.
enum Event {
    Answered,
    Data(Bytes),
    End,
    Failed(ApiError),
}

impl Log<'_> {
    /// Appends the log to `output` until the worker is over and nothing more comes. Answers what rotation took.
    pub(crate) async fn follow(
        &self,
        output: &mut Output,
        mut worker: watch::Receiver<Worker>,
    ) -> Result<Vec<Gap>, LogError> {
        let mut follower = Follower::new(output.position().clone(), output.notes().clone(), self.patience);
        let crowd = self.api.follows_log();
        let begin = Instant::now();
        let (mut stream, mut side) = (Channel::Idle, Channel::Idle);
        // The last trouble of each, for the unit's detail.
        let mut troubles = [None, None];
        let seen = *worker.borrow_and_update();
        follower.worker(seen, begin.elapsed());
        let verdict = loop {
            while let Some(order) = follower.next_order() {
                match order {
                    Order::Open(Slot::Stream, request) => stream = self.ask(request),
                    Order::Open(Slot::Side, request) => side = self.ask(request),
                    Order::Close(Slot::Stream) => stream = Channel::Idle,
                    Order::Close(Slot::Side) => side = Channel::Idle,
                }
            }
            if let Some(verdict) = follower.verdict() {
                break verdict;
            }
            let deadline = follower.deadline().and_then(|at| begin.checked_add(at));
            let (slot, event) = tokio::select! {
                biased;
                // Fails when the watcher has failed: then this is dropped, too.
                Ok(()) = worker.changed() => {
                    let seen = *worker.borrow_and_update();
                    follower.spare(crowd.is_large());
                    follower.worker(seen, begin.elapsed());
                    continue;
                }
                event = side.next(), if !side.is_idle() => (Slot::Side, event),
                event = stream.next(), if !stream.is_idle() && follower.reads(Slot::Stream) => (Slot::Stream, event),
                () = at(deadline) => {
                    follower.tick(begin.elapsed());
                    continue;
                }
            };
            let channel = if slot == Slot::Stream { &mut stream } else { &mut side };
            let trouble = if slot == Slot::Stream { &mut troubles[0] } else { &mut troubles[1] };
            let batch = if crowd.is_large() { SMALL_BATCH } else { BATCH };
            self.take(&mut follower, slot, channel, event, (begin, batch), trouble);
            output.append(follower.take_output(), follower.position().clone(), follower.notes()).await?;
        };
        output.settle().await?;
        match verdict {
            Verdict::Complete => Ok(follower.gaps().to_vec()),
            Verdict::GiveUp(slot) => {
                let [of_stream, of_side] = troubles;
                let trouble = if slot == Slot::Stream { of_stream } else { of_side };
                let words = || {
                    ApiError::Malformed(
                        follower.malformed().unwrap_or("the log ended while the worker runs").to_owned(),
                    )
                };
                Err(trouble.filter(|_| follower.malformed().is_none()).unwrap_or_else(words).into())
            }
        }
    }

    /// Tells the follower what came, and what else has arrived by now.
    fn take(
        &self,
        follower: &mut Follower,
        slot: Slot,
        channel: &mut Channel<'_>,
        mut event: Event,
        (begin, batch): (Instant, usize),
        trouble: &mut Option<ApiError>,
    ) {
        loop {
            let now = begin.elapsed();
            match event {
                Event::Answered => follower.answered(slot, now),
                Event::Data(data) => follower.bytes(slot, &data, now),
                Event::End => follower.ended(slot, now),
                Event::Failed(fault) => {
                    tracing::debug!(error = %fault, ?slot, "log request broke");
                    self.api.note_broken(&fault);
                    follower.failed(slot, trouble_of(&fault), now);
                    *trouble = Some(fault);
                }
            }
            if follower.waiting() >= batch || follower.has_orders() || channel.is_idle() {
                return;
            }
            match channel.next().now_or_never() {
                Some(next) => event = next,
                None => return,
            }
        }
    }

    fn ask(&self, request: Request) -> Channel<'_> {
        Channel::Asked(Box::pin(self.open(request)))
    }

    async fn open(&self, request: Request) -> Result<Body, ApiError> {
        let mut path = format!("{}/log?container={WORKER}&timestamps=true", client::pod_path(self.namespace, self.pod));
        if request.follow {
            path.push_str("&follow=true");
        }
        if let Some(since) = request.since {
            path.push_str(&format!("&sinceTime={}", client::encode(&since)));
        }
        if let Some(limit) = request.limit {
            path.push_str(&format!("&limitBytes={limit}"));
        }
        let answer = self.api.stream(&client::request(Method::GET, &path, Bytes::new())?).await?;
        // The pod has no node yet (kubernetes-streams 4.4).
        if answer.status() == StatusCode::NO_CONTENT {
            return Err(ApiError::Malformed("the pod has no log yet".to_owned()));
        }
        Ok(answer.into_body())
    }
}

impl Channel<'_> {
    fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }

    /// What comes next. May be dropped without loss.
    async fn next(&mut self) -> Event {
        match self {
            Self::Idle => std::future::pending().await,
            Self::Asked(answer) => match answer.await {
                Ok(body) => {
                    *self = Self::Answer(body);
                    Event::Answered
                }
                Err(fault) => self.end(Event::Failed(fault)),
            },
            Self::Answer(body) => match body.frame().await {
                Some(Ok(frame)) => Event::Data(frame.into_data().unwrap_or_default()),
                None => self.end(Event::End),
                Some(Err(fault)) => {
                    let message = client::words(&fault);
                    self.end(Event::Failed(ApiError::Unreachable { message, sent: true }))
                }
            },
        }
    }

    fn end(&mut self, event: Event) -> Event {
        *self = Self::Idle;
        event
    }
}

fn trouble_of(fault: &ApiError) -> Trouble {
    match fault {
        ApiError::Unreachable { .. } => Trouble::Broken,
        fault if fault.is_not_found() => Trouble::NoPod,
        // The kubelet does not know the container yet, or it is yet to start (kubernetes-streams 4.4).
        ApiError::Refused { code: 400, .. } => Trouble::NoLog,
        fault if fault.code() == Some(404) || fault.is_temporary() => {
            Trouble::Refused { retry_after: fault.retry_after() }
        }
        _ => Trouble::Final,
    }
}

/// That time, or never.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

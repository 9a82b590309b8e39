//! The worker's log: the only source of a unit's output.

use std::{io, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    client::{self, Api, ApiError},
    output::Output,
    pod::WORKER,
    resume::{Follower, Gap, OnGap, Refusal},
    retry::{self, Patience},
};

/// Bytes collected before they are written, where more are there already.
const BATCH: usize = 256 * 1024;
/// After the worker's end: how long an open stream may yet be silent where only it can have the missing lines. The kubelet
/// ends it within a second.
const LAST: Duration = Duration::from_secs(30);
/// Silence after which a stream is opened anew: nothing on the wire tells a silent container from a dead connection.
const SILENCE: Duration = Duration::from_secs(600);
/// Wait for the next bytes of an answer that is not followed.
const STALLED: Duration = Duration::from_secs(60);

/// What the log follower has to know of its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// It has not started.
    Waiting,
    /// It runs.
    Running,
    /// It is over, or its pod is gone.
    Over,
    /// It never started, and has no log.
    NotStarted,
}

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

/// What an answer had that is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drained {
    /// Something new; there may be more by now.
    More,
    /// Nothing new.
    Nothing,
    /// Not what follows the position, and gaps were not to be accepted.
    Gap,
}

/// How an answer ended.
enum Close {
    /// Properly.
    End,
    /// The worker is over; there may be more.
    Over,
    /// The worker is over and there is no more.
    Complete,
    /// It is of no more use.
    Broken(ApiError),
    /// It has not what follows the position.
    Gap,
}

/// The log of one worker.
pub(crate) struct Log<'a> {
    pub(crate) api: &'a Api,
    pub(crate) namespace: &'a str,
    pub(crate) pod: &'a str,
    pub(crate) patience: Patience,
}

impl Log<'_> {
    /// Appends the log to `output` until the worker is over and nothing more comes. Answers what rotation took.
    pub(crate) async fn follow(
        &self,
        output: &mut Output,
        mut stage: watch::Receiver<Stage>,
    ) -> Result<Vec<Gap>, LogError> {
        let mut follower = Follower::new(output.position().clone());
        // An error says that the watcher is gone: then this is dropped, too.
        let _ = stage.wait_for(|stage| *stage >= Stage::Running).await;
        let mut tries = Tries::new(self.patience);
        // A stream that came to its proper end after the worker's: nothing follows in the file that it read.
        let mut read_to_end = false;
        let complete = loop {
            if *stage.borrow() >= Stage::Over {
                break false;
            }
            let begin = Instant::now();
            let before = follower.position().clone();
            let fault = match self.follow_once(&mut follower, output, &mut stage).await? {
                Close::Over => break false,
                Close::Complete => break true,
                Close::End if *stage.borrow() >= Stage::Over => {
                    read_to_end = true;
                    break false;
                }
                Close::Broken(fault) if !fault.is_temporary() && !is_early(&fault) => return Err(fault.into()),
                Close::Broken(fault) => fault,
                Close::End | Close::Gap => ApiError::Malformed("the log ended while the worker runs".to_owned()),
            };
            self.api.note_broken(&fault);
            if *follower.position() != before {
                tries = Tries::new(self.patience);
            }
            let Some(pause) = tries.after(&fault, begin.elapsed()) else { return Err(fault.into()) };
            tracing::debug!(pod = self.pod, error = %fault, ?pause, "following the log again");
            let _ = timeout(pause, stage.wait_for(|stage| *stage >= Stage::Over)).await;
        };
        let complete = complete || *stage.borrow() == Stage::NotStarted;
        while !complete && self.drain(&mut follower, output, OnGap::Accept).await? == Drained::More {}
        output.settle().await?;
        // An empty newest file behind one that was read to its end is no gap.
        Ok(follower.gaps().iter().filter(|gap| !read_to_end || gap.before.is_some()).copied().collect())
    }

    /// Follows the log over one request.
    async fn follow_once(
        &self,
        follower: &mut Follower,
        output: &mut Output,
        stage: &mut watch::Receiver<Stage>,
    ) -> Result<Close, LogError> {
        let answer = tokio::select! {
            biased;
            _ = stage.wait_for(|stage| *stage >= Stage::Over) => return Ok(Close::Over),
            // No head comes before the first line: this wait is part of the stream.
            answer = timeout(SILENCE, self.open(follower, true)) => answer,
        };
        let mut body = match answer {
            Ok(Ok(body)) => body,
            Ok(Err(fault)) => return Ok(Close::Broken(fault)),
            Err(_) => return Ok(Close::Broken(silent())),
        };
        follower.begin();
        let mut only_here = false;
        loop {
            let over = *stage.borrow() >= Stage::Over;
            if over && !only_here {
                // A request that does not follow is answered faster, and does not end a second late. But it has the newest
                // file of the log only, where this stream may hold an older one: then this stream is read on.
                let mut trial = follower.clone();
                let drained = self.drain(&mut trial, output, OnGap::Refuse).await?;
                if drained != Drained::Gap {
                    *follower = trial;
                    return Ok(if drained == Drained::More { Close::Over } else { Close::Complete });
                }
                only_here = true;
            }
            let silence = if over { LAST } else { SILENCE };
            let frame = tokio::select! {
                biased;
                _ = stage.wait_for(|stage| *stage >= Stage::Over), if !over => continue,
                frame = body.frame() => frame,
                () = tokio::time::sleep(silence) => {
                    return Ok(if over { Close::Over } else { Close::Broken(silent()) });
                }
            };
            if let Some(close) = take(&mut body, frame, follower, OnGap::Accept, output).await? {
                return Ok(close);
            }
        }
    }

    /// Reads what the log has now.
    async fn drain(&self, follower: &mut Follower, output: &mut Output, on_gap: OnGap) -> Result<Drained, LogError> {
        let before = follower.position().clone();
        let mut tries = self.patience.tries();
        loop {
            let begin = Instant::now();
            let fault = match self.drain_once(follower, output, on_gap).await? {
                Close::End | Close::Over | Close::Complete if *follower.position() != before => {
                    return Ok(Drained::More);
                }
                Close::End | Close::Over | Close::Complete => return Ok(Drained::Nothing),
                Close::Gap => return Ok(Drained::Gap),
                // The pod and its log are gone, or its container never had one. A stream that is open may have the rest.
                Close::Broken(fault) if fault.is_not_found() || fault.code() == Some(400) => {
                    return Ok(if on_gap == OnGap::Refuse { Drained::Gap } else { Drained::Nothing });
                }
                Close::Broken(fault) if !fault.is_temporary() && !is_early(&fault) => return Err(fault.into()),
                Close::Broken(fault) => fault,
            };
            self.api.note_broken(&fault);
            let Some(pause) = tries.after_failure(begin.elapsed(), fault.retry_after()) else {
                return Err(fault.into());
            };
            tracing::debug!(pod = self.pod, error = %fault, ?pause, "reading the log again");
            tokio::time::sleep(pause).await;
        }
    }

    async fn drain_once(&self, follower: &mut Follower, output: &mut Output, on_gap: OnGap) -> Result<Close, LogError> {
        let answer = timeout(STALLED, self.open(follower, false)).await;
        let mut body = match answer {
            Ok(Ok(body)) => body,
            Ok(Err(fault)) => return Ok(Close::Broken(fault)),
            Err(_) => return Ok(Close::Broken(silent())),
        };
        follower.begin();
        loop {
            let Ok(frame) = timeout(STALLED, body.frame()).await else { return Ok(Close::Broken(silent())) };
            if let Some(close) = take(&mut body, frame, follower, on_gap, output).await? {
                return Ok(match close {
                    Close::End if follower.finish(on_gap).is_err() => Close::Gap,
                    close => close,
                });
            }
        }
    }

    async fn open(&self, follower: &Follower, follow: bool) -> Result<Body, ApiError> {
        let mut path = format!("{}/log?container={WORKER}&timestamps=true", client::pod_path(self.namespace, self.pod));
        if follow {
            path.push_str("&follow=true");
        }
        if let Some(since) = follower.since() {
            path.push_str(&format!("&sinceTime={}", client::encode(&since)));
        }
        let answer = self.api.stream(&client::request(Method::GET, &path, Bytes::new())?).await?;
        // The pod has no node yet (kubernetes-streams 4.4).
        if answer.status() == StatusCode::NO_CONTENT {
            return Err(ApiError::Malformed("the pod has no log yet".to_owned()));
        }
        Ok(answer.into_body())
    }
}

/// The tries of the follower. A connection that breaks is no sign of anything as long as the watch of the pod, which has a
/// patience of its own, is well: a silent container behind a proxy looks like that. Refusals are counted.
struct Tries {
    refused: retry::Tries,
    broken: retry::Tries,
}

impl Tries {
    fn new(patience: Patience) -> Self {
        Self { refused: patience.tries(), broken: patience.without_end().tries() }
    }

    fn after(&mut self, fault: &ApiError, took: Duration) -> Option<Duration> {
        let tries = if matches!(fault, ApiError::Unreachable { .. }) { &mut self.broken } else { &mut self.refused };
        tries.after_failure(took, fault.retry_after())
    }
}

type Frame = Option<Result<hyper::body::Frame<Bytes>, kube::Error>>;

/// Takes a piece of an answer, and what else of it has arrived, and appends what is new. `Some`: the answer is over.
async fn take(
    body: &mut Body,
    mut frame: Frame,
    follower: &mut Follower,
    on_gap: OnGap,
    output: &mut Output,
) -> Result<Option<Close>, LogError> {
    let mut bytes = Vec::new();
    let close = loop {
        let data = match frame {
            None => break Some(Close::End),
            Some(Err(fault)) => {
                break Some(Close::Broken(ApiError::Unreachable { message: client::words(&fault), sent: true }));
            }
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        match follower.feed(&data, on_gap, &mut bytes) {
            Ok(()) => {}
            Err(Refusal::Gap(_)) => break Some(Close::Gap),
            Err(refusal) => break Some(Close::Broken(ApiError::Malformed(refusal.to_string()))),
        }
        if bytes.len() >= BATCH {
            break None;
        }
        match body.frame().now_or_never() {
            Some(next) => frame = next,
            None => break None,
        }
    };
    output.append(bytes, follower.position().clone()).await?;
    Ok(close)
}

fn silent() -> ApiError {
    ApiError::Unreachable { message: "no answer from the log".to_owned(), sent: true }
}

/// The kubelet does not know the container yet, or it is yet to start (kubernetes-streams 4.4).
fn is_early(fault: &ApiError) -> bool {
    matches!(fault, ApiError::Refused { code: 400, .. }) || (fault.code() == Some(404) && !fault.is_not_found())
}

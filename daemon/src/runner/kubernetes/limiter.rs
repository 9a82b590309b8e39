//! Client-side rate of requests: a token bucket (control-protocol 5.7).

use std::{sync::Mutex, time::Duration};

use tokio::time::Instant;
use worknode_protocol::config::model::{KubeTuning, RateLimiter};

const DEFAULT_QPS: u32 = 100;

/// The answer to every request where the limiter is set to `never`.
#[derive(Clone, Debug, thiserror::Error)]
#[error("client rate limiter Wait returned an error: can not be accept")]
pub(crate) struct NeverAccepts;

/// Decides when a request may go out.
#[derive(Debug)]
pub(crate) enum Limiter {
    /// So many per second, so many at once.
    Bucket(Mutex<Bucket>),
    /// No request waits.
    Always,
    /// Every request fails.
    Never,
}

impl Limiter {
    pub(crate) fn new(tuning: &KubeTuning) -> Self {
        let qps = tuning.qps.unwrap_or(DEFAULT_QPS);
        match tuning.rate_limiter {
            RateLimiter::AlwaysAccept => Self::Always,
            RateLimiter::NeverAccept => Self::Never,
            // A rate of nothing would never let a request out; the original's client takes it for its own default.
            RateLimiter::TokenBucket if qps == 0 => Self::Always,
            RateLimiter::TokenBucket => {
                let burst = tuning.burst.unwrap_or(qps.saturating_mul(10));
                Self::Bucket(Mutex::new(Bucket::new(qps, burst.max(1), Instant::now())))
            }
        }
    }

    /// Returns when a request may go out.
    pub(crate) async fn wait(&self) -> Result<(), NeverAccepts> {
        let pause = match self {
            Self::Never => return Err(NeverAccepts),
            Self::Always => return Ok(()),
            Self::Bucket(bucket) => {
                bucket.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take(Instant::now())
            }
        };
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }
}

/// A token bucket that goes into debt: each taker learns how long its token is yet to come.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    last: Instant,
}

impl Bucket {
    fn new(qps: u32, burst: u32, now: Instant) -> Self {
        Self { per_second: f64::from(qps), burst: f64::from(burst), tokens: f64::from(burst), last: now }
    }

    fn take(&mut self, now: Instant) -> Duration {
        let since = now.saturating_duration_since(self.last);
        self.last = now;
        self.tokens = (self.tokens + since.as_secs_f64() * self.per_second).min(self.burst) - 1.0;
        if self.tokens >= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(-self.tokens / self.per_second).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_the_rest_by_the_rate() {
        let tuning = KubeTuning { qps: Some(10), burst: Some(5), ..KubeTuning::default() };
        let limiter = Limiter::new(&tuning);
        let begin = Instant::now();
        for _ in 0..5 {
            limiter.wait().await.unwrap();
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
        for _ in 0..20 {
            limiter.wait().await.unwrap();
        }
        let elapsed = begin.elapsed();
        assert!(elapsed >= Duration::from_millis(1990) && elapsed < Duration::from_millis(2100), "{elapsed:?}");
    }

    #[tokio::test]
    async fn always_and_never() {
        let never = KubeTuning { rate_limiter: RateLimiter::NeverAccept, ..KubeTuning::default() };
        assert_eq!(
            Limiter::new(&never).wait().await.unwrap_err().to_string(),
            "client rate limiter Wait returned an error: can not be accept"
        );
        let always = KubeTuning {
            rate_limiter: RateLimiter::AlwaysAccept,
            qps: Some(1),
            burst: Some(1),
            ..KubeTuning::default()
        };
        let limiter = Limiter::new(&always);
        for _ in 0..100 {
            limiter.wait().await.unwrap();
        }
    }
}

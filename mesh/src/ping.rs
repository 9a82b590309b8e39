//! Probes: is a node there, and how long is the way (mesh-protocol 6).

use std::time::{Duration, Instant};

use tokio::time::timeout;
use worknode_protocol::{
    control::PingProblem,
    mesh::{Problem, ServiceName, Unreachable},
};

use crate::{
    datagram::{MOST_HOPS, PING, Sent, Service, Unsent},
    handle::MeshHandle,
};

/// How long an answer is waited for.
const WAIT: Duration = Duration::from_secs(10);

/// What came back of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    /// The node that answered; this one where the probe could not even be sent, or nobody answered.
    pub from: String,
    /// Why it was not the target's own answer.
    pub problem: Option<PingProblem>,
    /// How long it took.
    pub time: Duration,
}

impl MeshHandle {
    /// The most links that anything travels over.
    pub const MOST_HOPS: u8 = MOST_HOPS;

    /// Sends a probe that at most `hops` nodes may forward, this one included, and waits for what comes back. With 0, 1,
    /// 2, ... the nodes on the way tell who they are.
    pub async fn ping(&self, target: &str, hops: u8) -> Echo {
        let started = Instant::now();
        let service = self.forwarder.ephemeral();
        let (from, problem) = match timeout(WAIT, self.probe(&service, target, hops)).await {
            Ok((from, problem)) => (from, problem),
            Err(_) => (self.node().to_owned(), Some(PingProblem::Timeout)),
        };
        Echo { from, problem, time: started.elapsed() }
    }

    async fn probe(&self, service: &Service, target: &str, hops: u8) -> (String, Option<PingProblem>) {
        let own = || self.node().to_owned();
        let Ok(ping) = ServiceName::parse(PING) else { return (own(), Some(PingProblem::ServiceUnknown)) };
        let hash = self.forwarder.hash_of(target);
        if hops == 0 && self.forwarder.name_of(hash).is_none() {
            // No notice can name a node that nobody has heard of; the way ends here all the same (control-protocol 3.3).
            return (own(), Some(PingProblem::MessageExpired));
        }
        match self.forwarder.send(service.name(), (hash, ping), hops, &[]) {
            Sent::Yes | Sent::Full(_) => {}
            Sent::No(Unsent::NoRoute) => return (own(), Some(PingProblem::NoRoute)),
            Sent::No(Unsent::TooLong) => return (own(), Some(PingProblem::Other("no link carries it".to_owned()))),
        }
        loop {
            tokio::select! {
                answer = service.inbox().datagram() => {
                    if answer.from_node == hash && answer.from_service == ping {
                        let name = if self.forwarder.is_own(target) { own() } else { target.to_owned() };
                        return (name, None);
                    }
                }
                notice = service.inbox().notice() => {
                    if ping.is(&notice.about.to_service) {
                        return (notice.reporter, Some(problem(notice.about)));
                    }
                }
            }
        }
    }
}

fn problem(about: Unreachable) -> PingProblem {
    if about.is(Problem::MessageExpired) {
        PingProblem::MessageExpired
    } else if about.is(Problem::BlockedByFirewall) {
        PingProblem::BlockedByFirewall
    } else if about.is(Problem::ServiceUnknown) {
        PingProblem::ServiceUnknown
    } else {
        PingProblem::Other(about.problem)
    }
}

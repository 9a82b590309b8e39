//! Who sends datagrams through a bridge: one flow for each sender, which ends when it has been silent for long.

use std::{collections::HashMap, hash::Hash, time::Duration};

use bytes::Bytes;
use tokio::{sync::mpsc, time::Instant};

/// Senders of one bridge at a time. Beyond that the one that has sent nothing for longest gives way.
const MOST: usize = 1024;
/// Datagrams that wait for one flow; more are lost, as datagrams may be.
const WAITING: usize = 64;
/// Silence in both directions after which a flow ends.
pub(super) const SILENCE: Duration = Duration::from_secs(300);

/// The flows of one bridge by their sender. A flow is a task that has the other end of the queue; it ends when the queue is
/// closed, and closes it when it ends.
pub(super) struct Flows<K> {
    open: HashMap<K, Flow>,
}

struct Flow {
    queue: mpsc::Sender<Bytes>,
    used: Instant,
}

impl<K: Eq + Hash + Clone> Flows<K> {
    pub(super) fn new() -> Self {
        Self { open: HashMap::new() }
    }

    /// Gives a datagram to its sender's flow. `begin` starts a new one, where there is none.
    pub(super) fn hand_over(&mut self, sender: K, payload: Bytes, begin: impl FnOnce(mpsc::Receiver<Bytes>)) {
        let now = Instant::now();
        let payload = match self.open.get_mut(&sender) {
            None => payload,
            Some(flow) => {
                flow.used = now;
                match flow.queue.try_send(payload) {
                    Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => return,
                    Err(mpsc::error::TrySendError::Closed(payload)) => payload,
                }
            }
        };
        if !self.open.contains_key(&sender) && self.open.len() >= MOST {
            self.make_room();
        }
        let (queue, waiting) = mpsc::channel(WAITING);
        // There is room in a new queue.
        let _ = queue.try_send(payload);
        self.open.insert(sender, Flow { queue, used: now });
        begin(waiting);
    }

    fn make_room(&mut self) {
        self.open.retain(|_, flow| !flow.queue.is_closed());
        if self.open.len() >= MOST {
            let oldest = self.open.iter().min_by_key(|(_, flow)| flow.used).map(|(sender, _)| sender.clone());
            oldest.and_then(|sender| self.open.remove(&sender));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(number: usize) -> Bytes {
        Bytes::from(number.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_silent_sender_gives_way() {
        let (mut flows, mut tasks) = (Flows::new(), Vec::new());
        for sender in 0..MOST {
            flows.hand_over(sender, datagram(sender), |waiting| tasks.push(waiting));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        flows.hand_over(0, datagram(0), |_| panic!("it has a flow"));
        flows.hand_over(MOST, datagram(MOST), |waiting| tasks.push(waiting));
        assert_eq!(flows.open.len(), MOST);
        // The second sender's flow has its datagram and then its end; the first's goes on.
        assert_eq!(tasks[1].recv().await, Some(datagram(1)));
        assert_eq!(tasks[1].recv().await, None);
        assert_eq!(tasks[0].recv().await, Some(datagram(0)));
        assert_eq!(tasks[0].recv().await, Some(datagram(0)));
        assert_eq!(tasks[MOST].recv().await, Some(datagram(MOST)));
    }

    #[tokio::test]
    async fn a_flow_that_ended_is_begun_anew_and_a_slow_one_loses_datagrams() {
        let mut flows = Flows::new();
        let mut begun = Vec::new();
        flows.hand_over("a", datagram(1), |waiting| begun.push(waiting));
        for number in 0..2 * WAITING {
            flows.hand_over("a", datagram(number), |_| panic!("it has a flow"));
        }
        let mut first = begun.remove(0);
        let mut count = 0;
        while first.try_recv().is_ok() {
            count += 1;
        }
        assert_eq!(count, WAITING);
        drop(first);
        flows.hand_over("a", datagram(2), |waiting| begun.push(waiting));
        assert_eq!(begun.remove(0).recv().await, Some(datagram(2)));
    }
}

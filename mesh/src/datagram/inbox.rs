//! What waits to be received by one service of this node.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use worknode_protocol::mesh::{ServiceName, Unreachable};

/// Room for datagrams, in bytes: more than a stream may have on its way. What comes beyond that is dropped: a slow service never holds up a link.
const ROOM: usize = 8 * 1024 * 1024;
/// What a datagram takes beside its bytes.
const OVERHEAD: usize = 128;
/// Notices that may wait.
const NOTICES: usize = 64;

/// A datagram for a service of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    /// Hash of the node it comes from. It is not authenticated.
    pub(crate) from_node: u64,
    /// The service it comes from.
    pub(crate) from_service: ServiceName,
    /// What it carries.
    pub(crate) payload: Bytes,
}

/// A notice that a datagram of this service did not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// The node that tells it.
    pub(crate) reporter: String,
    /// What happened to which datagram.
    pub(crate) about: Unreachable,
}

/// Datagrams and notices for one service.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    datagrams: VecDeque<Datagram>,
    bytes: usize,
    notices: VecDeque<Notice>,
    /// Who waits for a datagram, and who for a notice.
    reader: Option<Waker>,
    listener: Option<Waker>,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a datagram in. False: there is no room, it is lost.
    pub(crate) fn push(&self, datagram: Datagram) -> bool {
        let mut state = self.lock();
        let size = datagram.payload.len() + OVERHEAD;
        if state.bytes + size > ROOM {
            return false;
        }
        state.bytes += size;
        state.datagrams.push_back(datagram);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        true
    }

    /// Puts a notice in, if there is room.
    pub(crate) fn push_notice(&self, notice: Notice) {
        let mut state = self.lock();
        if state.notices.len() >= NOTICES {
            return;
        }
        state.notices.push_back(notice);
        let listener = state.listener.take();
        drop(state);
        if let Some(listener) = listener {
            listener.wake();
        }
    }

    /// The next datagrams, at most `most`; waits until there is one. One task at a time may wait.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>, most: usize) -> Poll<Vec<Datagram>> {
        let mut state = self.lock();
        if state.datagrams.is_empty() {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = state.datagrams.len().min(most);
        let taken: Vec<Datagram> = state.datagrams.drain(..count).collect();
        state.bytes -= taken.iter().map(|datagram| datagram.payload.len() + OVERHEAD).sum::<usize>();
        Poll::Ready(taken)
    }

    /// The next datagram. One task at a time may wait for it.
    pub(crate) async fn datagram(&self) -> Datagram {
        loop {
            if let Some(datagram) = std::future::poll_fn(|cx| self.poll_take(cx, 1)).await.pop() {
                return datagram;
            }
        }
    }

    /// The next notice. One task at a time may wait for it.
    pub(crate) async fn notice(&self) -> Notice {
        std::future::poll_fn(|cx| {
            let mut state = self.lock();
            if let Some(notice) = state.notices.pop_front() {
                return Poll::Ready(notice);
            }
            state.listener = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(length: usize) -> Datagram {
        let from_service = ServiceName::parse("a").unwrap();
        Datagram { from_node: 1, from_service, payload: Bytes::from(vec![0; length]) }
    }

    #[tokio::test]
    async fn datagrams_come_in_order_and_notices_beside_them() {
        let inbox = std::sync::Arc::new(Inbox::default());
        let waiting = tokio::spawn({
            let inbox = std::sync::Arc::clone(&inbox);
            async move { (inbox.datagram().await.payload.len(), inbox.datagram().await.payload.len()) }
        });
        let notice = Notice { reporter: "n2".to_owned(), about: Unreachable::default() };
        inbox.push_notice(notice.clone());
        assert!(inbox.push(datagram(1)) && inbox.push(datagram(2)));
        assert_eq!(waiting.await.unwrap(), (1, 2));
        assert_eq!(inbox.notice().await, notice);
    }

    #[tokio::test]
    async fn what_finds_no_room_is_lost_and_the_rest_is_not() {
        let inbox = Inbox::default();
        let mut taken = 0;
        while inbox.push(datagram(10_000)) {
            taken += 1;
        }
        assert_eq!(taken, ROOM / (10_000 + OVERHEAD));
        for _ in 0..taken {
            inbox.datagram().await;
        }
        assert!(inbox.push(datagram(10_000)));
        for _ in 0..1000 {
            inbox.push_notice(Notice { reporter: String::new(), about: Unreachable::default() });
        }
        assert_eq!(inbox.lock().notices.len(), NOTICES);
    }
}

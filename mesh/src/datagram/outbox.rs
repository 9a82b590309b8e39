//! What waits to be sent over one link.
//!
//! Routing messages go first: a bulk transfer must not delay what keeps the mesh together. Then come the short messages
//! of ping and of unreachable notices, a few at a time. All other datagrams share what is left by flow, which is what
//! goes from one service of a node to one service of a node: each flow gets its turn, and the room for waiting messages
//! is shared so that a new flow always finds some (a flow may take half of what is free). A flow without room waits if
//! it begins on this node, and loses messages if it only passes through.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

/// Room for datagrams that wait, in bytes.
const ROOM: usize = 4 * 1024 * 1024;
/// What a message takes beside its bytes.
const OVERHEAD: usize = 96;
/// Routing messages that may wait, in bytes. What finds no room is told again when the next updates go out.
const ROUTING_ROOM: usize = 4 * 1024 * 1024;
/// Short messages that may wait, in bytes, and the longest message that is short.
const SHORT_ROOM: usize = 256 * 1024;
const SHORT: usize = 1024;
/// What is handed to the transport at once: about so many bytes, and short messages at most.
const BATCH: usize = 256 * 1024;
const SHORT_BATCH: usize = 16;
/// What a flow may send at each of its turns, in bytes.
const TURN: isize = 32 * 1024;

/// The two nodes and the two services of a datagram, as they stand in its header.
pub(crate) type FlowKey = [u8; 32];

/// What became of a message that was to be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    /// It will be sent.
    Yes,
    /// There is no room for it now.
    Full,
    /// It will never be sent: it is too long for the link, or the link is closed.
    Never,
}

/// Messages that wait to be sent over one link.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// The longest message that the link can carry.
    longest: usize,
    /// The longest message that it surely carries in one piece.
    uncut: usize,
}

#[derive(Debug, Default)]
struct State {
    routing: Lane,
    short: Lane,
    flows: HashMap<FlowKey, Flow>,
    /// The flows that have something, in the order of their turns.
    turns: VecDeque<FlowKey>,
    /// Of all flows.
    bytes: usize,
    closed: bool,
    /// The link's writer, where it waits for a message.
    writer: Option<Waker>,
}

/// A queue with a limit.
#[derive(Debug, Default)]
struct Lane {
    messages: VecDeque<Bytes>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Flow {
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// How much it may still send at this turn; below zero, what it took too much at the last one.
    turn: isize,
    /// Who waits for room. A flow that begins here has one sender, or some that take turns.
    waiting: Vec<Waker>,
}

fn size(message: &Bytes) -> usize {
    message.len() + OVERHEAD
}

impl Lane {
    fn push(&mut self, message: Bytes, room: usize) -> Queued {
        if self.bytes + size(&message) > room {
            return Queued::Full;
        }
        self.bytes += size(&message);
        self.messages.push_back(message);
        Queued::Yes
    }

    fn pop(&mut self) -> Option<Bytes> {
        let message = self.messages.pop_front()?;
        self.bytes -= size(&message);
        Some(message)
    }
}

impl Outbox {
    /// An empty one for a link that carries messages up to `longest` bytes, and those up to `uncut` bytes in one piece.
    pub(crate) fn new(longest: usize, uncut: usize) -> Self {
        Self { state: Mutex::default(), longest, uncut }
    }

    /// The longest message that the link surely carries in one piece.
    pub(crate) fn uncut(&self) -> usize {
        self.uncut
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a routing message.
    pub(crate) fn push_routing(&self, message: Bytes) -> Queued {
        self.push(message, |state, message| state.routing.push(message, ROUTING_ROOM))
    }

    /// Queues a datagram of the services `ping` and `unreach`; a long one takes its turn like others.
    pub(crate) fn push_short(&self, flow: &FlowKey, message: Bytes) -> Queued {
        if message.len() > SHORT {
            return self.push_flow(flow, message);
        }
        self.push(message, |state, message| state.short.push(message, SHORT_ROOM))
    }

    /// Queues a datagram of a flow.
    pub(crate) fn push_flow(&self, flow: &FlowKey, message: Bytes) -> Queued {
        self.push(message, |state, message| state.push_flow(flow, message))
    }

    fn push(&self, message: Bytes, push: impl FnOnce(&mut State, Bytes) -> Queued) -> Queued {
        if message.is_empty() || message.len() > self.longest {
            return Queued::Never;
        }
        let (queued, writer) = {
            let mut state = self.lock();
            if state.closed {
                return Queued::Never;
            }
            (push(&mut state, message), state.writer.take())
        };
        if let Some(writer) = writer {
            writer.wake();
        }
        queued
    }

    /// Waits until a message of that flow, so many bytes long, finds room. Ready at once for a link that is closed.
    ///
    /// Never ready where [`Self::push_flow`] would find none: whoever sends as soon as this is ready would not come to rest.
    pub(crate) fn poll_room(&self, key: &FlowKey, length: usize, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.has_room(key, length) {
            return Poll::Ready(());
        }
        if let Some(flow) = state.flows.get_mut(key)
            && !flow.waiting.iter().any(|waker| waker.will_wake(cx.waker()))
        {
            flow.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Whether [`Self::poll_room`] would not have to wait.
    pub(crate) fn has_room(&self, key: &FlowKey, length: usize) -> bool {
        self.lock().has_room(key, length)
    }

    /// The next messages to be sent, in order, appended to `batch`. Waits until there are some; ready with nothing when
    /// the link is closed and all is sent.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>, batch: &mut Vec<Bytes>) -> Poll<()> {
        let mut state = self.lock();
        let woken = state.take(batch);
        if batch.is_empty() && !state.closed {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        Poll::Ready(())
    }

    /// Takes nothing more. What waits is still sent.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let mut woken: Vec<Waker> = state.flows.values_mut().flat_map(|flow| flow.waiting.drain(..)).collect();
        woken.extend(state.writer.take());
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }
}

impl State {
    fn free(&self) -> usize {
        ROOM.saturating_sub(self.bytes)
    }

    /// Whether a flow that had to wait may go on: it has sent enough for others to find room, and a message fits. One
    /// that has nothing queued can always send one.
    fn has_room(&self, key: &FlowKey, length: usize) -> bool {
        let free = self.free();
        let fits = |flow: &Flow| flow.bytes <= free / 2 && flow.bytes + length + OVERHEAD <= free;
        self.closed || self.flows.get(key).is_none_or(|flow| flow.messages.is_empty() || fits(flow))
    }

    fn push_flow(&mut self, key: &FlowKey, message: Bytes) -> Queued {
        let free = self.free();
        let size = size(&message);
        let flow = self.flows.entry(*key).or_insert_with(|| Flow { turn: TURN, ..Flow::default() });
        // One message of a flow is always taken, as long as not all flows together do that too often.
        let taken = if flow.messages.is_empty() { self.bytes + size <= 2 * ROOM } else { flow.bytes + size <= free };
        if !taken {
            if flow.messages.is_empty() {
                self.flows.remove(key);
                return Queued::Never;
            }
            return Queued::Full;
        }
        if flow.messages.is_empty() {
            self.turns.push_back(*key);
        }
        flow.messages.push_back(message);
        flow.bytes += size;
        self.bytes += size;
        Queued::Yes
    }

    /// Fills a batch; returns who has room now.
    fn take(&mut self, batch: &mut Vec<Bytes>) -> Vec<Waker> {
        let mut bytes = 0;
        let mut add = |message: Bytes, batch: &mut Vec<Bytes>| {
            bytes += message.len();
            batch.push(message);
            bytes < BATCH
        };
        while let Some(message) = self.routing.pop() {
            if !add(message, batch) {
                return Vec::new();
            }
        }
        for _ in 0..SHORT_BATCH {
            let Some(message) = self.short.pop() else { break };
            add(message, batch);
        }
        let mut woken = Vec::new();
        while let Some(message) = self.next_of_flows(&mut woken) {
            if !add(message, batch) {
                break;
            }
        }
        woken
    }

    /// The next message by turns.
    fn next_of_flows(&mut self, woken: &mut Vec<Waker>) -> Option<Bytes> {
        loop {
            let key = self.turns.front().copied()?;
            let flow = self.flows.get_mut(&key)?;
            if flow.turn <= 0 {
                flow.turn += TURN;
                self.turns.rotate_left(1);
                continue;
            }
            let message = flow.messages.pop_front()?;
            let size = size(&message);
            flow.turn = flow.turn.saturating_sub_unsigned(size);
            flow.bytes -= size;
            self.bytes -= size;
            if flow.bytes <= ROOM.saturating_sub(self.bytes) / 2 {
                woken.append(&mut flow.waiting);
            }
            if flow.messages.is_empty() {
                self.turns.pop_front();
                self.flows.remove(&key);
            }
            return Some(message);
        }
    }
}

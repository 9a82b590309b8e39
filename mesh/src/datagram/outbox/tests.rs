use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Wake,
};

use super::*;

fn message(first: u8, length: usize) -> Bytes {
    Bytes::from(vec![first; length])
}

fn key(flow: u8) -> FlowKey {
    [flow; 32]
}

fn take(outbox: &Outbox) -> Vec<Bytes> {
    let mut batch = Vec::new();
    let _ = outbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut batch);
    batch
}

fn firsts(batch: &[Bytes]) -> Vec<u8> {
    batch.iter().map(|message| message[0]).collect()
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn routing_is_sent_first_then_short_ones_then_flows() {
    let outbox = Outbox::new(65_535, 65_535);
    outbox.push_flow(&key(1), message(1, 100));
    outbox.push_short(&key(2), message(2, 36));
    outbox.push_routing(message(3, 100));
    outbox.push_short(&key(2), message(4, 2000));
    assert_eq!(firsts(&take(&outbox)), [3, 2, 1, 4]);
    assert!(take(&outbox).is_empty());
}

#[test]
fn a_flow_with_much_does_not_hold_up_one_with_little() {
    let outbox = Outbox::new(65_535, 65_535);
    for _ in 0..60 {
        outbox.push_flow(&key(1), message(1, 30_000));
    }
    outbox.push_flow(&key(2), message(2, 100));
    let batch = firsts(&take(&outbox));
    assert!(batch.iter().position(|first| *first == 2).is_some_and(|place| place <= 2), "{batch:?}");
}

#[test]
fn flows_get_equal_shares_of_bytes_whatever_the_size_of_their_messages() {
    let outbox = Outbox::new(65_535, 65_535);
    for _ in 0..40 {
        outbox.push_flow(&key(1), message(1, 16_000));
    }
    for _ in 0..1000 {
        outbox.push_flow(&key(2), message(2, 1200));
    }
    let mut bytes = [0; 3];
    let batch = take(&outbox);
    batch.iter().for_each(|message| bytes[usize::from(message[0])] += message.len());
    assert!(bytes[1].abs_diff(bytes[2]) <= 2 * TURN.unsigned_abs(), "{bytes:?}");
}

#[test]
fn a_flow_takes_half_of_the_room_and_the_next_finds_some() {
    let outbox = Outbox::new(65_535, 65_535);
    let mut shares = Vec::new();
    for flow in 1..=3 {
        let mut bytes = 0;
        while outbox.push_flow(&key(flow), message(flow, 10_000)) == Queued::Yes {
            bytes += 10_000 + OVERHEAD;
        }
        shares.push(bytes);
    }
    let near = |share: usize, part: usize| share.abs_diff(ROOM / part) < 25_000;
    assert!(near(shares[0], 2) && near(shares[1], 4) && near(shares[2], 8), "{shares:?}");
    assert_eq!(outbox.push_routing(message(9, 100)), Queued::Yes);
}

#[test]
fn a_sender_without_room_is_woken_when_there_is_some() {
    let outbox = Outbox::new(65_535, 65_535);
    while outbox.push_flow(&key(1), message(1, 60_000)) == Queued::Yes {}
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    assert!(outbox.poll_room(&key(1), 1_000, &mut Context::from_waker(&waker)).is_pending());
    assert!(!outbox.has_room(&key(1), 1_000));
    assert!(outbox.has_room(&key(2), 1_000));
    take(&outbox);
    assert_eq!(woken.0.load(Ordering::Relaxed), 0, "there is some room, but not enough to go on");
    while !outbox.has_room(&key(1), 1_000) {
        take(&outbox);
    }
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
}

#[test]
fn what_is_closed_sends_the_rest_and_takes_nothing() {
    let outbox = Outbox::new(65_535, 65_535);
    outbox.push_routing(message(3, 3));
    while outbox.push_flow(&key(1), message(1, 60_000)) == Queued::Yes {}
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    assert!(outbox.poll_room(&key(1), 1_000, &mut Context::from_waker(&waker)).is_pending());
    outbox.close();
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert_eq!(outbox.push_routing(message(4, 3)), Queued::Never);
    assert_eq!(firsts(&take(&outbox))[0], 3);
    while !take(&outbox).is_empty() {}
    let mut batch = Vec::new();
    assert!(outbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut batch).is_ready());
}

#[test]
fn no_message_that_the_link_cannot_carry_is_queued() {
    let outbox = Outbox::new(100, 100);
    for bad in [0, 101] {
        assert_eq!(outbox.push_routing(message(1, bad)), Queued::Never);
        assert_eq!(outbox.push_flow(&key(1), message(1, bad)), Queued::Never);
    }
    assert_eq!(outbox.push_flow(&key(1), message(1, 100)), Queued::Yes);
}

#[test]
fn many_flows_stay_within_twice_the_room() {
    let outbox = Outbox::new(65_535, 65_535);
    for flow in 0..5000_u32 {
        let mut key = key(0);
        key[..4].copy_from_slice(&flow.to_le_bytes());
        outbox.push_flow(&key, message(1, 60_000));
    }
    let state = outbox.lock();
    assert!(state.bytes <= 2 * ROOM);
    assert_eq!(state.flows.len(), state.turns.len());
}

/// Else a connection would ask and send by turns, for ever, and hold the thread on which the link's writer is to run.
#[test]
fn a_sender_is_not_told_of_room_in_which_its_message_does_not_fit() {
    let outbox = Outbox::new(65_535, 65_535);
    assert_eq!(outbox.push_flow(&key(1), message(1, 100)), Queued::Yes);
    for flow in 2..=255 {
        while outbox.push_flow(&key(flow), message(flow, 65_000)) == Queued::Yes
            && outbox.lock().flows[&key(flow)].messages.len() < 2
        {}
        let long = outbox.push_flow(&key(1), message(1, 60_000));
        if long == Queued::Full {
            break;
        }
        assert_eq!(long, Queued::Yes);
        let mut state = outbox.lock();
        let flow = state.flows.get_mut(&key(1)).unwrap();
        let taken = size(&flow.messages.pop_back().unwrap());
        flow.bytes -= taken;
        state.bytes -= taken;
    }
    assert_eq!(outbox.push_flow(&key(1), message(1, 60_000)), Queued::Full);
    assert!(outbox.has_room(&key(1), 100), "a short one fits");
    assert!(!outbox.has_room(&key(1), 60_000));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    assert!(outbox.poll_room(&key(1), 60_000, &mut Context::from_waker(&waker)).is_pending());
    while woken.0.load(Ordering::Relaxed) == 0 {
        assert!(!take(&outbox).is_empty(), "whoever waits is woken before all is sent");
    }
    assert!(outbox.poll_room(&key(1), 60_000, &mut Context::from_waker(&waker)).is_ready());
    assert_eq!(outbox.push_flow(&key(1), message(1, 60_000)), Queued::Yes);
}

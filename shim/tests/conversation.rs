//! Both halves of the conversation against each other, over attaches that break, overlap and tear lines apart. The seed
//! decides what happens; `proptest` shows the one that fails. `WORKNODE_LONG` makes the run long.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::VecDeque;

use dice::Dice;
use proptest::prelude::*;
use proptest::test_runner::TestRng;
use worknode_shim::client::{Broken, Client, Heard, Tell};
use worknode_shim::relay::{Relay, Say};
use worknode_shim::wire::{Decoder, Frame, Line};

/// Random numbers without a crate of their own.
mod dice {
    use proptest::prelude::Rng as _;

    pub(crate) struct Dice(pub(crate) super::TestRng);

    impl Dice {
        /// Less than `sides`, which is not 0.
        pub(crate) fn below(&mut self, sides: usize) -> usize {
            usize::try_from(self.0.next_u64() % sides as u64).unwrap()
        }

        pub(crate) fn one_in(&mut self, sides: usize) -> bool {
            self.below(sides) == 0
        }

        pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
            // Many line feeds, as in real output.
            (0..count).map(|_| if self.one_in(5) { b'\n' } else { self.0.next_u32().to_le_bytes()[0] }).collect()
        }
    }
}

/// A pod, a daemon, and what is between them.
struct World {
    dice: Dice,
    payload: Vec<u8>,
    output: Vec<u8>,

    relay: Relay,
    shim_hears: Decoder,
    kept: Vec<u8>,
    job_read: Vec<u8>,
    job_wrote: usize,
    job_stdin_closed: bool,

    session: u64,
    client: Client,
    daemon_hears: Decoder,
    /// Received, not yet on disk.
    in_memory: Vec<u8>,
    disk: Vec<u8>,
    code: Option<i32>,

    to_shim: VecDeque<u8>,
    /// Of an attach that ended, and yet on its way.
    stale: VecDeque<u8>,
    to_daemon: VecDeque<u8>,
}

const CODE: i32 = 7;
const CAPACITY: u64 = 100_000;

impl World {
    fn new(mut dice: Dice) -> Self {
        let size = |dice: &mut Dice| [0, 1, 300, 40_000, 400_000][dice.below(5)];
        let (payload, output) = (size(&mut dice), size(&mut dice));
        let (payload, output) = (dice.bytes(payload), dice.bytes(output));
        let client = Client::new(1, payload.len() as u64, 0);
        Self {
            dice,
            payload,
            output,
            relay: Relay::new(CAPACITY),
            shim_hears: Decoder::default(),
            kept: Vec::new(),
            job_read: Vec::new(),
            job_wrote: 0,
            job_stdin_closed: false,
            session: 1,
            client,
            daemon_hears: Decoder::default(),
            in_memory: Vec::new(),
            disk: Vec::new(),
            code: None,
            to_shim: VecDeque::new(),
            stale: VecDeque::new(),
            to_daemon: VecDeque::new(),
        }
    }

    fn job(&mut self) {
        let count = self.dice.below(self.relay.for_job().len() + 1);
        self.job_read.extend_from_slice(&self.relay.for_job()[..count]);
        self.relay.given(count);
        if self.relay.close_now() {
            assert!(!self.job_stdin_closed, "closed twice");
            self.job_stdin_closed = true;
        }
        let room = usize::try_from(self.relay.room()).unwrap();
        let count = self.dice.below(30_000).min(room).min(self.output.len() - self.job_wrote);
        self.kept.extend_from_slice(&self.output[self.job_wrote..self.job_wrote + count]);
        self.relay.kept(count);
        self.job_wrote += count;
        if self.job_stdin_closed && self.job_wrote == self.output.len() && self.code_is_due() {
            self.relay.ended(CODE);
        }
    }

    fn code_is_due(&mut self) -> bool {
        !self.relay.is_finished() && self.dice.one_in(2)
    }

    fn shim(&mut self) {
        // Two attaches feed one stdin.
        for _ in 0..2 {
            let from = if self.dice.one_in(2) { &mut self.stale } else { &mut self.to_shim };
            let count = self.dice.below(from.len().min(60_000) + 1);
            let bytes: Vec<u8> = from.drain(..count).collect();
            self.shim_hears.push(&bytes);
        }
        while let Some(line) = self.shim_hears.next_line() {
            self.relay.hear(line);
        }
        for _ in 0..self.dice.below(20) {
            let Some(say) = self.relay.say() else { return };
            let frame = match say {
                Say::Frame(frame) => frame,
                Say::Output { at, length } => {
                    let at_index = usize::try_from(at).unwrap();
                    assert!(self.kept.len() - at_index <= usize::try_from(CAPACITY).unwrap(), "written over");
                    Frame::Output { at, bytes: self.kept[at_index..at_index + length].to_vec() }
                }
            };
            let mut line = Vec::new();
            frame.encode(self.relay.session(), &mut line);
            self.to_daemon.extend(line);
        }
    }

    fn daemon(&mut self) {
        let count = self.dice.below(self.to_daemon.len().min(60_000) + 1);
        let bytes: Vec<u8> = self.to_daemon.drain(..count).collect();
        self.daemon_hears.push(&bytes);
        while let Some(line) = self.daemon_hears.next_line() {
            match self.client.hear(line) {
                Ok(Heard::Output(bytes)) => self.in_memory.extend(bytes),
                Ok(Heard::End(code)) => self.code = Some(code),
                Ok(_) => {}
                Err(Broken::Gap) => return self.attach_again(),
                Err(lost @ Broken::Lost { .. }) => panic!("{lost:?}"),
            }
        }
        if self.dice.one_in(2) {
            self.disk.append(&mut self.in_memory);
            self.client.durable(self.disk.len() as u64);
            if self.code.is_some() {
                self.client.finish();
            }
        }
        for _ in 0..self.dice.below(20) {
            let Some(tell) = self.client.tell() else { return };
            let frame = match tell {
                Tell::Frame(frame) => frame,
                Tell::Input { at, length } => {
                    let from = usize::try_from(at).unwrap();
                    Frame::Input { at, bytes: self.payload[from..from + length].to_vec() }
                }
                Tell::Question | Tell::Program => continue,
            };
            let mut line = Vec::new();
            frame.encode(self.session, &mut line);
            self.to_shim.extend(line);
        }
    }

    /// The attach breaks, or the daemon is killed: what was not on disk is forgotten.
    fn attach_again(&mut self) {
        self.in_memory.clear();
        let left = self.dice.below(self.to_shim.len() + 1);
        self.to_shim.truncate(left);
        if self.dice.one_in(2) {
            self.stale.append(&mut self.to_shim);
        }
        // Sees what is written from now on: from the middle of a line, or later.
        let lost = self.dice.below(self.to_daemon.len() + 1);
        self.to_daemon.drain(..lost);
        self.session += 1;
        self.client = Client::new(self.session, self.payload.len() as u64, self.disk.len() as u64);
        self.daemon_hears = Decoder::default();
        self.to_shim.push_back(b'\n');
    }

    fn live(mut self) {
        let mut quiet = 0;
        for round in 0..200_000 {
            if self.relay.is_finished() {
                assert_eq!((self.disk == self.output, self.code), (true, Some(CODE)), "in round {round}");
                assert!(self.job_read == self.payload && self.job_stdin_closed, "in round {round}");
                return;
            }
            let before = (self.disk.len(), self.job_read.len());
            self.job();
            self.shim();
            self.daemon();
            if round < 1000 && self.dice.one_in(40) {
                self.attach_again();
            }
            quiet = if before == (self.disk.len(), self.job_read.len()) { quiet + 1 } else { 0 };
            if quiet > 20 {
                quiet = 0;
                self.client.ping();
            }
        }
        panic!("it does not end: {:?} {:?}", self.relay, self.client);
    }
}

fn cases() -> u32 {
    if std::env::var_os("WORKNODE_LONG").is_some() { 20_000 } else { 200 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everything_arrives_once_in_both_directions(seed in any::<[u8; 32]>()) {
        let rng = TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed);
        World::new(Dice(rng)).live();
    }

    #[test]
    fn a_line_comes_back_from_any_pieces(at in any::<u64>(), session in any::<u64>(), code in any::<i32>(),
        bytes in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 1..2000), cut in 1_usize..500) {
        let frames = [
            Frame::Hello { output: at }, Frame::Ping, Frame::Welcome { input: at, output: session },
            Frame::Input { at, bytes: bytes.clone() }, Frame::InputEnd { at }, Frame::Output { at, bytes },
            Frame::Ack { at }, Frame::End { at, code }, Frame::Finish,
        ];
        let mut lines = Vec::new();
        for frame in &frames {
            frame.encode(session, &mut lines);
        }
        prop_assert_eq!(lines.iter().filter(|&&byte| byte == b'\n').count(), frames.len());
        let mut decoder = Decoder::default();
        let mut came = Vec::new();
        for piece in lines.chunks(cut) {
            decoder.push(piece);
            came.extend(std::iter::from_fn(|| decoder.next_line()));
        }
        let expected: Vec<_> = frames.into_iter().map(|frame| Line::Frame { session, frame }).collect();
        prop_assert_eq!(came, expected);
    }

    #[test]
    fn a_torn_line_costs_no_other(bytes in prop::collection::vec(any::<u8>(), 0..40_000), flip in any::<u8>()) {
        let mut lines = bytes;
        lines.push(b'\n');
        let mut torn = Vec::new();
        Frame::Ack { at: 5 }.encode(1, &mut torn);
        let middle = torn.len() / 2;
        torn[middle] ^= flip;
        lines.extend(&torn);
        lines.push(b'\n');
        Frame::Ack { at: 6 }.encode(1, &mut lines);
        let mut decoder = Decoder::default();
        decoder.push(&lines);
        let came: Vec<_> = std::iter::from_fn(|| decoder.next_line()).collect();
        prop_assert_eq!(came.last(), Some(&Line::Frame { session: 1, frame: Frame::Ack { at: 6 } }));
        let whole = came.iter().filter(|line| matches!(line, Line::Frame { .. })).count();
        prop_assert_eq!(whole, if flip == 0 { 2 } else { 1 });
    }
}

//! A follower in the model's world, from its begin to its verdict.

use std::time::Duration;

use rand::{RngExt, rngs::StdRng};

use super::{
    super::{
        super::{position::Gap, retry::Patience},
        Follower, Notes, Order, Position, Request, Slot, Stage, Trouble, Verdict, Worker,
    },
    history::{History, SECOND},
    kubelet::{Next, Reader},
    plan::Plan,
};

/// Steps after which a run is called endless.
const STEPS: usize = 400_000;

/// What came out.
pub(super) struct Outcome {
    pub(super) out: Vec<u8>,
    pub(super) gaps: Vec<Gap>,
    pub(super) requests: usize,
    /// Bytes read within a second from when the answer was asked for that had the first ones.
    pub(super) early: usize,
}

/// An answer under way.
struct Connection {
    reader: Reader,
    asked: u64,
    answers: u64,
    answered: bool,
    /// When it breaks, and whether that looks like an end.
    breaks: (u64, bool),
    /// Nothing comes from here on.
    dead: u64,
    idle: Option<u64>,
    last: u64,
    next: Option<Next>,
    /// It broke in the middle of something.
    cut: bool,
}

/// What happens next in a connection.
enum Happening {
    Answered,
    Data(Vec<u8>),
    End,
    Broken,
}

pub(super) struct World<'a> {
    rng: &'a mut StdRng,
    history: &'a History,
    plan: &'a Plan,
    now: u64,
    follower: Follower,
    slots: [Option<Connection>; 2],
    refusals: Vec<(u64, Slot, Trouble)>,
    told: Worker,
    kills: usize,
    out: Vec<u8>,
    stored: String,
    requests: usize,
    first: u64,
    early: usize,
    /// Requests are to be spared.
    sparing: bool,
}

fn patience() -> Patience {
    Patience::new(Duration::from_secs(1800)).steady()
}

impl<'a> World<'a> {
    pub(super) fn new(rng: &'a mut StdRng, history: &'a History, plan: &'a Plan) -> Self {
        let sparing = rng.random_bool(0.3);
        let mut follower = Follower::new(Position::default(), Notes::default(), patience());
        follower.spare(sparing);
        let stored = store(&follower);
        Self {
            rng,
            history,
            plan,
            now: 0,
            follower,
            slots: [None, None],
            refusals: Vec::new(),
            told: Worker::default(),
            kills: 0,
            out: Vec::new(),
            stored,
            requests: 0,
            first: 0,
            early: 0,
            sparing,
        }
    }

    pub(super) fn run(mut self) -> Result<Outcome, String> {
        for _ in 0..STEPS {
            self.append();
            while let Some(order) = self.follower.next_order() {
                self.obey(order)?;
            }
            match self.follower.verdict() {
                Some(Verdict::Complete) => {
                    let gaps = self.follower.gaps().to_vec();
                    return Ok(Outcome { out: self.out, gaps, requests: self.requests, early: self.early });
                }
                Some(verdict) => return Err(format!("{verdict:?} {:?}", self.follower.malformed())),
                None => self.step()?,
            }
        }
        Err(format!("no end at {} s", self.now / SECOND))
    }

    fn append(&mut self) {
        let fresh = self.follower.take_output();
        if !fresh.is_empty() {
            self.out.extend_from_slice(&fresh);
            self.stored = store(&self.follower);
        }
    }

    /// The next thing that happens.
    fn step(&mut self) -> Result<(), String> {
        let word = self.next_word();
        let kill = self.plan.kills.get(self.kills).map(|(at, _)| *at);
        let deadline = self.follower.deadline().map(nanos);
        let refusal = self.refusals.iter().map(|(at, ..)| *at).min();
        let data = [Slot::Side, Slot::Stream].map(|slot| self.next_of(slot));
        let times = [word.map(|(at, _)| at), kill, refusal, data[0], data[1], deadline];
        let now = times.iter().flatten().min().copied().ok_or("nothing will ever happen")?;
        self.now = self.now.max(now);
        let due = |time: Option<u64>| time.is_some_and(|time| time <= self.now);
        if due(kill) {
            self.kill();
        } else if let Some((_, worker)) = word.filter(|(at, _)| *at <= self.now) {
            self.told = worker;
            self.follower.worker(worker, clock(self.now));
        } else if due(refusal) {
            let index = self.refusals.iter().position(|(at, ..)| *at <= self.now).unwrap();
            let (_, slot, trouble) = self.refusals.remove(index);
            self.follower.failed(slot, trouble, clock(self.now));
        } else if due(data[0]) {
            self.happen(Slot::Side);
        } else if due(data[1]) {
            self.happen(Slot::Stream);
        } else {
            self.follower.tick(clock(self.now));
        }
        Ok(())
    }

    /// When the watch next tells something new.
    fn next_word(&self) -> Option<(u64, Worker)> {
        let History { start, end, started, finished, .. } = *self.history;
        let running = Worker { stage: Stage::Running, started: Some(started), finished: None };
        let (at, worker) = match self.told.stage {
            Stage::Waiting if self.now < end => (start, running),
            Stage::Waiting | Stage::Running => {
                (end, Worker { stage: Stage::Over, finished: Some(finished), ..running })
            }
            _ => return None,
        };
        let at = at + self.plan.word;
        let away = self.plan.away.iter().chain(&self.plan.frozen).find(|(from, until)| (*from..*until).contains(&at));
        Some((away.map_or(at, |(_, until)| until + SECOND / 2), worker))
    }

    fn obey(&mut self, order: Order) -> Result<(), String> {
        self.trace(&order);
        match order {
            Order::Close(slot) => {
                self.slots[index(slot)] = None;
                self.refusals.retain(|(_, of, _)| *of != slot);
            }
            Order::Open(slot, request) => {
                let under_way = self.refusals.iter().any(|(_, of, _)| *of == slot);
                if under_way || self.slots[index(slot)].is_some() {
                    return Err(format!("two requests in {slot:?}"));
                }
                self.requests += 1;
                self.open(slot, &request);
            }
        }
        Ok(())
    }

    fn trace(&self, what: &impl std::fmt::Debug) {
        if std::env::var_os("WORKNODE_TRACE").is_some() {
            println!("{:.6} {what:?} out {}", self.now as f64 / 1e9, self.out.len());
        }
    }

    fn open(&mut self, slot: Slot, request: &Request) {
        let now = self.now;
        let away = self.plan.away.iter().any(|(from, until)| (*from..*until).contains(&now));
        let refused = if away {
            Some(Trouble::Broken)
        } else if self.plan.early && now < (self.history.start + SECOND).min(self.history.end) {
            Some(Trouble::NoLog)
        } else {
            None
        };
        if let Some(trouble) = refused {
            self.refusals.push((now + self.plan.latency, slot, trouble));
            return;
        }
        let mut begin = now + self.plan.latency / 2;
        for (from, until) in &self.plan.frozen {
            if (*from..*until).contains(&begin) {
                begin = *until;
            }
        }
        let reader = Reader::open(self.history, request, begin, self.plan.cost, self.plan.frozen.clone());
        let after = |times: &[u64]| times.iter().copied().filter(|at| *at > now).min().unwrap_or(u64::MAX);
        let away = self.plan.away.iter().map(|(from, _)| *from).collect::<Vec<_>>();
        let mut breaks = (after(&away), false);
        if slot == Slot::Stream {
            breaks = breaks.min((after(&self.plan.resets), false));
            breaks = breaks.min((after(&self.plan.hidden), true)).min((now + self.plan.age, true));
        }
        let dead = self.plan.dead.filter(|at| *at > now && slot == Slot::Stream).unwrap_or(u64::MAX);
        let answers = begin + self.plan.latency / 2;
        let idle = self.plan.idle.filter(|_| slot == Slot::Stream);
        self.slots[index(slot)] = Some(Connection {
            reader,
            asked: now,
            answers,
            answered: false,
            breaks,
            dead,
            idle,
            last: answers,
            next: None,
            cut: false,
        });
    }

    fn next_of(&mut self, slot: Slot) -> Option<u64> {
        if !self.follower.reads(slot) {
            return None;
        }
        let way = self.plan.latency / 2;
        let connection = self.slots[index(slot)].as_mut()?;
        let at = connection.next(self.history, way);
        (at < connection.dead).then_some(at)
    }

    fn happen(&mut self, slot: Slot) {
        let way = self.plan.latency / 2;
        let Some(connection) = self.slots[index(slot)].as_mut() else { return };
        let (now, happening) = (clock(self.now), connection.happen(self.now, way, self.rng));
        if std::env::var_os("WORKNODE_TRACE").is_some() {
            let what = match &happening {
                Happening::Answered => "answered".to_owned(),
                Happening::Data(data) => format!("data {} {}", data.len(), data[..data.len().min(45)].escape_ascii()),
                Happening::End => "end".to_owned(),
                Happening::Broken => "broken".to_owned(),
            };
            println!("{:.6} {slot:?} {what}", self.now as f64 / 1e9);
        }
        if self.out.is_empty() {
            self.first = connection.asked;
        }
        match happening {
            Happening::Answered => self.follower.answered(slot, now),
            Happening::Data(data) => {
                let cut = if self.rng.random_bool(0.1) { self.rng.random_range(0..=data.len()) } else { data.len() };
                let first = connection.asked == self.first && self.now < self.first + SECOND;
                self.early += if first { cut } else { 0 };
                // The rest comes when what this brings about is done.
                let cut = if connection.cut { data.len() } else { cut };
                connection.next = (cut < data.len()).then(|| Next::Data(self.now - way, data[cut..].to_vec()));
                self.follower.bytes(slot, &data[..cut], now);
            }
            Happening::End => {
                self.slots[index(slot)] = None;
                self.follower.ended(slot, now);
            }
            Happening::Broken => {
                self.slots[index(slot)] = None;
                self.follower.failed(slot, Trouble::Broken, now);
            }
        }
    }

    /// A new daemon has what the old one wrote with its output.
    fn kill(&mut self) {
        let back = self.plan.kills[self.kills].1;
        self.kills += 1;
        self.slots = [None, None];
        self.refusals.clear();
        let (position, notes) = serde_json::from_str(&self.stored).unwrap();
        self.follower = Follower::new(position, notes, patience());
        self.follower.spare(self.sparing);
        self.now = self.now.max(back);
        let running = self.now >= self.history.start + self.plan.word;
        self.told = Worker::default();
        if running {
            let over = self.now >= self.history.end + self.plan.word;
            self.told = Worker {
                stage: if over { Stage::Over } else { Stage::Running },
                started: Some(self.history.started),
                finished: over.then_some(self.history.finished),
            };
            self.follower.worker(self.told, clock(self.now));
        }
    }
}

impl Connection {
    /// When something next happens.
    fn next(&mut self, history: &History, way: u64) -> u64 {
        if !self.answered {
            return self.answers.min(self.breaks.0);
        }
        if self.cut {
            return self.breaks.0;
        }
        if self.next.is_none() {
            self.next = self.reader.next(history);
        }
        let at = match &self.next {
            Some(Next::Data(at, _) | Next::End(at)) => at + way,
            None => u64::MAX,
        };
        let idle = self.idle.map_or(u64::MAX, |idle| self.last.max(self.asked) + idle);
        at.min(self.breaks.0).min(idle)
    }

    fn happen(&mut self, now: u64, way: u64, rng: &mut StdRng) -> Happening {
        let at = match &self.next {
            Some(Next::Data(at, _) | Next::End(at)) => at + way,
            None => u64::MAX,
        };
        let idle = self.idle.is_some_and(|idle| self.last.max(self.asked) + idle < at);
        if self.breaks.0 <= now || (self.answered && idle) {
            let hidden = self.breaks.1 && self.breaks.0 <= now;
            // A break may fall into the middle of what was under way.
            if rng.random_bool(0.5)
                && let Some(Next::Data(at, data)) = &mut self.next
                && *at <= now
                && data.len() > 1
            {
                let begin = data[..rng.random_range(1..data.len())].to_vec();
                self.next = None;
                self.cut = true;
                return Happening::Data(begin);
            }
            self.cut = false;
            return if hidden { Happening::End } else { Happening::Broken };
        }
        if !self.answered {
            self.answered = true;
            return Happening::Answered;
        }
        self.last = now;
        match self.next.take() {
            Some(Next::Data(_, data)) => Happening::Data(data),
            _ => Happening::End,
        }
    }
}

fn store(follower: &Follower) -> String {
    serde_json::to_string(&(follower.position(), follower.notes())).unwrap()
}

fn index(slot: Slot) -> usize {
    usize::from(slot == Slot::Side)
}

fn clock(now: u64) -> Duration {
    Duration::from_nanos(now)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

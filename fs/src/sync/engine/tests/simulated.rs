//! A simulated tree and server around the engine: random queues, random failures, random order of events.
//! Whatever happens, everything is settled, each operation once, and nothing that must keep its order
//! loses it.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};

/// One operation of a random queue.
#[derive(Debug, Clone)]
struct Op {
    node: u64,
    has_content: bool,
    is_large: bool,
    is_open: bool,
    arrives: usize,
}

fn op() -> impl Strategy<Value = Op> {
    (1u64..6, any::<bool>(), any::<bool>(), any::<bool>(), 0usize..30).prop_map(
        |(node, has_content, is_large, is_open, arrives)| Op { node, has_content, is_large, is_open, arrives },
    )
}

/// Deterministic choices from a seed.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

#[derive(Debug)]
struct World {
    engine: Engine,
    dice: Dice,
    now: Duration,
    queue: BTreeMap<Ticket, QueueItem>,
    counters: BTreeMap<Ticket, u64>,
    next_counter: u64,
    /// What the server has settled, by counter.
    server: BTreeMap<u64, Ticket>,
    uploaded: HashSet<Ticket>,
    /// Whose chunks the server lost after they were sent.
    collected: HashSet<Ticket>,
    settled: Vec<Ticket>,
    pending: Vec<Action>,
    timer: Option<Duration>,
    /// From then on nothing fails any more.
    faults_left: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            engine: Engine::new(seed),
            dice: Dice(seed | 1),
            now: Duration::ZERO,
            queue: BTreeMap::new(),
            counters: BTreeMap::new(),
            next_counter: 1,
            server: BTreeMap::new(),
            uploaded: HashSet::new(),
            collected: HashSet::new(),
            settled: Vec::new(),
            pending: Vec::new(),
            timer: None,
            faults_left: 40,
        }
    }

    fn fails(&mut self) -> bool {
        let fails = self.faults_left > 0 && self.dice.roll(4) == 0;
        self.faults_left -= u32::from(fails);
        fails
    }

    fn tell(&mut self, event: Event) {
        for action in self.engine.handle(event, self.now) {
            match action {
                Action::SetTimer { at } => {
                    assert!(at > self.now, "a timer lies in the future");
                    self.timer = Some(at);
                }
                other => self.pending.push(other),
            }
        }
    }

    fn enqueue(&mut self, ticket: Ticket, op: &Op) {
        let readiness = if op.is_open && op.has_content {
            Readiness::Open { quiet: Duration::ZERO, age: Duration::ZERO }
        } else {
            Readiness::Ready
        };
        let item = QueueItem {
            ticket,
            content_of: op.has_content.then_some(Ino(op.node)),
            content_bytes: if op.is_large { 50 << 20 } else { 1_000 },
            readiness,
            frozen: None,
            keys: vec![QueueKey::Inode(Ino(op.node))],
            above: if op.node > 2 { vec![Ino(1), Ino(2)] } else { vec![Ino(100)] },
            ordered_tree: None,
        };
        self.queue.insert(ticket, item);
        self.tell(Event::QueueChanged);
    }

    /// One pending thing happens, or time passes.
    fn step(&mut self) {
        if self.pending.is_empty() {
            self.now = self.timer.take().unwrap_or(self.now + Duration::from_secs(1)).max(self.now);
            for item in self.queue.values_mut() {
                if let Readiness::Open { .. } = item.readiness {
                    item.readiness = Readiness::Open { quiet: limits::OPEN_QUIET_MIN, age: Duration::ZERO };
                }
            }
            return self.tell(Event::Tick);
        }
        let at = self.dice.roll(self.pending.len() as u64) as usize;
        let action = self.pending.remove(at);
        self.now += Duration::from_micros(self.dice.roll(3_000));
        self.act(action);
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::ReadQueue { max } => {
                let items = self.queue.values().take(max).cloned().collect();
                self.tell(Event::QueueRead { items });
            }
            Action::Upload { group, tickets, .. } => self.upload(group, &tickets),
            Action::Push { tickets } => self.push(&tickets),
            Action::Settle { answers, .. } => self.settle(answers),
            Action::Rename { ticket } => self.tell(Event::Renamed { ticket, result: Ok(()) }),
            Action::PutAside { ticket } => self.tell(Event::PutAside { ticket, result: Ok(()) }),
            Action::Pull { .. } => {
                let result = if self.fails() { Err(unreachable()) } else { Ok(self.server.len() as u64) };
                self.tell(Event::PullEnded { result });
            }
            Action::OpenLink if self.fails() => self.tell(Event::LinkLost { error: unreachable() }),
            Action::OpenLink => self.tell(Event::LinkOpened),
            Action::CloseLink | Action::RenewIdentity | Action::SetTimer { .. } => {}
        }
    }

    fn upload(&mut self, group: u64, tickets: &[Ticket]) {
        let mut results = Vec::new();
        for ticket in tickets {
            let result = match self.dice.roll(4) {
                0 if self.fails() => UploadResult::Failed(unreachable()),
                1 if self.fails() => UploadResult::Failed(Failure::Local("disk".into())),
                2 if self.fails() => UploadResult::Changed,
                _ => {
                    self.uploaded.insert(*ticket);
                    UploadResult::Done
                }
            };
            results.push((*ticket, result));
        }
        self.tell(Event::UploadEnded { group, results });
    }

    fn push(&mut self, tickets: &[Ticket]) {
        assert!(!tickets.is_empty());
        if self.fails() {
            return self.tell(Event::PushFailed { error: unreachable() });
        }
        let tickets: Vec<Ticket> = tickets.iter().filter(|t| self.queue.contains_key(t)).copied().collect();
        for ticket in &tickets {
            self.freeze(*ticket);
        }
        assert!(tickets.is_sorted_by_key(|ticket| self.counters[ticket]), "counters increase in a push");
        let mut answers: Vec<(Ticket, Answer)> = Vec::new();
        for ticket in tickets {
            let is_held = answers.last().is_some_and(|(_, last)| !last.outcome.is_settled());
            let outcome = if is_held { Outcome::Skipped } else { self.answer(ticket) };
            answers.push(answer(ticket.0, outcome));
        }
        if self.fails() {
            return self.tell(Event::PushFailed { error: unreachable() });
        }
        self.tell(answered(answers));
    }

    fn freeze(&mut self, ticket: Ticket) {
        self.check_order(ticket);
        if !self.counters.contains_key(&ticket) {
            self.counters.insert(ticket, self.next_counter);
            self.next_counter += 1;
        }
        self.queue.get_mut(&ticket).unwrap().frozen = self.counters.get(&ticket).copied();
    }

    /// Everything before it that must not be overtaken has a counter already.
    fn check_order(&self, ticket: Ticket) {
        let item = &self.queue[&ticket];
        let touches = |a: &QueueItem, b: &QueueItem| {
            let shared = a.keys.iter().any(|key| b.keys.contains(key));
            shared || a.above.iter().any(|ino| b.keys.contains(&QueueKey::Inode(*ino)))
        };
        for earlier in self.queue.range(..ticket).map(|(_, earlier)| earlier) {
            let must_wait = touches(item, earlier) || touches(earlier, item);
            assert!(!must_wait || self.counters.contains_key(&earlier.ticket), "{ticket:?} overtook {earlier:?}");
        }
    }

    fn answer(&mut self, ticket: Ticket) -> Outcome {
        let counter = self.counters[&ticket];
        if self.server.contains_key(&counter) {
            return Outcome::Applied;
        }
        let lacks_chunks = self.queue[&ticket].content_of.is_some() && !self.uploaded.contains(&ticket);
        if lacks_chunks {
            assert!(self.collected.contains(&ticket), "{ticket:?} was pushed before its content");
            return Outcome::RetryLater { code: ErrorCode::MissingChunks, missing: Vec::new() };
        }
        if self.fails() {
            return match self.dice.roll(3) {
                0 => Outcome::NeedsName,
                1 if self.queue[&ticket].content_of.is_some() => {
                    self.uploaded.remove(&ticket);
                    self.collected.insert(ticket);
                    Outcome::RetryLater { code: ErrorCode::MissingChunks, missing: Vec::new() }
                }
                _ => Outcome::RetryLater { code: ErrorCode::Unavailable, missing: Vec::new() },
            };
        }
        let highest = self.server.last_key_value().map_or(0, |(counter, _)| *counter);
        assert!(counter > highest, "counters increase from push to push");
        self.server.insert(counter, ticket);
        Outcome::Applied
    }

    fn settle(&mut self, answers: Vec<(Ticket, Answer)>) {
        let tickets: Vec<Ticket> = answers.iter().map(|(ticket, _)| *ticket).collect();
        if self.fails() {
            return self.tell(Event::Settled { tickets, result: Err("disk".into()) });
        }
        for ticket in &tickets {
            assert!(self.queue.remove(ticket).is_some(), "{ticket:?} was settled twice");
            self.settled.push(*ticket);
        }
        let standing = Standing { seq: self.server.len() as u64, gap: self.dice.roll(3) == 0 };
        self.tell(Event::Settled { tickets, result: Ok(standing) });
    }
}

fn run(ops: &[Op], seed: u64) {
    let mut world = World::new(seed);
    world.tell(Event::Start);
    let mut waiting: Vec<(Ticket, &Op)> = (1..).map(Ticket).zip(ops).collect();
    for step in 0..20_000 {
        while waiting.first().is_some_and(|(_, op)| op.arrives <= step) {
            let (ticket, op) = waiting.remove(0);
            world.enqueue(ticket, op);
        }
        world.step();
        if waiting.is_empty() && world.queue.is_empty() {
            assert_eq!(world.settled.len(), ops.len());
            return;
        }
    }
    panic!("stuck with {:?}, stages {:?}, pending {:?}", world.queue.keys(), world.engine.stages, world.pending);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn everything_is_settled_once_and_in_order(ops in prop::collection::vec(op(), 1..40), seed in any::<u64>()) {
        run(&ops, seed);
    }
}

//! Owns one run: a world is made, the script happens to it, everything heals, and the end is looked at.

use super::check;
use super::choice::Choice;
use super::device::{Machine, is_database};
use super::dice::Dice;
use super::handles::Handle;
use super::net::{Centre, Line};
use super::oracle::Oracle;
use super::plant::Plant;
use super::script::{Act, Script, Step};
use super::server::{Backup, SimServer};
use super::time::{MachineClock, Time};
use super::trace::Trace;
use super::user::User;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tarn::env::Fault;
use tarn::meta::rows::Ticket;
use tarn::tree::{LocalNames, TreeError};
use tokio::sync::watch;

/// Healed devices must agree within this.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// No run asks for other names more often.
const NAMES_MAX: u64 = 500;

/// What a run was.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Hash of everything that happened.
    pub hash: String,
    pub events: u64,
    pub deeds: u64,
    pub cuts: u64,
    pub crashes: u64,
    /// Machines that became an older copy of themselves.
    pub restores: u64,
    /// Servers that did.
    pub server_restores: u64,
    /// Deeds for which the disk had no room.
    pub full: u64,
    pub device_time: Duration,
    pub outcomes: BTreeMap<&'static str, u64>,
    pub faults: Vec<String>,
    /// The last events.
    pub tail: String,
}

/// What comes next, beside the script.
#[derive(Debug, Clone)]
enum Next {
    Step(Act),
    /// A person says what becomes of a conflict.
    Choose(Box<Choice>),
    /// The power is gone now; what stays is chosen.
    Off(u64),
    On,
}

struct World {
    time: Time,
    centre: Arc<Centre>,
    machines: Vec<Machine>,
    oracle: Oracle,
    trace: Trace,
    due: BTreeMap<(u64, u64), (usize, Next)>,
    count: u64,
    report: Report,
    /// An older copy of the server.
    backup: Option<Backup>,
    /// Machines that are still to be bought.
    to_come: BTreeSet<usize>,
    /// Machines that found no room on their disks when they were switched on.
    starved: BTreeSet<usize>,
    /// When it was last looked whether everybody knows of everything.
    looked: Duration,
}

/// Runs a script. `keep`: how many of the last events are kept for people.
pub fn run(script: &Script, keep: usize, plant: Option<Plant>) -> Report {
    let (time, trace) = (Time::default(), Trace::keeping(keep));
    let world = World::new(script, plant, (time.clone(), trace.clone()));
    super::panics::clear();
    let mut report = time.run(world.run(script));
    report.faults.extend(super::panics::take());
    (report.hash, report.events) = trace.hash();
    report.tail.insert_str(0, &trace.tail());
    report
}

impl World {
    fn new(script: &Script, plant: Option<Plant>, (time, trace): (Time, Trace)) -> Self {
        let clock = Arc::new(MachineClock { time: time.clone(), skew_secs: 0 });
        let centre = Centre { server: Mutex::new(SimServer::new(plant)), seq: watch::Sender::new(0), clock };
        let mut dice = Dice::of(script.seed, 2);
        let machine = |who: usize| Machine {
            oddness: script.oddness,
            line_bytes: script.line_bytes,
            keeps_here: script.keeps_here,
            skew_secs: dice.below(200_000) as i64 - 100_000,
            plant,
            ..Machine::new(who, script.seed)
        };
        let machines = (0..script.machines).map(machine).collect();
        let (oracle, due, report) = (Oracle::default(), BTreeMap::new(), Report::default());
        let joins = script.steps.iter().filter(|step| step.act == Act::Join && step.who < script.machines);
        let (to_come, starved, looked) = (joins.map(|step| step.who).collect(), BTreeSet::new(), Duration::ZERO);
        centre.server.lock().refusals = script.refusals;
        let centre = Arc::new(centre);
        Self { time, centre, machines, oracle, trace, due, count: 0, report, backup: None, to_come, starved, looked }
    }

    async fn run(mut self, script: &Script) -> Report {
        for who in (0..self.machines.len()).filter(|who| !self.to_come.contains(who)).collect::<Vec<_>>() {
            self.boot(who);
        }
        for Step { at_ms, who, act } in &script.steps {
            self.plan(*at_ms, *who, Next::Step(act.clone()));
        }
        while let Some(((at_ms, _), (who, next))) = self.due.pop_first() {
            let at = Duration::from_millis(at_ms);
            self.time.sleep(at.saturating_sub(self.time.now())).await;
            if who < self.machines.len() {
                self.happen(who, next).await;
            }
            if !self.report.faults.is_empty() || self.asks_without_end() {
                break;
            }
        }
        if self.report.faults.is_empty() {
            self.heal().await;
        }
        self.report.device_time = self.time.now() * self.machines.len() as u32;
        self.report.outcomes = self.centre.server.lock().outcomes.clone();
        for machine in &mut self.machines {
            machine.disk.fail_after(0, Fault::Off);
            if let Some(life) = machine.life.take() {
                life.end().await;
            }
        }
        self.report
    }

    fn plan(&mut self, at_ms: u64, who: usize, next: Next) {
        self.count += 1;
        self.due.insert((at_ms, self.count), (who, next));
    }

    fn boot(&mut self, who: usize) {
        let booted = self.machines[who].boot(&self.time, &self.centre, &self.trace);
        self.trace.note(self.time.now(), who, &format!("boot: {:?}", booted.as_ref().map_err(ToString::to_string)));
        if let Err(error) = booted {
            // There must be room for what the log has and the files do not.
            if self.machines[who].disk.is_bounded() && error.is_full() {
                self.starved.insert(who);
                return;
            }
            self.report.faults.push(format!("machine {who} does not start: {error}"));
        }
    }

    async fn happen(&mut self, who: usize, next: Next) {
        match next {
            Next::Step(Act::User(deed, roll)) => self.user(who, deed, roll),
            Next::Step(Act::Cut(is_told)) => {
                self.report.cuts += 1;
                self.machines[who].line.send_replace(if is_told { Line::Down } else { Line::Silent });
            }
            Next::Step(Act::Heal) => {
                self.machines[who].line.send_replace(Line::Up);
                if let Some(life) = self.machines[who].life() {
                    life.sync.network_changed();
                }
            }
            Next::Step(Act::Kill) => self.kill(who, false).await,
            Next::Step(Act::Backup) => self.back_up(who),
            Next::Step(Act::RollBack) => self.kill(who, true).await,
            Next::Step(Act::BackUpServer) => self.backup = Some(self.centre.server.lock().backup()),
            Next::Step(Act::PutServerBack(keeps_chunks)) => self.put_server_back(keeps_chunks),
            Next::Step(Act::Join) => self.join(who),
            Next::Step(Act::Fill(bytes_free)) => {
                self.machines[who].disk.leave(bytes_free);
                if bytes_free.is_none() && self.starved.remove(&who) {
                    self.boot(who);
                }
            }
            Next::Step(Act::Quota(bytes_free)) => self.centre.server.lock().leave(bytes_free),
            Next::Step(Act::Resolve(roll)) => self.look_at_conflict(who, roll),
            Next::Choose(choice) => self.choose(who, &choice),
            // What is off has no power to lose.
            Next::Step(Act::PowerCut(..) | Act::DatabaseCut(..)) if self.machines[who].life.is_none() => {}
            Next::Step(Act::PowerCut(changes, roll)) => self.power_fails(who, |path| !is_database(path), changes, roll),
            Next::Step(Act::DatabaseCut(changes, roll)) => {
                self.power_fails(who, is_database, changes, roll);
                if let Some(life) = self.machines[who].life() {
                    // It may well be told that there is no power.
                    let _ = life.journal.materialise_now();
                }
            }
            Next::Off(roll) => self.power_off(who, roll).await,
            Next::On => self.boot(who),
        }
    }

    fn now_ms(&self) -> u64 {
        self.time.now().as_millis() as u64
    }

    fn join(&mut self, who: usize) {
        if self.to_come.remove(&who) {
            self.boot(who);
        }
    }

    /// A person sees both files as this device has them, and has a long lunch.
    fn look_at_conflict(&mut self, who: usize, roll: u64) {
        let (machine, server) = (&self.machines[who], self.centre.server.lock());
        let Some(life) = machine.life().filter(|_| *machine.line.borrow() == Line::Up) else { return };
        let mut dice = Dice::of(roll, 14);
        let looked = Choice::look(life, &server, &mut dice);
        drop(server);
        if let Some(choice) = looked {
            let soon = self.now_ms() + if dice.chance(500) { dice.below(2_000) } else { dice.below(300_000) };
            self.plan(soon, who, Next::Choose(Box::new(choice)));
        }
    }

    fn choose(&mut self, who: usize, choice: &Choice) {
        if *self.machines[who].line.borrow() != Line::Up {
            return;
        }
        let device = *self.machines[who].id.lock();
        let done =
            choice.tell(&mut self.centre.server.lock(), (who, device), &mut self.oracle, self.centre.clock.wall());
        self.trace.note(self.time.now(), who, &format!("{choice}: {done:?}"));
        let seq = self.centre.server.lock().seq();
        self.centre.seq.send_replace(seq);
    }

    /// Once in a while: if every machine knows of everything, then nobody can say later that it had not seen it.
    fn look_around(&mut self) {
        let is_due = self.time.now() >= self.looked + Duration::from_secs(60);
        let mut machines = self.machines.iter().filter(|machine| !self.to_come.contains(&machine.who));
        if !is_due || machines.any(|machine| machine.life.is_none()) || !self.agree() {
            return;
        }
        self.looked = self.time.now();
        let server = self.centre.server.lock();
        let (in_place, present) = check::present(&server);
        self.report.faults.extend(check::returned(&server, &self.oracle, &in_place));
        self.oracle.all_seen(&in_place, &present);
    }

    fn user(&mut self, who: usize, deed: super::script::Deed, roll: u64) {
        self.look_around();
        let machine = &mut self.machines[who];
        let Some(life) = machine.life.as_mut() else { return };
        let dice = Dice::of(roll, 5);
        let missed = life.kernel.faults(&life.tree);
        self.report.faults.extend(missed.into_iter().map(|missed| format!("machine {who}: {missed}")));
        let mut user = User { who, life, centre: &self.centre, oracle: &mut self.oracle, dice };
        let done = user.act(deed);
        // Of what is done through it, a kernel knows.
        life.kernel.walk(&life.tree, &mut Dice::of(roll, 6));
        self.report.deeds += 1;
        let said = match &done {
            Ok(said) => said.clone(),
            Err(error) => format!("{deed:?}: {error}"),
        };
        self.trace.note(self.time.now(), who, &said);
        match done {
            Err(TreeError::Unlisted(folder)) => {
                let lister = life.lister.clone();
                tokio::spawn(async move { drop(lister.list(folder.node).await) });
            }
            Err(TreeError::Database(detail)) if !machine.disk.is_off() => {
                self.report.faults.push(format!("machine {who}: {deed:?}: the database: {detail}"));
            }
            Err(TreeError::Disk(error)) if error.kind() == std::io::ErrorKind::StorageFull => self.report.full += 1,
            _ => {}
        }
    }

    fn back_up(&mut self, who: usize) {
        // What is off is not copied.
        if self.machines[who].life.is_none() {
            return;
        }
        self.machines[who].back_up();
        let server = self.centre.server.lock();
        self.oracle.backed_up(who, check::everywhere(&server), server.versions.keys().copied().collect());
        drop(server);
        self.trace.note(self.time.now(), who, "copied");
    }

    fn put_server_back(&mut self, keeps_chunks: bool) {
        let Some(backup) = self.backup.clone() else { return };
        let mut server = self.centre.server.lock();
        let was = server.seq();
        self.oracle.replaced(&check::aside(&server));
        server.put_back(backup, keeps_chunks);
        self.report.server_restores += 1;
        self.trace.note(self.time.now(), 99, &format!("the server is back from {was} to {}", server.seq()));
        self.centre.seq.send_replace(server.seq());
    }

    /// The machine is the copy that was made of it; what the server has not got since then went with it.
    fn roll_back(&mut self, who: usize) {
        if !self.machines[who].restore() {
            return;
        }
        let (server, then) = (self.centre.server.lock(), self.oracle.versions_when_copied(who));
        let sent = check::sent_since(&server, &then, *self.machines[who].id.lock());
        self.oracle.rolled_back(who, &check::everywhere(&server), sent);
        drop(server);
        self.report.restores += 1;
        self.trace.note(self.time.now(), who, "rolled back");
    }

    async fn kill(&mut self, who: usize, is_rolled_back: bool) {
        if is_rolled_back && self.machines[who].backup.is_none() {
            return;
        }
        let Some(life) = self.machines[who].life.take() else { return };
        self.report.crashes += 1;
        let after = self.machines[who].disk.copy();
        self.machines[who].disk.fail_after(0, Fault::Off);
        life.end().await;
        self.machines[who].disk = after;
        self.oracle.killed(who);
        self.trace.note(self.time.now(), who, "killed");
        if is_rolled_back {
            self.roll_back(who);
        }
        self.boot(who);
    }

    fn power_fails(&mut self, who: usize, counted: fn(&Path) -> bool, changes: u64, roll: u64) {
        let disk = &self.machines[who].disk;
        disk.count_only(counted);
        disk.fail_after(changes, Fault::Off);
        let soon = self.now_ms() + roll % 2_000;
        self.plan(soon, who, Next::Off(roll));
    }

    async fn power_off(&mut self, who: usize, roll: u64) {
        let Some(life) = self.machines[who].life.take() else { return };
        self.report.crashes += 1;
        let mut dice = Dice::of(roll, 9);
        let share = [0, 500, 900, 1000][dice.below(4) as usize];
        let after = self.machines[who].disk.power_cut(|| dice.chance(share));
        life.end().await;
        self.machines[who].disk = after;
        self.oracle.power_cut(who);
        self.trace.note(self.time.now(), who, "power off");
        let later = self.now_ms() + roll % 60_000;
        self.plan(later, who, Next::On);
    }

    /// Everything works again and nobody does anything any more.
    async fn heal(&mut self) {
        self.centre.server.lock().refusals = 0;
        self.centre.server.lock().leave(None);
        self.machines.iter().for_each(|machine| machine.disk.leave(None));
        for who in 0..self.machines.len() {
            if self.machines[who].life.is_none() {
                self.boot(who);
            }
            let machine = &mut self.machines[who];
            machine.line.send_replace(Line::Up);
            let Some(life) = machine.life.as_mut() else { return };
            *life.remote.oddness.lock() = 0;
            life.remote.line_bytes.store(0, Ordering::Relaxed);
            for Handle { ino, writes, .. } in std::mem::take(&mut life.handles) {
                // It may be gone.
                let _ = life.tree.closed(ino, writes);
            }
            if let Err(error) = life.tree.keep_here(LocalNames::default()) {
                self.report.faults.push(format!("machine {who}: what stayed on it does not go: {error}"));
            }
            life.sync.network_changed();
        }
        let deadline = self.time.now() + PATIENCE;
        while !self.agree() {
            if self.time.now() >= deadline || self.asks_without_end() {
                return self.stuck();
            }
            self.time.sleep(Duration::from_secs(5)).await;
        }
        let server = self.centre.server.lock();
        self.report.faults.extend(check::server(&server, &self.oracle, self.report.server_restores == 0));
        for machine in &self.machines {
            if let Some(life) = machine.life() {
                self.report.faults.extend(check::differences(machine.who, life, &server));
            }
        }
        if !self.report.faults.is_empty() {
            self.report.tail = check::listing(&server);
        }
    }

    fn asks_without_end(&self) -> bool {
        self.centre.server.lock().outcomes.get("needs name").is_some_and(|&asked| asked > NAMES_MAX)
    }

    fn agree(&self) -> bool {
        let cursor = Some(self.centre.server.lock().cursor());
        let lives = self.machines.iter().filter_map(Machine::life);
        lives.into_iter().all(|life| life.tree.first_ticket().is_none() && life.tree.cursor() == cursor)
    }

    fn stuck(&mut self) {
        let head = self.centre.server.lock().seq();
        for machine in &self.machines {
            let Some(life) = machine.life() else { continue };
            let (first, seq) = (life.tree.first_ticket(), life.tree.cursor().map(|cursor| cursor.seq));
            if first.is_none() && seq == Some(head) {
                continue;
            }
            let queue: Vec<Ticket> =
                life.tree.queue(20).map(|items| items.iter().map(|item| item.ticket).collect()).unwrap_or_default();
            let status = life.sync.status();
            self.report.faults.push(format!(
                "machine {} does not come to rest: at {seq:?} of {head}, queue {queue:?}, {:?}",
                machine.who, status.engine
            ));
        }
    }
}

//! Owns what happens in a run: a list of steps that one seed gives, and that can be shortened.

use super::dice::Dice;
use super::quarrels::Turn;
use super::{misfortune, quarrels};
use std::fmt;

/// What a person, the network or fate does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A person's program does something; the number decides where and with what.
    User(Deed, u64),
    /// The line is cut; whether anybody is told.
    Cut(bool),
    /// The line is there again.
    Heal,
    /// The daemon is killed: what it had given to the kernel stays.
    Kill,
    /// A copy of the whole machine is put by.
    Backup,
    /// The machine is what its last copy was: an older state under a name that the server knows.
    RollBack,
    /// A copy of the server is put by.
    BackUpServer,
    /// The server is what its copy was, and says so; whether it still has all chunks.
    PutServerBack(bool),
    /// The power fails after so many more changes of log and contents; the number decides what of the rest stays.
    PowerCut(u64, u64),
    /// The same; counted are the changes of the database, into which is brought what waits for that.
    DatabaseCut(u64, u64),
    /// The machine's disk is full but for so many bytes; `None`: it has room again.
    Fill(Option<u64>),
    /// The account has room for so many bytes; `None`: for all.
    Quota(Option<u64>),
    /// The machine is bought: until then it was off.
    Join,
    /// A person looks at an open conflict, and some time later says what becomes of it.
    Resolve(u64),
}

/// What programs do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    MakeDir,
    Create,
    Replace,
    Append,
    Overwrite,
    Truncate,
    Unlink,
    RemoveTree,
    Rename,
    Exchange,
    Link,
    Symlink,
    Chmod,
    Xattr,
    SafeSave,
    BackupSave,
    Open,
    Close,
    Fsync,
    Read,
    Evict,
    /// A file is written and synced, as a database or a careful editor does it.
    SyncedSave,
    /// The first file of all is saved once more: everybody takes the same one.
    Autosave,
    /// A turn of a quarrel over a name.
    Quarrel(Turn),
}

const DEEDS: [(Deed, u64); 21] = [
    (Deed::MakeDir, 8),
    (Deed::Create, 16),
    (Deed::Replace, 8),
    (Deed::Append, 10),
    (Deed::Overwrite, 6),
    (Deed::Truncate, 3),
    (Deed::Unlink, 7),
    (Deed::RemoveTree, 2),
    (Deed::Rename, 14),
    (Deed::Exchange, 2),
    (Deed::Link, 4),
    (Deed::Symlink, 2),
    (Deed::Chmod, 4),
    (Deed::Xattr, 2),
    (Deed::SafeSave, 6),
    (Deed::BackupSave, 3),
    (Deed::Open, 5),
    (Deed::Close, 5),
    (Deed::Fsync, 8),
    (Deed::Read, 6),
    (Deed::Evict, 2),
];

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub at_ms: u64,
    pub who: usize,
    pub act: Act,
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    pub seed: u64,
    pub machines: usize,
    /// Of a thousand calls so many meet something odd.
    pub oddness: u64,
    /// Files of one name stay on the machine that makes them until the end.
    pub keeps_here: bool,
    /// Bytes that a line carries in a second; no bound if 0.
    pub line_bytes: u64,
    /// Of a thousand contents the server refuses so many.
    pub refusals: u64,
    pub steps: Vec<Step>,
}

/// What a script is made of.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub minutes: u64,
    pub crashes: bool,
    /// Whether what seldom happens by chance is made to happen (see `misfortune`).
    pub bad_luck: bool,
    /// Whether machines want the same names again and again (see `quarrels`).
    pub quarrels: bool,
}

impl Script {
    /// The script of a seed.
    pub fn of(seed: u64, shape: Shape) -> Self {
        let mut dice = Dice::of(seed, 1);
        let machines = 2 + dice.below(4) as usize;
        let oddness = [0, 5, 30, 120][dice.below(4) as usize];
        let end_ms = shape.minutes * 60_000;
        let mut steps = Vec::new();
        for who in 0..machines {
            deeds(&mut dice, who, end_ms, &mut steps);
            cuts(&mut dice, who, end_ms, &mut steps);
            if shape.crashes {
                crashes(&mut dice, who, end_ms, &mut steps);
                roll_back(&mut dice, who, end_ms, &mut steps);
            }
        }
        put_server_back(&mut Dice::of(seed, 11), end_ms, &mut steps);
        let mut script = Self { seed, machines, oddness, keeps_here: seed % 4 == 3, line_bytes: 0, refusals: 0, steps };
        if shape.bad_luck {
            misfortune::strike(&mut script, shape.crashes, end_ms);
        }
        if shape.quarrels {
            quarrels::add(seed, machines as u64, end_ms, &mut script.steps);
        }
        script.steps.sort_by_key(|step: &Step| (step.at_ms, step.who));
        script
    }
}

/// People work in bursts: 60 deeds and more an hour.
fn deeds(dice: &mut Dice, who: usize, end_ms: u64, steps: &mut Vec<Step>) {
    let mut at_ms = dice.below(20_000);
    while at_ms < end_ms {
        for _ in 0..dice.between(1, 12) {
            steps.push(Step { at_ms, who, act: Act::User(deed(dice), dice.roll()) });
            at_ms += if dice.chance(700) { dice.below(400) } else { dice.below(8_000) };
        }
        at_ms += dice.between(10_000, 400_000);
    }
}

/// Once at most, and not where a machine becomes its older self: then both who had something may have lost it.
fn put_server_back(dice: &mut Dice, end_ms: u64, steps: &mut Vec<Step>) {
    if !dice.chance(300) || steps.iter().any(|step| step.act == Act::RollBack) {
        return;
    }
    let copied = dice.below(end_ms);
    steps.push(Step { at_ms: copied, who: 0, act: Act::BackUpServer });
    let at_ms = dice.between(copied, end_ms);
    steps.push(Step { at_ms, who: 0, act: Act::PutServerBack(true) });
}

pub fn deed(dice: &mut Dice) -> Deed {
    let mut at = dice.below(DEEDS.iter().map(|(_, weight)| weight).sum());
    for (deed, weight) in DEEDS {
        if at < weight {
            return deed;
        }
        at -= weight;
    }
    Deed::Create
}

fn cuts(dice: &mut Dice, who: usize, end_ms: u64, steps: &mut Vec<Step>) {
    let mut at_ms = dice.below(1_200_000);
    while at_ms < end_ms {
        steps.push(Step { at_ms, who, act: Act::Cut(dice.chance(600)) });
        let long = dice.chance(250);
        at_ms += if long { dice.between(60_000, 1_500_000) } else { dice.between(500, 60_000) };
        steps.push(Step { at_ms, who, act: Act::Heal });
        at_ms += dice.between(60_000, 2_400_000);
    }
}

fn crashes(dice: &mut Dice, who: usize, end_ms: u64, steps: &mut Vec<Step>) {
    let mut at_ms = dice.below(3_600_000);
    while at_ms < end_ms {
        let act = if dice.chance(300) { Act::Kill } else { power_cut(dice.below(12), dice.roll()) };
        steps.push(Step { at_ms, who, act });
        at_ms += dice.between(600_000, 10_000_000);
    }
}

/// In the middle of what is done, or of what is brought into the database: that has many more changes.
fn power_cut(changes: u64, roll: u64) -> Act {
    let mut dice = Dice::of(roll, 16);
    if dice.chance(500) { Act::DatabaseCut(dice.below(100), roll) } else { Act::PowerCut(changes, roll) }
}

/// Few machines are ever restored from a copy.
fn roll_back(dice: &mut Dice, who: usize, end_ms: u64, steps: &mut Vec<Step>) {
    let (is_rolled_back, copied_ms) = (dice.chance(80), dice.below(end_ms / 2));
    let restored_ms = dice.between(copied_ms, end_ms);
    if is_rolled_back {
        steps.push(Step { at_ms: copied_ms, who, act: Act::Backup });
        steps.push(Step { at_ms: restored_ms, who, act: Act::RollBack });
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, machines, oddness, keeps_here, line_bytes, refusals, .. } = self;
        write!(f, "seed {seed} with {machines} machines, oddness {oddness}, keeps some here: {keeps_here}")?;
        writeln!(f, ", {line_bytes} bytes a second, {refusals} of 1000 contents refused:")?;
        for step in &self.steps {
            writeln!(f, "  {:>9.3} machine {}: {:?}", step.at_ms as f64 / 1000.0, step.who, step.act)?;
        }
        Ok(())
    }
}

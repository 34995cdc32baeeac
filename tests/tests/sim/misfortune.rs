//! Owns what seldom comes together by chance and is made to: work that is synced on a machine without a network whose
//! power fails then, full disks and full accounts, copies of machines that are a moment old, machines that are bought while others work, slow lines,
//! servers that refuse contents, and people who resolve conflicts.

use super::dice::Dice;
use super::script::{Act, Deed, Script, Step, deed};

/// Adds what this seed has of it.
pub fn strike(script: &mut Script, crashes: bool, end_ms: u64) {
    let mut dice = Dice::of(script.seed, 12);
    if dice.chance(400) {
        script.line_bytes = dice.between(5_000, 150_000);
    }
    if dice.chance(300) {
        script.refusals = dice.between(20, 200);
    }
    let mut room = Dice::of(script.seed, 15);
    if room.chance(250) {
        full(&mut room, (0, Act::Quota, 1_000), end_ms, &mut script.steps);
    }
    for who in 0..script.machines {
        if room.chance(200) {
            full(&mut room, (who, Act::Fill, 20_000), end_ms, &mut script.steps);
        }
        let mut more = Dice::of(script.seed, 20 + who as u64);
        resolutions(&mut more, who, end_ms, &mut script.steps);
        if crashes && more.chance(500) {
            synced_and_lost(&mut more, who, end_ms, &mut script.steps);
        }
    }
    if dice.chance(500) {
        autosaves(&mut dice, script.machines as u64, end_ms, &mut script.steps);
    }
    if dice.chance(250) {
        join_late(&mut dice, script.machines - 1, end_ms, &mut script.steps);
    }
    if crashes && dice.chance(250) && !script.steps.iter().any(|step| matches!(step.act, Act::PutServerBack(_))) {
        let who = dice.below(script.machines as u64) as usize;
        step_back(&mut dice, who, end_ms, &mut script.steps);
    }
}

/// A disk, or the account, is full for some time, while people go on.
fn full(dice: &mut Dice, (who, act, most): (usize, fn(Option<u64>) -> Act, u64), end_ms: u64, steps: &mut Vec<Step>) {
    let at_ms = dice.below(end_ms);
    let bytes_free = if dice.chance(500) { 0 } else { dice.below(most) };
    steps.push(Step { at_ms, who, act: act(Some(bytes_free)) });
    let count = dice.between(4, 20);
    let ends = burst(dice, who, at_ms + 1, count, steps) + dice.between(1_000, 900_000);
    steps.push(Step { at_ms: ends, who, act: act(None) });
}

fn resolutions(dice: &mut Dice, who: usize, end_ms: u64, steps: &mut Vec<Step>) {
    let mut at_ms = dice.below(end_ms / 2);
    while at_ms < end_ms {
        steps.push(Step { at_ms, who, act: Act::Resolve(dice.roll()) });
        at_ms += dice.between(60_000, end_ms / 2);
    }
}

/// A burst of deeds, one soon after the other; when it ends.
fn burst(dice: &mut Dice, who: usize, mut at_ms: u64, count: u64, steps: &mut Vec<Step>) -> u64 {
    for _ in 0..count {
        steps.push(Step { at_ms, who, act: Act::User(deed(dice), dice.roll()) });
        at_ms += dice.between(1, 200);
    }
    at_ms
}

/// No network, some work, all of it synced, and the battery is empty.
fn synced_and_lost(dice: &mut Dice, who: usize, end_ms: u64, steps: &mut Vec<Step>) {
    let begins = dice.below(end_ms);
    steps.push(Step { at_ms: begins, who, act: Act::Cut(dice.chance(500)) });
    let count = dice.below(6);
    let mut at_ms = burst(dice, who, begins + 1, count, steps);
    for _ in 0..dice.between(1, 4) {
        steps.push(Step { at_ms, who, act: Act::User(Deed::SyncedSave, dice.roll()) });
        at_ms += dice.between(1, 100);
    }
    let roll = dice.roll();
    steps.push(Step { at_ms, who, act: Act::PowerCut(dice.below(3), roll - roll % 2_000 + dice.below(20)) });
    steps.push(Step { at_ms: at_ms + dice.between(1_000, 60_000), who, act: Act::Heal });
}

/// Two machines save one file, without knowing of each other, and then again and again; somebody looks at what came of it
/// while they go on.
fn autosaves(dice: &mut Dice, machines: u64, end_ms: u64, steps: &mut Vec<Step>) {
    let (one, other) = (dice.below(machines), dice.below(machines));
    let (mut at_ms, healed) = (dice.below(end_ms), dice.between(2_000, 20_000));
    let mut step = |at_ms, who: u64, act| steps.push(Step { at_ms, who: who as usize, act });
    step(at_ms, one, Act::Cut(dice.chance(500)));
    step(at_ms + 1, one, Act::User(Deed::Autosave, dice.roll()));
    step(at_ms + 2, other, Act::User(Deed::Autosave, dice.roll()));
    step(at_ms + healed, one, Act::Heal);
    at_ms += healed;
    for round in 0..20 {
        let who = if dice.chance(800) { one } else { other };
        step(at_ms, who, Act::User(Deed::Autosave, dice.roll()));
        if round % 5 == 4 {
            step(at_ms, dice.below(machines), Act::Resolve(dice.roll()));
        }
        at_ms += dice.between(5, 1_000);
    }
}

/// A machine that is new looks around before it knows everything.
fn join_late(dice: &mut Dice, who: usize, end_ms: u64, steps: &mut Vec<Step>) {
    let at_ms = dice.between(end_ms / 4, end_ms);
    steps.retain(|step| step.who != who || step.at_ms > at_ms);
    steps.push(Step { at_ms, who, act: Act::Join });
    burst(dice, who, at_ms + 1, 30, steps);
}

/// A machine is copied in the midst of work and soon becomes the copy: what it does next has the counters of what it did.
fn step_back(dice: &mut Dice, who: usize, end_ms: u64, steps: &mut Vec<Step>) {
    let copied = burst(dice, who, dice.clone().below(end_ms), 4, steps);
    steps.push(Step { at_ms: copied, who, act: Act::Backup });
    let restored = burst(dice, who, copied + 1, 8, steps) + dice.below(10_000);
    steps.push(Step { at_ms: restored, who, act: Act::RollBack });
    burst(dice, who, restored + 1, 8, steps);
}

//! The whole system under simulation: production devices (engine, tree, queue, log, database) and the production rules
//! of the server, on a simulated clock, network and disk, with random people. One seed decides everything.
//!
//! Start at [`script`] (what happens), [`world`] (how it is run) and [`check`] (what must hold).
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "the simulation stands outside of the house")]

mod attributes;
mod check;
mod choice;
mod device;
mod dice;
mod examples;
mod handles;
mod kernel;
mod look;
mod misfortune;
mod named;
mod named_answers;
mod named_conflicts;
mod named_folders;
mod named_local;
mod named_names;
mod named_removals;
mod net;
mod oracle;
mod panics;
mod plant;
mod planted;
mod quarrels;
mod script;
mod server;
mod shrink;
mod time;
mod trace;
mod user;
mod world;

use mimalloc::MiMalloc;
use plant::{PLANTS, Plant, RARE};
use script::{Script, Shape};
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};
use world::{Report, run};

/// As both programs have it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Seeds of one part of the default run; there are eight.
const PART_SEEDS: u64 = 25;
/// Within so many seeds each planted bug must be found.
const PLANTED_SEEDS_MAX: u64 = 16;

/// Seeds from here on have quarrels over names: earlier ones stay what they are.
const QUARRELS_FROM: u64 = 1_000_000;

/// What a seed's world is made of; every second one has crashes.
fn shape_of(seed: u64) -> Shape {
    let quarrels = seed >= QUARRELS_FROM;
    Shape { minutes: 20, crashes: seed.is_multiple_of(2), bad_luck: true, quarrels }
}

fn run_script(script: &Script, keep: usize) -> Report {
    run(script, keep, None)
}

/// Says what is wrong with a seed, with the shortest script that shows it.
fn explain(seed: u64, report: &Report) -> String {
    let script = Script::of(seed, shape_of(seed));
    let kind = kind_of(report);
    let short = shrink::shrink(script, |script| kind_of(&run_script(script, 0)) == kind);
    let last = run_script(&short, 10_000);
    format!("seed {seed}: {:#?}\n{short}{}{:#?}", report.faults, last.tail, last.faults)
}

/// What sort of fault came first: its text without numbers and names.
fn kind_of(report: &Report) -> Option<String> {
    let first = report.faults.first()?;
    let words = first.split(' ').filter(|word| word.bytes().all(|c| c.is_ascii_lowercase()));
    Some(words.collect::<Vec<_>>().join(" "))
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// What many runs were.
#[derive(Debug, Default)]
struct Totals {
    runs: u64,
    device_hours: f64,
    deeds: u64,
    cuts: u64,
    crashes: u64,
    restores: u64,
    server_restores: u64,
    full: u64,
    outcomes: BTreeMap<&'static str, u64>,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.device_hours += report.device_time.as_secs_f64() / 3600.0;
        self.deeds += report.deeds;
        self.cuts += report.cuts;
        self.crashes += report.crashes;
        self.restores += report.restores;
        self.server_restores += report.server_restores;
        self.full += report.full;
        for (outcome, count) in &report.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, device_hours, deeds, cuts, crashes, restores, server_restores, full, outcomes } = self;
        let an_hour = |count: u64| count as f64 / device_hours.max(1e-9);
        write!(
            f,
            "{runs} runs, {device_hours:.1} device-hours, {restores} restored from a copy, {server_restores} servers, \
             {full} deeds met a full disk, "
        )?;
        let (deeds, cuts, crashes) = (an_hour(*deeds), an_hour(*cuts), an_hour(*crashes));
        write!(f, "each with {deeds:.0} deeds, {cuts:.1} cuts, {crashes:.2} crashes; answers: {outcomes:?}")
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 1..5 {
        let script = Script::of(seed, shape_of(seed));
        let (one, other) = (run_script(&script, 0), run_script(&script, 0));
        assert!(one.events > 100);
        assert_eq!((one.hash, one.events), (other.hash, other.events), "seed {seed}");
    }
}

/// `scripts/sim` runs this with more seeds.
#[test]
fn devices_agree_and_nothing_is_lost() {
    seeds_hold(number("TARN_SIM_START", 1), number("TARN_SIM_SEEDS", PART_SEEDS));
}

/// The rest of the default run, in parts that run side by side.
mod parts {
    use super::{PART_SEEDS, seeds_hold};

    macro_rules! part {
        ($($name:ident: $number:expr),*) => {
            $(#[test]
            fn $name() {
                seeds_hold(1 + PART_SEEDS * $number, PART_SEEDS);
            })*
        };
    }

    part!(seeds_26_to_50: 1, seeds_51_to_75: 2, seeds_76_to_100: 3, seeds_101_to_125: 4);
    part!(seeds_126_to_150: 5, seeds_151_to_175: 6, seeds_176_to_200: 7);
}

fn seeds_hold(start: u64, count: u64) {
    let time_max = Duration::from_secs(60 * number("TARN_SIM_MINUTES", u64::MAX / 60));
    let begun = Instant::now();
    let (mut failed, mut totals) = (Vec::new(), Totals::default());
    for seed in (start..start.saturating_add(count)).take_while(|_| begun.elapsed() < time_max) {
        let report = run_script(&Script::of(seed, shape_of(seed)), 0);
        totals.add(&report);
        if !report.faults.is_empty() {
            println!("seed {seed} fails: {:?}", report.faults.first());
            failed.push((seed, report));
        }
    }
    println!("{totals}; took {:.0} s", begun.elapsed().as_secs_f64());
    if let Some((seed, report)) = failed.first() {
        panic!("{} of {} seeds fail\n{}", failed.len(), totals.runs, explain(*seed, report));
    }
}

/// docs/sync.md has the numbers.
#[test]
fn planted_bugs_are_found() {
    let fault = |seed: u64, plant| run(&Script::of(seed, shape_of(seed)), 0, plant).faults.into_iter().next();
    let mut fails_anyway = BTreeMap::new();
    let only = std::env::var("TARN_SIM_PLANT").ok();
    let plants: Vec<Plant> = match only {
        None => PLANTS.to_vec(),
        Some(only) => PLANTS.into_iter().chain(RARE).filter(|plant| only == format!("{plant:?}")).collect(),
    };
    assert!(!plants.is_empty(), "no such plant");
    let last = number("TARN_SIM_SEEDS", PLANTED_SEEDS_MAX);
    for plant in plants {
        let mut found = |seed: u64| {
            let fault_found = fault(seed, Some(plant))?;
            let anyway = fails_anyway.entry(seed).or_insert_with(|| fault(seed, None).is_some());
            (!*anyway).then_some((seed, fault_found))
        };
        let first = if plant == Plant::NameBesideNotTold { QUARRELS_FROM } else { 1 };
        let Some((seed, fault)) = (first..first + last).find_map(&mut found) else {
            panic!("{plant:?} is not found by {last} seeds");
        };
        println!("{plant:?} is found by {} seeds, the last is {seed}: {fault}", seed - first + 1);
    }
}

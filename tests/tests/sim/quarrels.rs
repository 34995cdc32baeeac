//! Owns quarrels over a name at the end of a run, before anybody has to do with what comes of them: one machine brings a file of its
//! own there and moves it on, or removes it, before it knows that another took the name meanwhile. All deeds of a quarrel have one
//! roll, and the first thing that it decides is the name.

use super::dice::Dice;
use super::script::{Act, Deed, Step};
use super::user::{Done, Spot, User, name};
use tarn::meta::rows::ROOT;
use tarn::tree::TreeError;
use tarn_proto::name::Name;
use tarn_proto::op::RenameMode;

/// What is done in a quarrel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// A machine makes a file of its own.
    MakeOwn,
    /// Another makes one under the name that is wanted.
    Take,
    /// The first one's gets that name.
    Come,
    /// What has that name is given another, or removed.
    Leave,
}

/// Adds what a seed has of them.
pub fn add(seed: u64, machines: u64, end_ms: u64, steps: &mut Vec<Step>) {
    let mut dice = Dice::of(seed, 40);
    for _ in 0..dice.between(1, 5) {
        quarrel(&mut dice, machines, end_ms, steps);
    }
}

fn quarrel(dice: &mut Dice, machines: u64, end_ms: u64, steps: &mut Vec<Step>) {
    let one = dice.below(machines);
    let other = (one + dice.between(1, machines)) % machines;
    let (begins, roll) = (end_ms - dice.between(5_000, 60_000), dice.roll());
    let mut step = |at_ms, who: u64, act| steps.push(Step { at_ms, who: who as usize, act });
    step(begins - dice.between(3_000, 10_000), one, Act::User(Deed::Quarrel(Turn::MakeOwn), roll));
    // Before it is told, or what it says arrives and the answer does not.
    let cut_ms = begins + if dice.chance(500) { 0 } else { dice.below(60) };
    step(cut_ms, one, Act::Cut(dice.chance(500)));
    step(begins, other, Act::User(Deed::Quarrel(Turn::Take), roll));
    step(begins, one, Act::User(Deed::Quarrel(Turn::Come), roll));
    let leaves = begins + 1 + dice.below(3_000);
    step(leaves, one, Act::User(Deed::Quarrel(Turn::Leave), roll));
    step(leaves + dice.between(1_000, 20_000), one, Act::Heal);
}

impl User<'_> {
    /// A name that nothing had before this quarrel.
    fn name_of_quarrel(&self, what: &str) -> Name {
        name(&format!("{what} {}", self.dice.clone().below(100_000)))
    }

    fn make_at(&mut self, what: &str) -> Done {
        let name = self.name_of_quarrel(what);
        let (ino, token) = self.create_at(ROOT, &name)?;
        Ok(format!("make {name}: {ino:?} with {token}"))
    }

    pub fn quarrel(&mut self, turn: Turn) -> Done {
        match turn {
            Turn::MakeOwn => self.make_at("own"),
            Turn::Take => self.make_at("wanted"),
            Turn::Come => self.move_on("own", "wanted"),
            Turn::Leave if self.dice.clone().chance(700) => self.move_on("wanted", "left"),
            Turn::Leave => self.remove_wanted(),
        }
    }

    fn remove_wanted(&mut self) -> Done {
        let spot = self.spot_of("wanted")?;
        self.unlink_at(&spot)?;
        Ok(format!("{} ({:?}) goes", spot.name, spot.ino))
    }

    fn move_on(&mut self, from: &str, to: &str) -> Done {
        let (spot, name) = (self.spot_of(from)?, self.name_of_quarrel(to));
        self.rename_spot(&spot, (ROOT, &name), RenameMode::Replace)?;
        Ok(format!("{} ({:?}) goes to {name}", spot.name, spot.ino))
    }

    fn spot_of(&self, what: &str) -> Result<Spot, TreeError> {
        let name = self.name_of_quarrel(what);
        let ino = self.life.tree.lookup(ROOT, &name)?.ino;
        Ok(Spot { dir: ROOT, name, ino })
    }
}

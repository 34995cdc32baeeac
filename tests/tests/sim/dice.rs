//! Owns choices from a seed: the only source of chance in a run.

use parking_lot::Mutex;
use tarn::env::Rng;

/// Choices from a seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D)
    }

    /// Dice of their own for one purpose.
    pub fn of(seed: u64, purpose: u64) -> Self {
        Self::new(seed.rotate_left(23) ^ purpose.wrapping_mul(0xD6E8_FEB8_6659_FD93))
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound.max(1)
    }

    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from)
    }

    pub fn chance(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len() as u64) as usize)
    }
}

/// What a simulated machine takes for randomness.
#[derive(Debug)]
pub struct SimRng(Mutex<Dice>);

impl SimRng {
    pub fn new(dice: Dice) -> Self {
        Self(Mutex::new(dice))
    }
}

impl Rng for SimRng {
    fn fill(&self, bytes: &mut [u8]) {
        let mut dice = self.0.lock();
        for part in bytes.chunks_mut(8) {
            let roll = dice.roll().to_le_bytes();
            part.copy_from_slice(&roll[..part.len()]);
        }
    }
}

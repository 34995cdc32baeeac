//! Owns how many workers wait for requests: one, unless a call takes long. fuser's workers take turns at reading; left
//! alone, each request wakes the one that has slept longest, on another processor, while the one that has just answered
//! would see the next request without having slept. So whoever has answered rests while another one waits for requests,
//! and one of those who rest looks up now and then: when a call has kept all others waiting for a whole look, it
//! takes over. Nobody looks while nothing happens.
//!
//! Must never keep a worker from its reply: a turn ends after it. Ends with the first worker that the kernel sends away.

use super::linger::{Habit, linger};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Time between two looks: a call that takes longer gets the others a reader of their own.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Who watches that requests are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Lookout {
    /// Nobody.
    #[default]
    None,
    /// Somebody who rests has been woken for it.
    Called,
    /// Somebody is.
    Posted,
}

/// What a look says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// A call keeps all others waiting: read.
    TakeOver,
    /// Calls come and go: look again.
    Again,
    /// Nothing happens: rest until called.
    Rest,
}

/// The turns, without any waiting.
#[derive(Debug, Default)]
struct Turns {
    /// Workers that wait for requests.
    reading: usize,
    resting: usize,
    /// Calls that began.
    call_count: u64,
    lookout: Lookout,
    /// Readers that were asked for.
    asked_count: usize,
    /// No worker rests any more.
    is_over: bool,
}

impl Turns {
    /// A call begins on a worker, which may have been counted as reading; whether somebody must be woken.
    fn begin(&mut self, was_reading: bool) -> bool {
        self.reading -= usize::from(was_reading);
        self.call_count += 1;
        let is_unwatched = self.reading == 0 && self.resting > 0 && self.lookout == Lookout::None;
        if is_unwatched {
            self.lookout = Lookout::Called;
        }
        is_unwatched
    }

    /// A call that will take a while goes on without others waiting for it; whether somebody must be woken.
    fn ask(&mut self) -> bool {
        let is_needed = self.reading == 0 && self.asked_count < self.resting;
        self.asked_count += usize::from(is_needed);
        is_needed
    }

    /// A call has ended; whether its worker reads on. If not, it rests.
    fn end(&mut self) -> bool {
        let reads = self.is_over || self.reading == 0;
        if reads {
            self.reading += 1
        } else {
            self.resting += 1
        }
        reads
    }

    /// Whether somebody who rests is to read now, beyond what a look says.
    fn is_asked(&mut self) -> bool {
        let is_asked = self.asked_count > 0;
        self.asked_count -= usize::from(is_asked);
        self.is_over || (is_asked && self.reading == 0)
    }

    /// A look, after one at which so many calls had begun.
    fn look(&self, before: u64) -> Look {
        match (self.call_count == before, self.reading) {
            (true, 0) => Look::TakeOver,
            (true, _) => Look::Rest,
            (false, _) => Look::Again,
        }
    }

    /// Somebody who rested reads.
    fn rise(&mut self) {
        self.resting -= 1;
        self.reading += 1;
    }
}

/// The workers of one mount.
#[derive(Debug, Default)]
pub(super) struct Crew {
    turns: Mutex<Turns>,
    risen: Condvar,
    /// What the workers read from.
    device: OnceLock<OwnedFd>,
}

thread_local! {
    static MEMBER: RefCell<Option<Member>> = const { RefCell::new(None) };
}

/// A worker's place in its crew; it goes with the thread.
struct Member {
    crew: Arc<Crew>,
    is_reading: bool,
    habit: Habit,
}

impl Member {
    fn new(crew: &Arc<Crew>) -> Self {
        Self { crew: Arc::clone(crew), is_reading: false, habit: Habit::default() }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.crew.turns.lock().is_over = true;
        self.crew.risen.notify_all();
    }
}

/// One call on a worker, until its reply has been sent.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Arc<Crew>);

impl Crew {
    /// Begins a call. What it gives is dropped after the reply.
    pub fn turn(self: &Arc<Self>) -> Turn<'_> {
        let was_reading = MEMBER.with_borrow_mut(|member| {
            let member = member.get_or_insert_with(|| Member::new(self));
            std::mem::take(&mut member.is_reading)
        });
        let is_unwatched = self.turns.lock().begin(was_reading);
        if is_unwatched {
            self.risen.notify_one();
        }
        Turn(self)
    }

    /// Says what the workers read from; once.
    pub fn attach(&self, device: OwnedFd) {
        // A crew works for one mount.
        let _ = self.device.set(device);
    }

    fn end(&self) {
        let mut turns = self.turns.lock();
        let reads_on = turns.end();
        if reads_on {
            drop(turns);
        } else {
            self.rest(turns);
        }
        MEMBER.with_borrow_mut(|member| {
            let Some(member) = member else { return };
            member.is_reading = true;
            if reads_on
                && let Some(device) = self.device.get()
                && member.habit.is_due()
            {
                member.habit.note(linger(device));
            }
        });
    }

    /// Rests until somebody is needed to read.
    fn rest(&self, mut turns: MutexGuard<'_, Turns>) {
        while !turns.is_asked() {
            if turns.lookout == Lookout::Called {
                turns.lookout = Lookout::Posted;
                let takes_over = self.keep_lookout(&mut turns);
                turns.lookout = Lookout::None;
                if takes_over {
                    break;
                }
            } else {
                self.risen.wait(&mut turns);
            }
        }
        turns.rise();
    }

    /// Looks up now and then while calls come; whether this worker is to read.
    fn keep_lookout(&self, turns: &mut MutexGuard<'_, Turns>) -> bool {
        loop {
            let before = turns.call_count;
            self.risen.wait_for(turns, LOOK_EVERY);
            if turns.is_asked() {
                return true;
            }
            match turns.look(before) {
                Look::TakeOver => return true,
                Look::Again => {}
                Look::Rest => return false,
            }
        }
    }
}

impl Turn<'_> {
    /// Says that this call will take a while: another worker reads meanwhile.
    pub fn is_long(&self) {
        let is_needed = self.0.turns.lock().ask();
        if is_needed {
            self.0.risen.notify_one();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // A worker that panics goes; its place in the crew tells the others.
        if !std::thread::panicking() {
            self.0.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crew of which one reads and so many rest.
    fn turns(resting: usize) -> Turns {
        let mut turns = Turns::default();
        for index in 0..=resting {
            turns.begin(false);
            assert_eq!(turns.end(), index == 0, "one reads on, the others rest");
        }
        turns
    }

    #[test]
    fn one_worker_answers_call_after_call_and_wakes_the_others_once() {
        let mut turns = turns(3);
        for call in 0..100 {
            assert_eq!(turns.begin(true), call == 0, "one lookout is called");
            assert!(turns.end(), "it reads on");
        }
        assert_eq!((turns.reading, turns.resting), (1, 3));
    }

    #[test]
    fn a_call_that_lasts_a_whole_look_is_relieved() {
        let mut turns = turns(3);
        let before = turns.call_count;
        turns.begin(true);
        assert_eq!(turns.look(before), Look::Again, "it began after the last look");
        let before = turns.call_count;
        assert_eq!(turns.look(before), Look::TakeOver);
        turns.rise();
        assert!(!turns.end(), "another one reads by now");
        assert_eq!((turns.reading, turns.resting), (1, 3));
    }

    #[test]
    fn nobody_looks_while_nothing_happens() {
        let turns = turns(3);
        assert_eq!(turns.look(turns.call_count), Look::Rest);
    }

    #[test]
    fn a_long_call_asks_for_one_reader() {
        let mut turns = turns(3);
        turns.begin(true);
        assert!(turns.ask());
        assert!(turns.is_asked());
        turns.rise();
        assert!(!turns.is_asked() && !turns.ask(), "one reads");
    }

    #[test]
    fn whoever_asked_and_reads_again_needs_no_reader() {
        let mut turns = turns(1);
        turns.begin(true);
        assert!(turns.ask());
        assert!(turns.end());
        assert!(!turns.is_asked());
    }

    #[test]
    fn no_worker_rests_after_the_first_has_gone() {
        let crew = Arc::new(Crew::default());
        let other = Arc::clone(&crew);
        drop(crew.turn());
        let resting = std::thread::spawn(move || drop(other.turn()));
        // Whichever way they meet, the end of a worker ends the rest of all.
        drop(Member::new(&crew));
        resting.join().unwrap();
    }
}

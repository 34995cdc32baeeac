//! Rest and rise, in the order of the signs, whoever fails meanwhile.

use super::*;
use std::io;
use tokio::sync::mpsc;

/// What happened, in order.
type Diary = Arc<Mutex<Vec<&'static str>>>;

/// A teller that says what it is told to say.
#[derive(Debug)]
struct Teller {
    signs: mpsc::UnboundedReceiver<SleepSign>,
    refusals: usize,
    diary: Diary,
}

/// Notes when the machine need not wait any more.
struct Delay(Diary);

impl Drop for Delay {
    fn drop(&mut self) {
        self.0.lock().push("may sleep");
    }
}

#[async_trait]
impl SleepTeller for Teller {
    async fn next(&mut self) -> Option<SleepSign> {
        self.signs.recv().await
    }

    async fn delay(&mut self) -> io::Result<SleepDelay> {
        if self.refusals > 0 {
            self.refusals -= 1;
            self.diary.lock().push("refused");
            return Err(io::Error::other("it is falling asleep"));
        }
        self.diary.lock().push("waits");
        Ok(Box::new(Delay(Arc::clone(&self.diary))))
    }

    fn delay_max(&self) -> Duration {
        Duration::from_secs(5)
    }
}

struct Home(Diary);

#[async_trait]
impl House for Home {
    async fn rest(&self, _: Duration) {
        self.0.lock().push("rest");
    }

    fn rise(&self) {
        self.0.lock().push("rise");
    }
}

/// What happens when these signs come, and then nobody tells any more.
async fn after(signs: &[SleepSign], refusals: usize) -> Vec<&'static str> {
    let (said, heard) = mpsc::unbounded_channel();
    signs.iter().for_each(|sign| said.send(*sign).unwrap());
    drop(said);
    let diary = Diary::default();
    let mut teller = Teller { signs: heard, refusals, diary: Arc::clone(&diary) };
    follow(&Env::real(), &mut teller, &Home(Arc::clone(&diary))).await;
    let events = diary.lock();
    events.clone()
}

#[tokio::test]
async fn the_machine_may_sleep_once_all_rests_and_the_next_sleep_is_delayed_again() {
    use SleepSign::{FallsAsleep, Wakes};
    let happened = after(&[FallsAsleep, Wakes, FallsAsleep, Wakes], 0).await;
    let night = ["waits", "rest", "may sleep", "rise"];
    assert_eq!(happened, [&night[..], &night[..], &["waits", "may sleep"]].concat());
}

#[tokio::test]
async fn a_sleep_that_nobody_waits_for_is_rested_through_all_the_same() {
    use SleepSign::{FallsAsleep, Wakes};
    assert_eq!(after(&[FallsAsleep, Wakes], 1).await, ["refused", "rest", "rise", "waits", "may sleep"]);
}

#[tokio::test]
async fn who_hears_nothing_any_more_rises() {
    assert_eq!(after(&[SleepSign::FallsAsleep], 0).await, ["waits", "rest", "may sleep", "rise"]);
}

#[tokio::test]
async fn a_sign_that_comes_twice_changes_nothing() {
    use SleepSign::{FallsAsleep, Wakes};
    let happened = after(&[Wakes, FallsAsleep, FallsAsleep, Wakes, Wakes], 0).await;
    assert_eq!(happened, ["waits", "rest", "may sleep", "rise", "waits", "may sleep"]);
}

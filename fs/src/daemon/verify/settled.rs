//! Owns looking again: programs write and others change things while a verification runs, and what is under way looks
//! like a difference for a moment. What is told stayed the same through several looks.

use crate::control::Failure;
use crate::control::findings::Difference;
use crate::env::Env;
use futures_util::future::BoxFuture;
use std::time::Duration;

/// What one look found.
pub(super) type Found = Result<Vec<Difference>, Failure>;

/// Looks after the first one.
const LOOKS: u32 = 3;
/// The pause before the first of them; each further one is longer.
const PAUSE: Duration = Duration::from_millis(150);

/// Looks until nothing is found, or what is found has stayed the same.
pub(super) async fn settled<'a>(env: &Env, look: impl Fn() -> BoxFuture<'a, Found>) -> Found {
    let mut found = look().await?;
    for count in 1..=LOOKS {
        if found.is_empty() {
            break;
        }
        env.sleep(PAUSE * count * count).await;
        let again = look().await?;
        found.retain(|difference| again.contains(difference));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::control::findings::Area;
    use crate::daemon::verify::report::difference;
    use crate::env::Tasks;
    use std::cell::Cell;
    use std::sync::Arc;

    /// Lets no time pass.
    #[derive(Debug)]
    struct NoWait;

    impl Tasks for NoWait {
        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            Box::pin(async {})
        }
        fn block(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
            work();
            Box::pin(async {})
        }
    }

    fn named(what: &str) -> Difference {
        difference(Area::Memory, None, what, [("a", String::new()), ("b", String::new())], "")
    }

    #[tokio::test]
    async fn what_passes_or_changes_is_not_told_and_what_stays_is() {
        let count = Cell::new(0);
        let look = || {
            count.set(count.get() + 1);
            let mut found = vec![named("stays"), named(&format!("look {}", count.get()))];
            if count.get() < 3 {
                found.push(named("passes"));
            }
            Box::pin(async move { Ok(found) }) as BoxFuture<'static, Found>
        };
        let env = Env { tasks: Arc::new(NoWait), ..Env::real() };
        let found = settled(&env, look).await.unwrap();
        assert_eq!((found, count.get()), (vec![named("stays")], 1 + LOOKS));
    }

    #[tokio::test]
    async fn one_look_is_enough_where_nothing_is_found() {
        let count = Cell::new(0);
        let look = || {
            count.set(count.get() + 1);
            Box::pin(async { Ok(Vec::new()) }) as BoxFuture<'static, Found>
        };
        assert!(settled(&Env::real(), look).await.unwrap().is_empty() && count.get() == 1);
    }
}

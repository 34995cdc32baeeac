//! Owns noticing panics: tasks catch them, and a run in which one happened has failed.

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Begins to notice; forgets what was seen on this thread.
pub fn clear() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            SEEN.with_borrow_mut(|seen| seen.push(format!("panic: {info}")));
            usual(info);
        }));
    });
    SEEN.take();
}

/// What was seen on this thread.
pub fn take() -> Vec<String> {
    SEEN.take()
}

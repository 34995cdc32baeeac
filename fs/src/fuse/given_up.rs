//! Owns which reads have just been given up: what the kernel was refused while it read ahead it asks for once more, page by
//! page, before it tells the program, and that must not wait a second time. What was refused without a wait may wait.

use crate::vfs::VfsError;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The kernel asks again at once; a program that does may wait again.
const REMEMBERED: Duration = Duration::from_millis(300);

/// A thread, and the handle that it reads.
pub(super) type Reader = (u32, u64);

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Late,
    Unreachable,
}

/// The reads.
#[derive(Debug, Default)]
pub(super) struct GivenUp(Mutex<HashMap<Reader, Why>>);

impl GivenUp {
    /// The answer to a thread that has just waited in vain for something of this handle.
    pub fn answer(&self, reader: Reader) -> Option<VfsError> {
        self.0.lock().get(&reader).map(|why| match why {
            Why::Late => VfsError::TimedOut,
            Why::Unreachable => VfsError::Unreachable,
        })
    }

    /// Remembers an answer for a moment, if it says that something did not come.
    pub fn note(self: &Arc<Self>, reader: Reader, answer: &VfsError) {
        let why = match answer {
            VfsError::TimedOut => Why::Late,
            VfsError::Unreachable => Why::Unreachable,
            _ => return,
        };
        self.0.lock().insert(reader, why);
        let this = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(REMEMBERED).await;
            this.0.lock().remove(&reader);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_remembered_for_a_moment_of_this_thread_and_handle_alone() {
        let given_up = Arc::new(GivenUp::default());
        given_up.note((7, 1), &VfsError::TimedOut);
        given_up.note((7, 3), &VfsError::Unreachable);
        given_up.note((7, 4), &VfsError::Interrupted);
        assert!(matches!(given_up.answer((7, 1)), Some(VfsError::TimedOut)));
        assert!(matches!(given_up.answer((7, 3)), Some(VfsError::Unreachable)));
        for other in [(7, 2), (7, 4), (8, 1)] {
            assert!(given_up.answer(other).is_none());
        }
        let forgotten = async {
            while given_up.answer((7, 1)).is_some() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(100 * REMEMBERED, forgotten).await.unwrap();
    }
}

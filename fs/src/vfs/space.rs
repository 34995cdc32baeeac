//! Owns `statfs`: a local answer, asked at most once a second. File managers ask often.

use super::ports::Space;
use super::{Answer, Vfs};
use std::time::Duration;

const FRESH_FOR: Duration = Duration::from_secs(1);

impl Vfs {
    /// How much there is and how much fits.
    ///
    /// # Errors
    /// As the tree says.
    pub fn statfs(&self) -> Answer<Space> {
        let now = self.clock.monotonic();
        let mut known = self.space.lock();
        if let Some((at, space)) = *known
            && now.saturating_sub(at) < FRESH_FOR
        {
            return Ok(space);
        }
        let space = self.tree.space()?;
        *known = Some((now, space));
        Ok(space)
    }
}

//! Owns which parts a daemon is made of and how they know each other.

use super::life::{Ground, Standing};
use anyhow::{Result, bail};

/// Builds the house and mounts it.
///
/// # Errors
/// Why it cannot be mounted.
pub async fn build(ground: &Ground) -> Result<Standing> {
    bail!("this build cannot mount {} yet", ground.options.dir.display())
}

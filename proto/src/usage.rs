//! Owns how full a space is, as answers tell.

use serde::{Deserialize, Serialize};

/// How full a space is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Usage {
    /// Bytes of all present contents.
    pub bytes_used: u64,
    /// Bytes that may be used; `None` without a quota.
    pub bytes_max: Option<u64>,
}

impl Usage {
    /// Bytes that still fit; `None` without a quota.
    pub fn bytes_free(&self) -> Option<u64> {
        self.bytes_max.map(|bytes_max| bytes_max.saturating_sub(self.bytes_used))
    }
}

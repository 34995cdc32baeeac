//! Owns the one error type of services: a refusal with a stable code, or a fault of what is below.

use crate::packs::PackError;
use crate::store::StoreError;
use crate::store::db::AsConflict;
use tarn_proto::error::ErrorCode;

/// Why a call was not done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The caller is told why, by code.
    #[error("{code:?}: {detail}")]
    Refused {
        /// For programs.
        code: ErrorCode,
        /// For people; never holds what the caller may not know.
        detail: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The object store failed.
    #[error(transparent)]
    Packs(#[from] PackError),
    /// The server itself is at fault; the caller gets a constant answer, the log the cause.
    #[error("{0}")]
    Internal(String),
}

impl Failure {
    /// A refusal.
    pub fn refused(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self::Refused { code, detail: detail.into() }
    }

    /// A refusal because there is no such thing, or it is another user's.
    pub fn not_found(what: &str) -> Self {
        Self::refused(ErrorCode::NotFound, format!("there is no such {what}"))
    }

    /// The stable code that the caller gets.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused { code, .. } => *code,
            Self::Store(StoreError::Conflict(_) | StoreError::Unavailable(_)) => ErrorCode::Unavailable,
            Self::Packs(PackError::Unavailable(_)) => ErrorCode::Unavailable,
            Self::Store(_) | Self::Packs(_) | Self::Internal(_) => ErrorCode::Internal,
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl AsConflict for Failure {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_conflict())
    }
}

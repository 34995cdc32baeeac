//! Owns what can go wrong with the database, sorted by what to do next.

/// A failure of the database or of what is stored in it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database rolled the transaction back for order's sake: the same again will do.
    #[error("the transaction must be tried again: {0}")]
    Conflict(sqlx::Error),
    /// The database cannot be reached or is shutting down: later.
    #[error("the database cannot be reached: {0}")]
    Unavailable(sqlx::Error),
    /// A row that breaks a rule of the schema: a unique key that is taken.
    #[error("a row with this key exists: {0}")]
    Duplicate(sqlx::Error),
    /// A statement failed: a fault of the server.
    #[error("a statement failed: {0}")]
    Statement(sqlx::Error),
    /// What is stored cannot be understood.
    #[error("the database holds something that cannot be: {0}")]
    Corrupt(String),
    /// The database was written by a newer server.
    #[error(
        "the database has schema version {found}, but this server knows only versions up to {known}: use a newer tarn-server"
    )]
    NewerSchema {
        /// The database's version.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
}

impl StoreError {
    /// Whether the same transaction may succeed at once.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }

    /// Shorthand for [`StoreError::Corrupt`].
    pub fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(what.into())
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let code = error.sqlite_error_code();
        let error = sqlx::Error::AnyDriverError(Box::new(error));
        match code {
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => Self::Conflict(error),
            Some(Code::SystemIoFailure | Code::DiskFull | Code::CannotOpen) => Self::Unavailable(error),
            _ => Self::Statement(error),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match &error {
            E::Database(inner) if inner.is_unique_violation() => Self::Duplicate(error),
            E::Database(inner) => match inner.code().as_deref() {
                // PostgreSQL: serialization failure, deadlock. SQLite: BUSY, LOCKED and their variants.
                Some("40001" | "40P01" | "5" | "6" | "261" | "517" | "262") => Self::Conflict(error),
                // PostgreSQL: connection exceptions, too many connections, shutting down or starting up.
                Some(code) if code.starts_with("08") || code.starts_with("57P") || code == "53300" => {
                    Self::Unavailable(error)
                }
                // The database was dropped under us, or SQLite: I/O error, full, cannot open.
                Some("3D000" | "10" | "13" | "14") => Self::Unavailable(error),
                _ => Self::Statement(error),
            },
            E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed => Self::Unavailable(error),
            E::Protocol(_) => Self::Unavailable(error),
            _ => Self::Statement(error),
        }
    }
}

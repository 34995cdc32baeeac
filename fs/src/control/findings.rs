//! Owns the shapes in which a verification tells what it found. All of them are printed by `--json`: stable.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Which sides were compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    /// What the kernel shows, with the tree.
    Kernel,
    /// Memory, with the database.
    Memory,
    /// Rows of the database, with each other.
    Database,
    /// The log on the disk, with memory.
    Log,
    /// What is known of the server, with what it lists.
    Server,
    /// Bytes on the local disk, with the ids of their chunks.
    Content,
}

/// What one side says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Which side.
    pub who: String,
    /// What it says.
    pub says: String,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Which sides were compared.
    pub area: Area,
    /// The path below the mount, `.` for its root; null if it is about none.
    pub path: Option<String>,
    /// What differs.
    pub what: String,
    /// Which side says what.
    pub says: Vec<Said>,
    /// What was done, or is to be done.
    pub advice: String,
    /// Whether it was put right, so that nothing is to be done.
    pub repaired: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.path.as_deref().unwrap_or("the device"), self.what)?;
        for said in &self.says {
            writeln!(f, "  {}: {}", said.who, said.says)?;
        }
        write!(f, "  => {}", self.advice)
    }
}

/// How much was compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// Folders, with the kernel and, if it answers, with the server.
    pub folders: u64,
    /// Names in them.
    pub entries: u64,
    /// Rows of memory and database.
    pub rows: u64,
    /// Files with local content.
    pub files: u64,
    /// Bytes of local content that were hashed, or read.
    pub bytes: u64,
}

/// What a verification came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Whether only a part was looked at.
    pub light: bool,
    /// What was found; of very many only the first.
    pub differences: Vec<Difference>,
    /// How many were found.
    pub difference_count: u64,
    /// How much was compared.
    pub compared: Compared,
    /// What could not be compared, and why.
    pub left_out: Vec<String>,
}

/// The last verification of a whole mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// When it ended, RFC 3339 in UTC.
    pub time: String,
    /// Whether only a part was looked at.
    pub light: bool,
    /// How many differences it found.
    pub differences: u64,
}

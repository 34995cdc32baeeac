//! Owns what `cargo mutants --list --json` says: which mutants there are, and where.

use anyhow::{Context, Result};
use proc_macro2::Span;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// One mutant; its number is its place in the list, from 1.
#[derive(Debug, Clone, Deserialize)]
pub struct Mutant {
    /// The file, from the root of the tree.
    pub file: String,
    /// What is replaced.
    pub span: Lines,
    /// With what.
    pub replacement: String,
    /// What kind it is.
    pub genre: Genre,
}

/// What is done to the code.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Genre {
    /// A function returns at once.
    FnValue,
    /// Another operator.
    BinaryOperator,
    /// No operator.
    UnaryOperator,
    /// An arm is left out.
    MatchArm,
    /// A guard is always true, or never.
    MatchArmGuard,
    /// A field is left to the base.
    StructField,
}

/// Where something begins and ends, as the list counts: from 1.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq, Hash)]
pub struct Lines {
    /// Where it begins.
    pub start: At,
    /// Where it ends.
    pub end: At,
}

/// A line and a column.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct At {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl From<Span> for Lines {
    fn from(span: Span) -> Self {
        let at = |at: proc_macro2::LineColumn| At { line: at.line, column: at.column + 1 };
        Self { start: at(span.start()), end: at(span.end()) }
    }
}

impl Lines {
    /// From where `self` begins to where `end` ends.
    pub fn to(self, end: Lines) -> Self {
        Self { start: self.start, end: end.end }
    }

    /// Whether a place is in it.
    pub fn holds(&self, at: At) -> bool {
        self.start <= at && at < self.end
    }
}

/// A mutant by its place: its number, and what it puts there.
pub type Numbered = (u32, String);

/// The mutants of one file by place.
pub type OfFile = HashMap<(Genre, Lines), Vec<Numbered>>;

/// Reads the list, without those that do not compile.
pub fn load(path: &Path, without: &BTreeSet<u32>) -> Result<BTreeMap<String, OfFile>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mutants: Vec<Mutant> = serde_json::from_str(&text)?;
    let mut files: BTreeMap<String, OfFile> = BTreeMap::new();
    for (number, mutant) in (1..).zip(mutants) {
        // One that is left with none gets its own text back.
        let of_file = files.entry(mutant.file).or_default();
        if without.contains(&number) {
            continue;
        }
        of_file.entry((mutant.genre, mutant.span)).or_default().push((number, mutant.replacement));
    }
    Ok(files)
}

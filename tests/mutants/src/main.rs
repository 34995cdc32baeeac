//! Compiles all mutants of some files in at once, each behind a switch, so that thousands are tried without thousands of
//! builds. `scripts/mutants` runs it; docs/mutants.md says what came of it.
//!
//! Start at [`rewrite`]; [`blame`] says which mutants do not compile.

mod blame;
mod list;
mod rewrite;
#[cfg(test)]
mod tests;

use anyhow::{Context, Result, bail};
use list::{At, Lines};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["rewrite", list, from, to, without] => {
            rewrite_tree(Path::new(list), Path::new(from), Path::new(to), Path::new(without))
        }
        ["blame", root] => blame_errors(Path::new(root)),
        _ => bail!("usage: tarn-mutants rewrite LIST FROM TO WITHOUT | blame ROOT < MESSAGES"),
    }
}

fn numbers(path: &Path) -> Result<BTreeSet<u32>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}

/// The switch, as a module of each crate that has mutants.
const SWITCH: &str = include_str!("switch.rs");

/// Writes the files of `from` that have mutants, with them, to `to`, and says which there are.
#[expect(clippy::disallowed_methods, reason = "what it writes is a copy of the sources")]
fn rewrite_tree(list: &Path, from: &Path, to: &Path, without: &Path) -> Result<()> {
    let files = list::load(list, &numbers(without)?)?;
    let crates: BTreeSet<&str> =
        files.keys().filter_map(|file| file.split_once("/src/")).map(|(name, _)| name).collect();
    for name in crates {
        let lib = format!("{name}/src/lib.rs");
        let text = std::fs::read_to_string(from.join(&lib)).with_context(|| lib.clone())?;
        let with_switch = format!("{text}\n#[doc(hidden)]\n#[allow(missing_docs, clippy::all)]\npub mod mutants;\n");
        std::fs::write(to.join(&lib), with_switch).with_context(|| lib.clone())?;
        std::fs::write(to.join(name).join("src/mutants.rs"), SWITCH)?;
    }
    for (file, mutants) in files {
        let source = std::fs::read_to_string(from.join(&file)).with_context(|| file.clone())?;
        let (rewritten, placed) = rewrite::rewrite(&source, &mutants).with_context(|| file.clone())?;
        std::fs::write(to.join(&file), rewritten).with_context(|| file.clone())?;
        placed.iter().for_each(|number| println!("{number}"));
    }
    Ok(())
}

/// Reads the compiler's messages as JSON, and says which mutants to leave out.
fn blame_errors(root: &Path) -> Result<()> {
    let mut blamed = BTreeSet::new();
    for line in std::io::stdin().lines() {
        let message: serde_json::Value = serde_json::from_str(&line?)?;
        let message = &message["message"];
        if message["level"] != "error" {
            continue;
        }
        let found = blame_message(root, message)?;
        if found.is_empty() {
            eprintln!("nobody is to blame for {}", message["rendered"].as_str().unwrap_or_default());
        }
        blamed.extend(found);
    }
    blamed.iter().for_each(|number| println!("{number}"));
    Ok(())
}

fn blame_message(root: &Path, message: &serde_json::Value) -> Result<BTreeSet<u32>> {
    let spans = message["spans"].as_array().cloned().unwrap_or_default();
    let primary = |span: &&serde_json::Value| span["is_primary"] == true;
    for span in spans.iter().filter(primary).chain(spans.iter().filter(|span| !primary(span))) {
        let Some(file) = span["file_name"].as_str() else { continue };
        let at = |line: &str, column: &str| At {
            line: span[line].as_u64().unwrap_or_default() as usize,
            column: span[column].as_u64().unwrap_or_default() as usize,
        };
        let lines = Lines { start: at("line_start", "column_start"), end: at("line_end", "column_end") };
        let path: PathBuf = root.join(file);
        let Ok(source) = std::fs::read_to_string(&path) else { continue };
        let found = blame::blame(&syn::parse_file(&source)?, lines);
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(BTreeSet::new())
}

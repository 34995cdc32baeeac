//! Compares trees: names, kinds, bytes, modes, symlink targets, hard links. Times are not compared.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// How many differences are named.
const DIFFERENCES_MAX: usize = 20;

/// Compares two trees to the last byte.
///
/// # Errors
/// The differences, by path; or what could not be read.
pub fn same_tree(one: &Path, other: &Path) -> Result<()> {
    let (left, right) = (entries(one)?, entries(other)?);
    let mut found = Vec::new();
    for (path, meta) in &left {
        match right.get(path) {
            None => found.push(format!("only in {}: {}", one.display(), path.display())),
            Some(there) => found.extend(
                difference(&one.join(path), meta, &other.join(path), there)?
                    .map(|what| format!("{}: {what}", path.display())),
            ),
        }
    }
    let only_right = right.keys().filter(|path| !left.contains_key(*path));
    found.extend(only_right.map(|path| format!("only in {}: {}", other.display(), path.display())));
    report(&found)
}

fn report(found: &[String]) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let shown = found.iter().take(DIFFERENCES_MAX).cloned().collect::<Vec<_>>().join("\n");
    bail!("{} differences:\n{shown}", found.len())
}

/// Everything below a folder, by its path from there.
///
/// # Errors
/// What could not be read.
pub fn entries(root: &Path) -> Result<BTreeMap<PathBuf, Metadata>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(folder) = waiting.pop() {
        let listing = fs::read_dir(root.join(&folder)).with_context(|| format!("listing {}", folder.display()))?;
        for entry in listing {
            let path = folder.join(entry?.file_name());
            let meta = fs::symlink_metadata(root.join(&path)).with_context(|| format!("stat {}", path.display()))?;
            if meta.is_dir() {
                waiting.push(path.clone());
            }
            found.insert(path, meta);
        }
    }
    Ok(found)
}

/// The first difference of two entries of one name.
fn difference(one: &Path, left: &Metadata, other: &Path, right: &Metadata) -> Result<Option<String>> {
    if left.file_type() != right.file_type() {
        return Ok(Some(format!("{} against {}", kind(left), kind(right))));
    }
    if left.is_symlink() {
        let (a, b) = (fs::read_link(one)?, fs::read_link(other)?);
        return Ok((a != b).then(|| format!("target {} against {}", a.display(), b.display())));
    }
    if left.mode() != right.mode() {
        return Ok(Some(format!("mode {:o} against {:o}", left.mode(), right.mode())));
    }
    if left.is_file() { file_difference(one, left, other, right) } else { Ok(None) }
}

fn file_difference(one: &Path, left: &Metadata, other: &Path, right: &Metadata) -> Result<Option<String>> {
    if left.len() != right.len() {
        return Ok(Some(format!("{} bytes against {}", left.len(), right.len())));
    }
    if left.nlink() != right.nlink() {
        return Ok(Some(format!("{} links against {}", left.nlink(), right.nlink())));
    }
    let at = first_difference(one, other).with_context(|| format!("comparing {}", one.display()))?;
    Ok(at.map(|at| format!("bytes differ from {at} on")))
}

/// Where two files of the same length differ first, to the block.
fn first_difference(one: &Path, other: &Path) -> Result<Option<u64>> {
    let (mut a, mut b) = (fs::File::open(one)?, fs::File::open(other)?);
    let (mut left, mut right) = (vec![0; 128 << 10], vec![0; 128 << 10]);
    let mut at = 0;
    loop {
        let read = fill(&mut a, &mut left)?;
        if read != fill(&mut b, &mut right)? || left[..read] != right[..read] {
            return Ok(Some(at));
        }
        if read < left.len() {
            return Ok(None);
        }
        at += read as u64;
    }
}

fn fill(file: &mut fs::File, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

fn kind(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    match () {
        () if kind.is_dir() => "folder",
        () if kind.is_symlink() => "symlink",
        () if kind.is_fifo() => "fifo",
        () if kind.is_socket() => "socket",
        () if kind.is_file() => "file",
        () => "device",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn differ(change: impl Fn(&Path)) -> String {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for root in [one.path(), other.path()] {
            fs::create_dir(root.join("d")).unwrap();
            fs::write(root.join("d/f"), vec![7; 300_000]).unwrap();
            symlink("f", root.join("d/s")).unwrap();
        }
        same_tree(one.path(), other.path()).unwrap();
        change(other.path());
        same_tree(one.path(), other.path()).unwrap_err().to_string()
    }

    #[test]
    fn every_kind_of_difference_is_found() {
        assert!(differ(|root| fs::write(root.join("d/g"), "").unwrap()).contains("only in"));
        assert!(differ(|root| fs::remove_file(root.join("d/f")).unwrap()).contains("only in"));
        let mode = |root: &Path| fs::set_permissions(root.join("d/f"), fs::Permissions::from_mode(0o600)).unwrap();
        assert!(differ(mode).contains("mode"));
        let byte = |root: &Path| fs::write(root.join("d/f"), [vec![7; 299_999], vec![8]].concat()).unwrap();
        assert!(differ(byte).contains("bytes differ"));
        assert!(differ(|root| fs::write(root.join("d/f"), "short").unwrap()).contains("5"));
        assert!(differ(|root| fs::hard_link(root.join("d/f"), root.join("d/h")).unwrap()).contains("links"));
        let target = |root: &Path| {
            fs::remove_file(root.join("d/s")).unwrap();
            symlink("g", root.join("d/s")).unwrap();
        };
        assert!(differ(target).contains("target"));
    }
}

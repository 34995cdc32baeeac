//! Builds trees of files from a seed: folders, small and large files, empty ones, symlinks, hard links, modes, odd names.

use crate::seed::Seed;
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// What a tree is to hold.
#[derive(Debug, Clone)]
pub struct Shape {
    /// How many folders.
    pub folders: usize,
    /// How many files.
    pub files: usize,
    /// How many symlinks.
    pub symlinks: usize,
    /// How many second names of files.
    pub hard_links: usize,
    /// Most files are smaller than this.
    pub small_bytes: usize,
    /// One file in twenty is up to this size.
    pub large_bytes: usize,
}

impl Shape {
    /// A few hundred files, some megabytes.
    pub fn ordinary() -> Self {
        Self { folders: 30, files: 300, symlinks: 20, hard_links: 10, small_bytes: 16 << 10, large_bytes: 1 << 20 }
    }

    /// A handful of files.
    pub fn tiny() -> Self {
        Self { folders: 4, files: 20, symlinks: 3, hard_links: 2, small_bytes: 4 << 10, large_bytes: 100 << 10 }
    }
}

/// Builds a tree below an existing folder; the same seed and shape give the same tree.
///
/// # Errors
/// What the file system said, with the path.
pub fn build(root: &Path, seed: u64, shape: &Shape) -> Result<()> {
    let mut seed = Seed::new(seed);
    let mut folders = vec![root.to_path_buf()];
    for number in 0..shape.folders {
        let folder = folders[seed.index(folders.len())].join(name(&mut seed, "d", number));
        fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        folders.push(folder);
    }
    let mut files = Vec::new();
    for number in 0..shape.files {
        let path = folders[seed.index(folders.len())].join(name(&mut seed, "f", number));
        write_file(&path, &mut seed, shape).with_context(|| format!("writing {}", path.display()))?;
        files.push(path);
    }
    for number in 0..shape.symlinks {
        let path = folders[seed.index(folders.len())].join(name(&mut seed, "s", number));
        link(&path, &mut seed, &files).with_context(|| format!("linking {}", path.display()))?;
    }
    for number in 0..shape.hard_links {
        let path = folders[seed.index(folders.len())].join(name(&mut seed, "l", number));
        let file = &files[seed.index(files.len())];
        fs::hard_link(file, &path).with_context(|| format!("linking {}", path.display()))?;
    }
    Ok(())
}

fn write_file(path: &Path, seed: &mut Seed, shape: &Shape) -> Result<()> {
    let most = if seed.one_in(20) { shape.large_bytes } else { shape.small_bytes };
    let size = if seed.one_in(15) { 0 } else { seed.index(most) };
    fs::write(path, seed.bytes(size))?;
    let mode = [0o644, 0o600, 0o755, 0o444][seed.index(4)];
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// A symlink to a file of the tree, or to nothing.
fn link(path: &Path, seed: &mut Seed, files: &[PathBuf]) -> Result<()> {
    let target = match files.get(seed.index(files.len().max(1))) {
        Some(file) if !seed.one_in(4) => file.file_name().map(PathBuf::from).unwrap_or_default(),
        _ => PathBuf::from("../nowhere at all"),
    };
    symlink(target, path)?;
    Ok(())
}

/// A name that no other entry of the tree has: plain, with a blank, with letters beyond ASCII, long, or not even UTF-8.
fn name(seed: &mut Seed, kind: &str, number: usize) -> OsString {
    let plain = format!("{kind}{number}");
    let bytes = match seed.below(12) {
        0 => format!("{plain} with blanks").into_bytes(),
        1 => format!("{plain}-äöü-日本").into_bytes(),
        2 => [plain.as_bytes(), b"-", "x".repeat(240 - plain.len()).as_bytes()].concat(),
        3 => [plain.as_bytes(), b"-\xff\xfe\n"].concat(),
        4 => format!(".{plain}").into_bytes(),
        _ => format!("{plain}.txt").into_bytes(),
    };
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::diff::same_tree;

    #[test]
    fn one_seed_builds_one_tree() {
        let folders: Vec<_> = [1, 1, 2].map(|_| tempfile::tempdir().unwrap()).into();
        for (folder, seed) in folders.iter().zip([1, 1, 2]) {
            build(folder.path(), seed, &Shape::tiny()).unwrap();
        }
        same_tree(folders[0].path(), folders[1].path()).unwrap();
        assert!(same_tree(folders[0].path(), folders[2].path()).is_err());
    }
}

//! What a program on the same machine can see of a save: names, links, sizes, bytes, and what old handles still hold. Inode
//! numbers differ between file systems, so a look says which names and handles are one inode, and nothing more of them.

use super::Replayer;
use crate::diff::entries;
use anyhow::Result;
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// All that can be seen at a moment: by path below the folder, and by handle.
pub type Look = BTreeMap<String, Seen>;

/// What can be seen of one name or handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Kind and permissions.
    pub mode: u32,
    /// Size; of folders nothing that two file systems have in common.
    pub bytes: u64,
    /// Names of the inode.
    pub links: u64,
    /// The first name or handle that is the same inode.
    pub same_as: String,
    /// A hash of the bytes, or a link's target; of what is only open for writing nothing.
    pub holds: Option<String>,
    /// When it was written last, if that is a time that the fixture set.
    pub set_time: Option<i64>,
}

/// Everything in a folder, with what was open before the save and what the program has open.
///
/// # Errors
/// What cannot be read.
pub fn shown(folder: &Path, open_before: &BTreeMap<PathBuf, File>, program: &Replayer) -> Result<Look> {
    let mut found: Vec<(String, Metadata, Option<String>)> = Vec::new();
    for (path, file) in open_before {
        found.push((format!("open before: {}", path.display()), file.metadata()?, Some(hash(&bytes_of(file)?))));
    }
    for (number, file) in program.handles() {
        found.push((format!("handle {number}"), file.metadata()?, None));
    }
    for (path, meta) in entries(folder)? {
        let holds = held(&folder.join(&path), &meta)?;
        found.push((path.display().to_string(), meta, holds));
    }
    let mut first = BTreeMap::new();
    for (label, meta, _) in &found {
        first.entry((meta.dev(), meta.ino())).or_insert_with(|| label.clone());
    }
    let seen = |(label, meta, holds): (String, Metadata, Option<String>)| {
        let (bytes, links) = if meta.is_dir() { (0, 0) } else { (meta.len(), meta.nlink()) };
        let same_as = first.get(&(meta.dev(), meta.ino())).cloned().unwrap_or_default();
        let set_time = (meta.mtime() < 1_100_000_000).then(|| meta.mtime());
        (label, Seen { mode: meta.mode(), bytes, links, same_as, holds, set_time })
    };
    Ok(found.into_iter().map(seen).collect())
}

fn held(path: &Path, meta: &Metadata) -> Result<Option<String>> {
    Ok(if meta.is_symlink() {
        Some(fs::read_link(path)?.display().to_string())
    } else if meta.is_file() {
        Some(hash(&fs::read(path)?))
    } else {
        None
    })
}

fn bytes_of(file: &File) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len())?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn hash(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{:016x} of {}", hasher.finish(), bytes.len())
}

/// A program that follows a file by its name, as `tail -F` does.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    file: Option<File>,
    position: u64,
}

impl Follower {
    /// One that has shown all that the file holds.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn new(path: &Path) -> Result<Self> {
        let file = File::open(path)?;
        let position = file.metadata()?.len();
        Ok(Self { path: path.into(), file: Some(file), position })
    }

    /// Looks once, and says what it shows for that.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn look(&mut self) -> Result<Vec<String>> {
        let mut said = Vec::new();
        match (fs::metadata(&self.path), &self.file) {
            (Err(_), Some(_)) => {
                said.push("it has become inaccessible".to_owned());
                self.file = None;
            }
            (Err(_), None) => {}
            (Ok(now), before) => {
                let is_same = match before {
                    Some(file) => (file.metadata()?.dev(), file.metadata()?.ino()) == (now.dev(), now.ino()),
                    None => false,
                };
                if !is_same {
                    said.push("it follows a new file".to_owned());
                    (self.file, self.position) = (Some(File::open(&self.path)?), 0);
                }
            }
        }
        said.extend(self.read_on()?);
        Ok(said)
    }

    fn read_on(&mut self) -> Result<Vec<String>> {
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        let (mut said, bytes) = (Vec::new(), bytes_of(file)?);
        if (bytes.len() as u64) < self.position {
            said.push("the file was truncated".to_owned());
            self.position = 0;
        }
        let new = &bytes[usize::try_from(self.position)?..];
        if !new.is_empty() {
            said.push(hash(new));
        }
        self.position = bytes.len() as u64;
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_tells_inodes_apart_and_knows_links() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a"), "1").unwrap();
        fs::hard_link(at("a"), at("b")).unwrap();
        fs::write(at("c"), "1").unwrap();
        let held = BTreeMap::from([(PathBuf::from("c"), File::open(at("c")).unwrap())]);
        fs::rename(at("a"), at("c")).unwrap();
        let look = shown(folder.path(), &held, &Replayer::new(folder.path())).unwrap();
        let of = |label: &str| (look[label].same_as.as_str(), look[label].links);
        assert_eq!((of("b"), of("c"), of("open before: c")), (("b", 2), ("b", 2), ("open before: c", 0)));
        assert_eq!(look["b"].holds, look["open before: c"].holds);
    }

    #[test]
    fn a_follower_tells_growth_truncation_and_another_file_apart() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("log"), folder.path().join("other"));
        fs::write(&path, "one\n").unwrap();
        let mut follower = Follower::new(&path).unwrap();
        assert!(follower.look().unwrap().is_empty());
        fs::write(&path, "").unwrap();
        assert_eq!(follower.look().unwrap(), ["the file was truncated"]);
        fs::write(&other, "two\n").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(follower.look().unwrap(), ["it follows a new file".to_owned(), hash(b"two\n")]);
        fs::remove_file(&path).unwrap();
        assert_eq!(follower.look().unwrap(), ["it has become inaccessible"]);
        assert!(follower.look().unwrap().is_empty());
    }
}

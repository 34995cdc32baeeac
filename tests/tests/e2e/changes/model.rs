//! What a few folders with a few names each hold, what they held before, and random changes of all that.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tarn_tests::seed::Seed;

/// Names of folders, and of files in each. Few, so that everything meets everything.
pub const FOLDERS: usize = 5;
pub const FILES: usize = 10;
const ATTRIBUTE: &std::ffi::CStr = c"user.mark";

/// Of shorter contents two are alike now and then, and one would be taken for the other.
const LENGTH_MIN: usize = 16;

/// A name: of a folder, or of a file in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub folder: usize,
    pub file: Option<usize>,
}

impl Place {
    pub fn any_file(seed: &mut Seed) -> Self {
        Self { folder: seed.index(FOLDERS), file: Some(seed.index(FILES)) }
    }

    pub fn under(self, root: &Path) -> PathBuf {
        let folder = root.join(format!("folder{}", self.folder));
        self.file.map_or_else(|| folder.clone(), |file| folder.join(format!("file{file}")))
    }
}

/// A content: which, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    id: u64,
    pub length: usize,
}

impl Version {
    pub fn bytes(self) -> Vec<u8> {
        Seed::new(self.id).bytes(self.length)
    }

    fn any(seed: &mut Seed) -> Self {
        let most = [300, 5_000, 90_000, 400_000][seed.index(40) / 13];
        Self { id: seed.next_u64(), length: LENGTH_MIN + seed.index(most) }
    }
}

/// What a file shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileView {
    pub version: Version,
    pub mode: u32,
    pub links: u64,
    pub attribute: Option<u64>,
}

/// What a name shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    Nothing,
    Folder,
    File(FileView),
}

/// All that is there, and all that was.
pub struct Model {
    nodes: BTreeMap<u64, FileView>,
    folders: [bool; FOLDERS],
    files: BTreeMap<Place, u64>,
    /// What each name showed, with the batch since which it did.
    history: BTreeMap<Place, Vec<(usize, View)>>,
    next_node: u64,
    /// All that were ever written, by their lengths and how they begin.
    versions: HashMap<(usize, Vec<u8>), Vec<Version>>,
}

fn head(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len().min(16)].to_vec()
}

impl Model {
    /// A world in which only the folders are, which it makes.
    pub fn new(root: &Path) -> Self {
        let folders = (0..FOLDERS).map(|folder| Place { folder, file: None });
        folders.take(FOLDERS - 1).for_each(|folder| fs::create_dir(folder.under(root)).unwrap());
        let mut model = Self {
            nodes: BTreeMap::new(),
            folders: std::array::from_fn(|folder| folder + 1 < FOLDERS),
            files: BTreeMap::new(),
            history: BTreeMap::new(),
            next_node: 0,
            versions: HashMap::new(),
        };
        model.record(0);
        model
    }

    /// What a name may show to somebody who began to look when this batch had been applied, and has looked by now.
    pub fn admissible(&self, place: Place, applied: usize) -> &[(usize, View)] {
        let all = &self.history[&place];
        &all[all.partition_point(|(batch, _)| *batch <= applied).max(1) - 1..]
    }

    /// The version whose bytes these are, all of them, if there ever was one.
    pub fn version_of(&self, bytes: &[u8]) -> Option<Version> {
        let alike = self.versions.get(&(bytes.len(), head(bytes)))?;
        alike.iter().copied().find(|version| version.bytes() == bytes)
    }

    fn note_version(&mut self, version: Version, bytes: &[u8]) {
        self.versions.entry((version.length, head(bytes))).or_default().push(version);
    }

    fn view(&self, place: Place) -> View {
        match place.file {
            None if self.folders[place.folder] => View::Folder,
            None => View::Nothing,
            Some(_) => self.files.get(&place).map_or(View::Nothing, |node| {
                let links = self.files.values().filter(|other| *other == node).count() as u64;
                View::File(FileView { links, ..self.nodes[node].clone() })
            }),
        }
    }

    fn record(&mut self, batch: usize) {
        for folder in 0..FOLDERS {
            for file in std::iter::once(None).chain((0..FILES).map(Some)) {
                let place = Place { folder, file };
                let view = self.view(place);
                let history = self.history.entry(place).or_default();
                if history.last().is_none_or(|(_, last)| *last != view) {
                    history.push((batch, view));
                }
            }
        }
    }

    /// Makes one change, in the mount and here.
    pub fn change(&mut self, root: &Path, batch: usize, seed: &mut Seed) {
        let place = loop {
            let place = Place::any_file(seed);
            if self.folders[place.folder] {
                break place;
            }
        };
        match (seed.below(14), self.files.get(&place).copied()) {
            (0..=4, Some(node)) => self.overwrite(&place.under(root), node, seed),
            (5, Some(_)) => {
                fs::remove_file(place.under(root)).unwrap();
                self.files.remove(&place);
            }
            (6, Some(node)) => {
                let mode = [0o600, 0o640, 0o644, 0o755][seed.index(4)];
                fs::set_permissions(place.under(root), fs::Permissions::from_mode(mode)).unwrap();
                self.nodes.get_mut(&node).unwrap().mode = mode;
            }
            (7, Some(node)) => {
                let value = seed.below(1000);
                set_attribute(&place.under(root), value);
                self.nodes.get_mut(&node).unwrap().attribute = Some(value);
            }
            (8, Some(node)) => self.link(place, node, root, seed),
            (9, Some(node)) => self.rename(place, node, root, seed),
            (10, _) => self.move_folder(place.folder, root),
            (11, None) => self.create(place, &place.under(root), root, seed),
            _ => self.create(place, &root.join("spare/file"), root, seed),
        }
        self.nodes.retain(|node, _| self.files.values().any(|other| other == node));
        self.record(batch);
    }

    /// One write over all of it: no state in between can be sent.
    fn overwrite(&mut self, path: &Path, node: u64, seed: &mut Seed) {
        let view = self.nodes.get_mut(&node).unwrap();
        view.version.id = seed.next_u64();
        let (version, bytes) = (view.version, view.version.bytes());
        File::options().write(true).open(path).unwrap().write_all_at(&bytes, 0).unwrap();
        self.note_version(version, &bytes);
    }

    /// Something new, in its place or moved there over what it replaces.
    fn create(&mut self, place: Place, at: &Path, root: &Path, seed: &mut Seed) {
        let version = Version::any(seed);
        let bytes = version.bytes();
        fs::write(at, &bytes).unwrap();
        self.note_version(version, &bytes);
        let mode = fs::metadata(at).unwrap().mode() & 0o7777;
        if at != place.under(root) {
            fs::rename(at, place.under(root)).unwrap();
        }
        self.next_node += 1;
        self.nodes.insert(self.next_node, FileView { version, mode, links: 1, attribute: None });
        self.files.insert(place, self.next_node);
    }

    fn link(&mut self, place: Place, node: u64, root: &Path, seed: &mut Seed) {
        let to = Place::any_file(seed);
        if self.folders[to.folder] && !self.files.contains_key(&to) {
            fs::hard_link(place.under(root), to.under(root)).unwrap();
            self.files.insert(to, node);
        }
    }

    fn rename(&mut self, place: Place, node: u64, root: &Path, seed: &mut Seed) {
        let to = Place::any_file(seed);
        // Between two names of one file nothing happens.
        if self.folders[to.folder] && self.files.get(&to) != Some(&node) {
            fs::rename(place.under(root), to.under(root)).unwrap();
            self.files.remove(&place);
            self.files.insert(to, node);
        }
    }

    /// To the one name of a folder that is free.
    fn move_folder(&mut self, from: usize, root: &Path) {
        let to = self.folders.iter().position(|taken| !taken).unwrap();
        let place = |folder| Place { folder, file: None };
        fs::rename(place(from).under(root), place(to).under(root)).unwrap();
        self.folders.swap(from, to);
        let moved = std::mem::take(&mut self.files).into_iter();
        let moved = moved.map(|(place, node)| {
            (Place { folder: if place.folder == from { to } else { place.folder }, ..place }, node)
        });
        self.files = moved.collect();
    }
}

fn set_attribute(path: &Path, value: u64) {
    let (path, value) = (CString::new(path.as_os_str().as_bytes()).unwrap(), value.to_string());
    // SAFETY: both names end with NUL, and the value is as long as is said.
    let set = unsafe { libc::setxattr(path.as_ptr(), ATTRIBUTE.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// The attribute that changes set: `Err` with the error's number if there is none, or no such file.
pub fn attribute_of(path: &Path) -> Result<u64, i32> {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut value = [0_u8; 32];
    // SAFETY: both names end with NUL, and the value is as long as is said.
    let length = unsafe { libc::getxattr(path.as_ptr(), ATTRIBUTE.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    let length = usize::try_from(length).map_err(|_| std::io::Error::last_os_error().raw_os_error().unwrap())?;
    Ok(std::str::from_utf8(&value[..length]).unwrap().parse().unwrap())
}

//! A program that looks at whatever it likes, and knows what it may be shown.

use super::World;
use super::model::{FILES, FOLDERS, Place, Version, View, attribute_of};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::Ordering;
use tarn_tests::maps::Map;
use tarn_tests::seed::Seed;

const KEPT_MAX: usize = 6;
/// Bytes of a map that are looked at.
const MAPPED_MAX: usize = 4096;

/// A file that stays open, and one version for as long as it does.
struct Kept {
    file: File,
    map: Option<Map>,
    length: usize,
    /// Known once it was read, or if nothing happened while it was opened.
    version: Option<Version>,
    place: Place,
}

/// One of the programs that look.
pub struct Looker<'w> {
    world: &'w World,
    root: &'w Path,
    seed: Seed,
    kept: Vec<Kept>,
    counts: [u64; 4],
}

impl<'w> Looker<'w> {
    pub fn new(world: &'w World, root: &'w Path, seed: Seed) -> Self {
        Self { world, root, seed, kept: Vec::new(), counts: [0; 4] }
    }

    /// How many calls it made, contents it read whole, and reads of versions that it kept, and of those that were replaced.
    pub fn look_until_over(&mut self) -> [u64; 4] {
        while !self.world.is_over.load(Ordering::SeqCst) {
            self.counts[0] += 1;
            match self.seed.below(7) {
                0 | 1 => self.stat(),
                2 => self.attribute(),
                3 => self.list(),
                4 => self.read_whole(),
                5 => self.keep(),
                _ => self.read_kept(),
            }
        }
        self.counts
    }

    fn applied(&self) -> usize {
        self.world.applied.load(Ordering::SeqCst)
    }

    /// Holds what was seen against what must be, unless something was changed there, or its folder moved, since this batch
    /// was applied. Whether it could be held.
    #[track_caller]
    fn check(&self, place: Place, applied: usize, what: &str, is_so: impl Fn(&View) -> bool) -> bool {
        let model = self.world.model.lock().unwrap();
        let folder = Place { file: None, ..place };
        let ([(_, view)], [_]) = (model.admissible(place, applied), model.admissible(folder, applied)) else {
            return false;
        };
        let (view, is_so) = (view.clone(), is_so(view));
        drop(model);
        assert!(is_so, "{place:?} since batch {applied}: {what}; it must be {view:?}");
        true
    }

    /// What is read is never a mix: whenever it was read, these bytes are all of one version.
    #[track_caller]
    fn version_of(&self, place: Place, bytes: &[u8], mapped: Option<(usize, Vec<u8>)>) -> Version {
        let version = self.world.model.lock().unwrap().version_of(bytes);
        let Some(version) = version else {
            panic!("{place:?}: {} bytes are no version that was ever there", bytes.len())
        };
        let is_in = |(at, mapped): (usize, Vec<u8>)| bytes.get(at..at + mapped.len()) == Some(&mapped[..]);
        assert!(mapped.is_none_or(is_in), "{place:?}: the map shows something else than what is read");
        version
    }

    fn stat(&mut self) {
        let (place, applied) = (Place::any_file(&mut self.seed), self.applied());
        match fs::symlink_metadata(place.under(self.root)) {
            Ok(meta) => {
                let seen = (meta.len(), meta.mode() & 0o7777, meta.nlink());
                let is_so = |view: &View| matches!(view, View::File(file) if (file.version.length as u64, file.mode, file.links) == seen);
                self.check(place, applied, &format!("length, mode and links are {seen:?}"), is_so);
            }
            Err(error) => self.is_absent(place, applied, &error),
        }
    }

    fn is_absent(&self, place: Place, applied: usize, error: &std::io::Error) {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{place:?}: {error}");
        self.check(place, applied, "it is absent", |view| *view == View::Nothing);
    }

    fn attribute(&mut self) {
        let (place, applied) = (Place::any_file(&mut self.seed), self.applied());
        let seen = attribute_of(&place.under(self.root));
        let is_so = |view: &View| match (view, &seen) {
            (View::Nothing, Err(libc::ENOENT)) => true,
            (View::File(file), Ok(value)) => file.attribute == Some(*value),
            (View::File(file), Err(libc::ENODATA)) => file.attribute.is_none(),
            _ => false,
        };
        self.check(place, applied, &format!("the attribute is {seen:?}"), is_so);
    }

    fn list(&mut self) {
        let (folder, applied) = (self.seed.index(FOLDERS), self.applied());
        let place = Place { folder, file: None };
        let names: BTreeSet<String> = match fs::read_dir(place.under(self.root)) {
            Ok(entries) => entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect(),
            Err(error) => return self.is_absent(place, applied, &error),
        };
        self.check(place, applied, "it is there", |view| *view == View::Folder);
        for file in 0..FILES {
            let is_listed = names.contains(&format!("file{file}"));
            let what = format!("whether it is listed: {is_listed}");
            let is_so = |view: &View| (*view != View::Nothing) == is_listed;
            self.check(Place { folder, file: Some(file) }, applied, &what, is_so);
        }
    }

    fn open(&mut self) -> Option<(Place, File, usize)> {
        let (place, applied) = (Place::any_file(&mut self.seed), self.applied());
        match File::open(place.under(self.root)) {
            Ok(file) => Some((place, file, applied)),
            Err(error) => {
                self.is_absent(place, applied, &error);
                None
            }
        }
    }

    fn read_whole(&mut self) {
        let Some((place, mut file, applied)) = self.open() else { return };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap_or_else(|error| panic!("{place:?}: {error}"));
        let version = self.version_of(place, &bytes, None);
        let is_so = |view: &View| matches!(view, View::File(file) if file.version == version);
        self.counts[1] += u64::from(self.check(place, applied, &format!("{version:?} was read"), is_so));
    }

    /// Opens, and looks only later.
    fn keep(&mut self) {
        let Some((place, file, applied)) = self.open() else { return };
        let length = file.metadata().unwrap().len() as usize;
        let map = self.seed.one_in(2).then(|| Map::of(&file, length, false).unwrap());
        let mut version = None;
        let is_so = |view: &View| matches!(view, View::File(file) if file.version.length == length);
        if self.check(place, applied, &format!("of {length} bytes when it was opened"), is_so) {
            let model = self.world.model.lock().unwrap();
            let (_, view) = &model.admissible(place, applied)[0];
            version = if let View::File(file) = view { Some(file.version) } else { None };
        }
        if self.kept.len() == KEPT_MAX {
            self.kept.swap_remove(self.seed.index(KEPT_MAX));
        }
        self.kept.push(Kept { file, map, length, version, place });
    }

    /// What is kept open is one version, in all of its reads and in its map.
    fn read_kept(&mut self) {
        if self.kept.is_empty() {
            return;
        }
        let index = self.seed.index(self.kept.len());
        let (place, length, known) = (self.kept[index].place, self.kept[index].length, self.kept[index].version);
        let mut bytes = vec![0; length + 1];
        let mut count = 0;
        while let Ok(more @ 1..) = self.kept[index].file.read_at(&mut bytes[count..], count as u64) {
            count += more;
        }
        bytes.truncate(count);
        let start = self.seed.index(length);
        let mapped = self.kept[index].map.as_ref().map(|map| (start, map.read(start, MAPPED_MAX.min(length - start))));
        let version = self.version_of(place, &bytes, mapped);
        assert!(known.is_none_or(|known| known == version), "{place:?} kept open: {version:?} instead of {known:?}");
        assert_eq!(self.kept[index].file.metadata().unwrap().len(), count as u64, "{place:?} kept open");
        self.kept[index].version = Some(version);
        self.counts[2] += 1;
        let model = self.world.model.lock().unwrap();
        let (_, now) = model.admissible(place, usize::MAX).last().unwrap();
        self.counts[3] += u64::from(!matches!(now, View::File(file) if file.version == version));
    }
}

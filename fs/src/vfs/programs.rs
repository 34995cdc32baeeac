//! Owns which program had what fetched, and which programs only scan: thumbnailers and indexers, which read whatever they find.
//! They get what is local, and of the rest the head, so that looking at a folder never brings it here whole.
//!
//! Asked only when something is to be fetched: reading what is local costs nothing here.

use crate::env::program_of;
use crate::meta::rows::Ino;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::Path;

/// Programs that scan, by the name of their executable; one that ends in `*` stands for all that begin so.
pub const SCANNERS_DEFAULT: [&str; 20] = [
    "tumblerd",
    "gdk-pixbuf-thumbnailer",
    "glycin-thumbnailer",
    "gnome-thumbnail*",
    "evince-thumbnailer",
    "atril-thumbnailer",
    "ffmpegthumbnailer",
    "totem-video-thumbnailer",
    "raw-thumbnailer",
    "gsf-office-thumbnailer",
    "thumbnail.so",
    "baloo_file*",
    "localsearch-*",
    "tracker-extract*",
    "tracker-miner-*",
    "recollindex",
    "updatedb*",
    "nepomuk*",
    "strigidaemon",
    "zeitgeist-datahub",
];
/// Who scans gets reads of what is not here if they start below: file managers look at heads of up to 32 KiB.
pub const SCANNED_BYTES: u64 = 64 << 10;
/// Programs that are told apart.
const PROGRAMS_MAX: usize = 200;
const OTHERS: &str = "others";

/// What a program had fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caused {
    /// Its executable, or its name where that cannot be seen.
    pub program: String,
    /// Whether it counts as one that scans.
    pub scans: bool,
    /// Bytes that it waited for.
    pub asked_bytes: u64,
    /// Bytes fetched ahead of its reads.
    pub ahead_bytes: u64,
    /// Reads that it was refused.
    pub refused_count: u64,
    /// The file that it was about last.
    pub last: Ino,
}

/// One reader.
#[derive(Debug, Clone)]
pub(super) struct Program {
    name: String,
    pub scans: bool,
}

/// All that had something fetched since the mount.
#[derive(Debug)]
pub(super) struct Programs {
    scanners: Vec<String>,
    caused: Mutex<HashMap<String, Caused>>,
}

impl Programs {
    pub fn new(scanners: Vec<String>) -> Self {
        Self { scanners, caused: Mutex::default() }
    }

    /// Who a thread belongs to.
    pub fn of(&self, tid: u32) -> Program {
        let name = program_of(tid);
        let scans = self.is_scanner(&name);
        Program { name, scans }
    }

    fn is_scanner(&self, name: &str) -> bool {
        let file_name = Path::new(name).file_name().map_or(name.into(), |file| file.to_string_lossy());
        self.scanners.iter().any(|scanner| match scanner.strip_suffix('*') {
            Some(start) => file_name.starts_with(start),
            None => file_name == *scanner,
        })
    }

    /// Notes something about a program and a file.
    pub fn note(&self, program: &Program, file: Ino, change: impl FnOnce(&mut Caused)) {
        let mut all = self.caused.lock();
        let is_known = all.contains_key(&program.name) || all.len() < PROGRAMS_MAX;
        let name = if is_known { program.name.as_str() } else { OTHERS };
        let caused = all.entry(name.to_owned()).or_insert_with(|| Caused {
            program: name.to_owned(),
            scans: program.scans,
            asked_bytes: 0,
            ahead_bytes: 0,
            refused_count: 0,
            last: file,
        });
        caused.last = file;
        change(caused);
    }

    /// All of them, those that had most fetched first.
    pub fn all(&self) -> Vec<Caused> {
        let mut all: Vec<Caused> = self.caused.lock().values().cloned().collect();
        all.sort_by(|one, other| {
            let bytes = |caused: &Caused| caused.asked_bytes + caused.ahead_bytes;
            bytes(other).cmp(&bytes(one)).then_with(|| one.program.cmp(&other.program))
        });
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs() -> Programs {
        Programs::new(SCANNERS_DEFAULT.map(String::from).to_vec())
    }

    #[test]
    fn scanners_are_known_by_their_executable_or_how_it_begins() {
        let is_scanner = |name: &str| programs().is_scanner(name);
        assert!(is_scanner("/usr/lib/x86_64-linux-gnu/tumbler-1/tumblerd") && is_scanner("tumblerd"));
        assert!(is_scanner("/usr/libexec/localsearch-extractor-3") && is_scanner("/usr/bin/updatedb.plocate"));
        assert!(!is_scanner("/usr/bin/cat") && !is_scanner("/home/tumblerd/bin/vim") && !is_scanner(""));
    }

    #[test]
    fn programs_beyond_the_bound_are_counted_together() {
        let programs = programs();
        for n in 0..PROGRAMS_MAX + 10 {
            let program = Program { name: format!("/bin/{n}"), scans: false };
            programs.note(&program, Ino(2), |caused| caused.asked_bytes += 1);
        }
        let all = programs.all();
        assert_eq!((all.len(), all[0].program.as_str(), all[0].asked_bytes), (PROGRAMS_MAX + 1, OTHERS, 10));
    }
}

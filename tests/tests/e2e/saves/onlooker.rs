//! Somebody at another device, who looks at a folder all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use tarn_tests::diff::entries;

/// All that was ever seen.
#[derive(Debug, Default)]
pub struct Report {
    /// Contents of files that were there from the beginning.
    pub contents: BTreeMap<PathBuf, BTreeSet<Vec<u8>>>,
    /// Files that were there from the beginning and were not there once.
    pub missed: BTreeSet<PathBuf>,
    /// Names.
    pub names: BTreeSet<PathBuf>,
}

/// Looks until it is asked for its report.
pub struct Onlooker {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Report>,
}

impl Onlooker {
    /// One that looks at these files of a folder, and at all names in it.
    pub fn of(folder: &Path, files: BTreeSet<PathBuf>) -> Self {
        let (is_over, folder) = (Arc::new(AtomicBool::new(false)), folder.to_owned());
        let over = is_over.clone();
        let thread = thread::spawn(move || {
            let mut report = Report::default();
            loop {
                // One look more than asked for: the last one sees what has become of all.
                let is_last = over.load(Ordering::Acquire);
                look(&folder, &files, &mut report);
                if is_last {
                    return report;
                }
            }
        });
        Self { is_over, thread }
    }

    /// What it saw.
    pub fn report(self) -> Report {
        self.is_over.store(true, Ordering::Release);
        self.thread.join().unwrap()
    }
}

fn look(folder: &Path, files: &BTreeSet<PathBuf>, report: &mut Report) {
    for path in files {
        match fs::read(folder.join(path)) {
            Ok(bytes) => drop(report.contents.entry(path.clone()).or_default().insert(bytes)),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{}", path.display());
                report.missed.insert(path.clone());
            }
        }
    }
    // What goes while it is listed is in the next look, or nowhere.
    report.names.extend(entries(folder).map(BTreeMap::into_keys).into_iter().flatten());
}

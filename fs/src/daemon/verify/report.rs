//! Owns what a verification has found and compared so far, and telling it.

use crate::control::ProgressSink;
use crate::control::findings::{Area, Difference, Said, VerifyReport};
use crate::control::messages::Progress;
use parking_lot::Mutex;

/// Differences that are told; more are counted.
const TOLD_MAX: usize = 1000;

/// A report that several looks add to.
#[derive(Debug)]
pub(super) struct Report<'a> {
    inner: Mutex<Inner>,
    sink: &'a ProgressSink,
}

#[derive(Debug)]
struct Inner {
    report: VerifyReport,
    progress: Progress,
}

impl<'a> Report<'a> {
    pub fn new(light: bool, sink: &'a ProgressSink) -> Self {
        let report = VerifyReport { light, ..VerifyReport::default() };
        Self { inner: Mutex::new(Inner { report, progress: Progress::default() }), sink }
    }

    /// Adds what was found.
    pub fn found(&self, differences: Vec<Difference>) {
        let mut inner = self.inner.lock();
        for difference in differences {
            tracing::warn!(%difference, "verify found a difference");
            inner.report.difference_count += 1;
            if inner.report.differences.len() < TOLD_MAX {
                inner.report.differences.push(difference);
            }
        }
    }

    /// Notes once what could not be compared.
    pub fn left_out(&self, why: impl Into<String>) {
        let (mut inner, why) = (self.inner.lock(), why.into());
        if !inner.report.left_out.contains(&why) {
            inner.report.left_out.push(why);
        }
    }

    /// Notes how much was compared, and tells how far it has come.
    pub fn note(&self, count: impl FnOnce(&mut VerifyReport, &mut Progress)) {
        let mut inner = self.inner.lock();
        let Inner { report, progress } = &mut *inner;
        count(report, progress);
        self.sink.set(progress.clone());
    }

    pub fn finish(self) -> VerifyReport {
        self.inner.into_inner().report
    }
}

/// A difference between two sides, not repaired.
pub(super) fn difference(
    area: Area,
    path: Option<String>,
    what: impl Into<String>,
    sides: impl IntoIterator<Item = (&'static str, String)>,
    advice: &str,
) -> Difference {
    let says = sides.into_iter().map(|(who, says)| Said { who: who.to_owned(), says }).collect();
    Difference { area, path, what: what.into(), says, advice: advice.to_owned(), repaired: false }
}

/// A path as it is told.
pub(super) fn shown_path(path: &[u8]) -> String {
    let below = path.strip_prefix(b"/").unwrap_or(path);
    if below.is_empty() { ".".to_owned() } else { String::from_utf8_lossy(below).into_owned() }
}

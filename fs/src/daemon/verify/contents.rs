//! Owns comparing bytes on the local disk with the ids of their chunks, and dropping those that are not theirs.

use super::Run;
use super::report::{difference, shown_path};
use crate::content::{ChunkCheck, ContentError, LocalContent};
use crate::control::Failure;
use crate::control::findings::{Area, Difference};
use crate::daemon::parts::Parts;
use crate::hydrate::Priority;
use crate::meta::rows::{BaseVersion, ContentNo, ContentPlace, ContentRow, Ino};
use crate::tree::{Invalidation, Notifier};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use tarn_proto::ids::VersionId;
use tarn_proto::manifest::LocatedChunk;

/// Rows read at once.
const PAGE_ROWS: usize = 256;
/// Bytes looked at between two signs of life.
const STEP_BYTES: u64 = 32 << 20;
const FETCH_AGAIN: &str = "put right: dropped here, and the next read brings it from the server again";
const IN_USE: &str = "it is in use and was not dropped: run `tarn verify` again, or `tarn evict` it";
const COPY_NOW: &str = "not uploaded yet: copy what can be read of the file to another place now, and write it anew";
const NOT_READABLE: &str = "not uploaded yet, and the local disk does not give it back: look at the disk, copy what can \
                            be read of the file to another place, and restore the rest from a backup";

/// What a look at some chunks came to.
#[derive(Debug, Default)]
struct Chunks {
    bytes: u64,
    partial_bytes: u64,
    damaged: Vec<(Range<u64>, String)>,
}

impl Run<'_> {
    /// Looks at the contents of these files; of all, without.
    pub(super) async fn contents(&self, files: Option<&HashSet<Ino>>) -> Result<(), Failure> {
        let drained = self.local(|parts| parts.journal.drain()).await?;
        drained.map_err(Failure::failed)?;
        let start = if self.is_light && files.is_none() { self.random_content().await? } else { ContentNo(0) };
        let mut left_bytes = self.bounds.content_bytes;
        for (after, upto) in [(start, ContentNo(u64::MAX >> 1)), (ContentNo(0), start)] {
            if !self.contents_between(after, upto, files, &mut left_bytes).await? {
                break;
            }
        }
        Ok(())
    }

    async fn random_content(&self) -> Result<ContentNo, Failure> {
        let last = self.local(|parts| parts.journal.readers().get()?.last_content()).await?.map_err(Failure::failed)?;
        Ok(ContentNo(self.random() % (last.0 + 1)))
    }

    /// Contents of a range of numbers; false once enough was looked at.
    async fn contents_between(
        &self,
        mut after: ContentNo,
        upto: ContentNo,
        files: Option<&HashSet<Ino>>,
        left_bytes: &mut u64,
    ) -> Result<bool, Failure> {
        loop {
            let rows =
                self.local(move |parts| parts.journal.readers().get()?.contents_behind(after, PAGE_ROWS)).await?;
            let rows = rows.map_err(Failure::failed)?;
            let Some((last, _)) = rows.last() else { return Ok(true) };
            after = *last;
            let is_wanted = |row: &ContentRow| {
                files.is_none_or(|files| files.contains(&row.ino)) && (!row.present.is_empty() || row.is_dirty)
            };
            let wanted: Vec<_> = rows.into_iter().filter(|(no, row)| *no <= upto && is_wanted(row)).collect();
            let bytes: u64 = wanted.iter().map(|(_, row)| row.present.len_bytes()).sum();
            self.report.note(|_, progress| progress.bytes_total += bytes.min(*left_bytes));
            for (no, row) in wanted {
                if *left_bytes == 0 || self.is_over() {
                    return Ok(false);
                }
                self.content(no, &row, left_bytes).await?;
            }
            if after >= upto {
                return Ok(true);
            }
        }
    }

    async fn content(&self, no: ContentNo, row: &ContentRow, left_bytes: &mut u64) -> Result<(), Failure> {
        let path = self.path(row.ino).await?;
        let content = match self.local(move |parts| parts.contents.get(no)).await? {
            Ok(content) => content,
            Err(ContentError::Unknown(_)) => return Ok(()), // removed meanwhile
            Err(error) => {
                let sides = [
                    ("the database", "bytes are here that are not uploaded".to_owned()),
                    ("the local disk", error.to_string()),
                ];
                self.report.found(vec![difference(Area::Content, path, "local content", sides, NOT_READABLE)]);
                return Ok(());
            }
        };
        self.report.note(|report, _| report.compared.files += 1);
        if row.place == ContentPlace::File && !self.backing(&content, path.clone()).await? {
            return Ok(());
        }
        self.dirty(&content, path.clone(), left_bytes).await?;
        self.clean(&content, path, left_bytes).await
    }

    async fn path(&self, ino: Ino) -> Result<Option<String>, Failure> {
        let path = self.local(move |parts| parts.tree.path_of(ino).ok().flatten()).await?;
        Ok(path.map(|path| shown_path(&path)))
    }

    /// Whether the file of a content is where it belongs.
    async fn backing(&self, content: &Arc<LocalContent>, path: Option<String>) -> Result<bool, Failure> {
        let own = Arc::clone(content);
        let looked = self.local(move |parts| {
            // A content that moved on meanwhile, or was removed, has none.
            let is_gone = || {
                parts
                    .journal
                    .readers()
                    .get()?
                    .content(own.no())
                    .map(|row| row.is_none_or(|row| row.place != ContentPlace::File))
            };
            let has = parts.contents.has_backing(own.no()) || is_gone()?;
            if has || own.is_dirty() {
                return Ok((has, false));
            }
            if let Some(base) = own.base() {
                let whole = 0..own.size_bytes();
                parts.contents.drop_damaged(own.no(), base.content.version, std::slice::from_ref(&whole))?;
                parts.tree.note_pinned(own.ino());
            }
            parts.journal.record_contents(&[own.no()])?;
            parts.notifier.announce_and_invalidate(vec![Invalidation::Content(own.ino())]);
            Ok::<_, anyhow::Error>((false, true))
        });
        let (has, repaired) = looked.await?.map_err(Failure::failed)?;
        if !has {
            let sides = [
                ("the database", "a file of its own holds it".to_owned()),
                ("the local disk", "that file is gone".to_owned()),
            ];
            let advice = if repaired { FETCH_AGAIN } else { COPY_NOW };
            let found = difference(Area::Content, path, "local content", sides, advice);
            self.report.found(vec![Difference { repaired, ..found }]);
        }
        Ok(has)
    }

    /// Reads what is not uploaded.
    async fn dirty(
        &self,
        content: &Arc<LocalContent>,
        path: Option<String>,
        left_bytes: &mut u64,
    ) -> Result<(), Failure> {
        for range in content.dirty_ranges() {
            let mut at = range.start;
            while at < range.end && *left_bytes > 0 {
                let step = at..range.end.min(at + STEP_BYTES.min(*left_bytes));
                at = step.end;
                let (own, piece) = (Arc::clone(content), step.clone());
                let lost = self.local(move |_| own.unreadable(piece)).await?;
                self.read(step.end - step.start, left_bytes);
                let told = lost.into_iter().map(|(lost, why)| {
                    let sides = [("the database", format!("{} are here", bytes_text(&lost))), ("the local disk", why)];
                    difference(Area::Content, path.clone(), "bytes that are not uploaded", sides, NOT_READABLE)
                });
                self.report.found(told.collect());
            }
        }
        Ok(())
    }

    /// Hashes what came from the server, or is there.
    async fn clean(
        &self,
        content: &Arc<LocalContent>,
        path: Option<String>,
        left_bytes: &mut u64,
    ) -> Result<(), Failure> {
        let Some(base) = content.base() else { return Ok(()) };
        let version = base.content.version;
        let mut chunks = self.chunks(&base).await.into_iter().peekable();
        while chunks.peek().is_some() && *left_bytes > 0 && !self.is_over() {
            let (mut step, mut bytes) = (Vec::new(), 0);
            while let Some(chunk) = chunks.next_if(|_| bytes < STEP_BYTES) {
                bytes += chunk.entry.length;
                step.push(chunk);
            }
            let (own, of_path) = (Arc::clone(content), path.clone());
            let looked = self.local(move |parts| {
                let looked = check(&own, version, &step);
                let told = told_and_dropped(parts, &own, version, of_path, &looked.damaged);
                (looked, told)
            });
            let (looked, told) = looked.await?;
            self.read(looked.bytes, left_bytes);
            self.report.found(told);
            if looked.partial_bytes > 0 {
                self.report.left_out("parts of chunks of which the rest is not here: they have no hash of their own");
            }
        }
        Ok(())
    }

    /// The chunks of a version. A very long list is in nodes, which are fetched if they are not at hand.
    async fn chunks(&self, base: &BaseVersion) -> Vec<LocatedChunk> {
        let manifest = &base.content.manifest;
        if manifest.level > 0 && self.is_light {
            self.report.left_out("very large files");
            return Vec::new();
        }
        let chunks = self.parts.hydrator.chunks(manifest, 0..base.content.size, Priority::Prefetch).await;
        chunks.unwrap_or_else(|error| {
            self.report.left_out(format!("very large files, whose lists of chunks are not here: {error}"));
            Vec::new()
        })
    }

    fn read(&self, bytes: u64, left_bytes: &mut u64) {
        *left_bytes = left_bytes.saturating_sub(bytes);
        self.report.note(|report, progress| {
            report.compared.bytes += bytes;
            progress.bytes = report.compared.bytes;
            progress.bytes_total = progress.bytes_total.max(progress.bytes);
        });
    }
}

fn check(content: &LocalContent, version: VersionId, chunks: &[LocatedChunk]) -> Chunks {
    let mut looked = Chunks::default();
    for chunk in chunks {
        match content.check_chunk(version, chunk) {
            ChunkCheck::Right => looked.bytes += chunk.entry.length,
            ChunkCheck::Partial(bytes) => looked.partial_bytes += bytes,
            ChunkCheck::Absent => {}
            ChunkCheck::Moved => break,
            ChunkCheck::Damaged(how) => {
                looked.bytes += chunk.entry.length;
                looked.damaged.push((chunk.range(), format!("{how}, not {}", chunk.entry.id)));
            }
        }
    }
    looked
}

/// Drops what is damaged, and says so.
fn told_and_dropped(
    parts: &Parts,
    content: &LocalContent,
    version: VersionId,
    path: Option<String>,
    damaged: &[(Range<u64>, String)],
) -> Vec<Difference> {
    if damaged.is_empty() {
        return Vec::new();
    }
    let ranges: Vec<_> = damaged.iter().map(|(range, _)| range.clone()).collect();
    let dropped = parts.contents.drop_damaged(content.no(), version, &ranges);
    let repaired = dropped.unwrap_or_else(|error| {
        tracing::warn!(%error, content = content.no().0, "damaged bytes could not be dropped");
        false
    });
    parts.tree.note_pinned(content.ino());
    // Pages that the kernel kept would hide that the bytes are gone.
    parts.notifier.announce_and_invalidate(vec![Invalidation::Content(content.ino())]);
    let told = |(range, how): &(Range<u64>, String)| {
        let sides =
            [("the server", format!("{} have another hash", bytes_text(range))), ("the local disk", how.clone())];
        let advice = if repaired { FETCH_AGAIN } else { IN_USE };
        let found = difference(Area::Content, path.clone(), "bytes of its content are damaged", sides, advice);
        Difference { repaired, ..found }
    };
    damaged.iter().map(told).collect()
}

fn bytes_text(range: &Range<u64>) -> String {
    format!("bytes {} to {}", range.start, range.end)
}

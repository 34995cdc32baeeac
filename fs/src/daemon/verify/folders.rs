//! Owns which folders are looked at: all at or below a place, or a sample.

use super::Run;
use super::kernel::{Listing, mark_repaired};
use super::report::shown_path;
use super::settled::{Found, settled};
use crate::control::Failure;
use crate::control::findings::{Area, Difference};
use crate::meta::rows::{Ino, ROOT};
use crate::tree::{NodeType, Tree, TreeError};
use futures_util::{StreamExt, stream};
use std::collections::HashSet;
use tarn_proto::ids::NodeId;

/// Folders that are looked at at once: the server may be far away.
const AT_ONCE: usize = 8;

impl Run<'_> {
    /// Compares folders. Returns the files at or below `start`; `None` for the whole mount.
    pub(super) async fn folders(&self, start: Ino) -> Result<Option<HashSet<Ino>>, Failure> {
        let mut files = HashSet::new();
        let mut todo = vec![start];
        let is_sample = self.is_light && start == ROOT;
        if is_sample {
            todo.extend(self.sample().await?);
        }
        let stat = self.local(move |parts| parts.tree.stat(start)).await?.map_err(Failure::failed)?;
        if NodeType::from(&stat.kind) != NodeType::Dir {
            files.insert(start);
            let parent = self.local(move |parts| parts.tree.parent_of(start)).await?.map_err(Failure::failed)?;
            todo = parent.into_iter().collect();
        }
        let goes_down = files.is_empty() && !is_sample;
        let mut count = 0;
        while !todo.is_empty() && count < self.bounds.folders && !self.is_over() {
            let batch = todo.split_off(todo.len().saturating_sub(AT_ONCE.min(self.bounds.folders - count)));
            count += batch.len();
            self.report.note(|_, progress| progress.items_total = (count + todo.len()) as u64);
            let mut looks = stream::iter(batch).map(|dir| self.folder(dir)).buffer_unordered(AT_ONCE);
            while let Some(listing) = looks.next().await {
                for (_, stat) in listing?.map(|listing| listing.entries).unwrap_or_default() {
                    match NodeType::from(&stat.kind) {
                        NodeType::Dir if goes_down => todo.push(stat.ino),
                        NodeType::File if goes_down && start != ROOT => drop(files.insert(stat.ino)),
                        _ => {}
                    }
                }
            }
        }
        Ok((start != ROOT).then_some(files))
    }

    /// Compares one folder with the kernel and the server.
    async fn folder(&self, dir: Ino) -> Result<Option<Listing>, Failure> {
        let Some(listing) = self.listing(dir).await? else { return Ok(None) };
        let mut found = settled(self.env, || Box::pin(self.compare(dir))).await?;
        if found.iter().any(|one| one.area == Area::Kernel) {
            self.tell_kernel(dir, &listing, &found);
            let left = settled(self.env, || Box::pin(self.compare(dir))).await?;
            mark_repaired(&mut found, &left);
        }
        self.report.found(found);
        self.report.note(|report, progress| {
            report.compared.folders += 1;
            report.compared.entries += listing.entries.len() as u64;
            progress.items = report.compared.folders;
        });
        Ok(Some(listing))
    }

    async fn compare(&self, dir: Ino) -> Found {
        // Anew each time: it may have been moved.
        let Some(listing) = self.listing(dir).await? else { return Ok(Vec::new()) };
        let path = shown_path(&listing.path);
        let mut found: Vec<Difference> = self.compare_with_kernel(&listing, &path).await?;
        found.extend(self.compare_with_server(dir, &path).await?);
        Ok(found)
    }

    /// What the tree says of a folder; `None` if it is gone, or not known here yet.
    async fn listing(&self, dir: Ino) -> Result<Option<Listing>, Failure> {
        loop {
            match self.local(move |parts| listing(&parts.tree, dir)).await? {
                Ok(listing) => return Ok(listing),
                Err(TreeError::NotFound | TreeError::NotADirectory) => return Ok(None),
                Err(TreeError::Unlisted(folder)) if !self.is_light && self.parts.hydrator.is_online() => {
                    if let Err(error) = self.parts.sync.lister().list(folder.node).await {
                        self.report.left_out(format!("folders that are not known here yet: {error}"));
                        return Ok(None);
                    }
                }
                Err(TreeError::Unlisted(_)) => {
                    self.report.left_out("folders that are not known here yet");
                    return Ok(None);
                }
                Err(error) => return Err(Failure::failed(error)),
            }
        }
    }

    /// Folders from anywhere.
    async fn sample(&self) -> Result<Vec<Ino>, Failure> {
        let (from, max) = (NodeId(self.env.rng.id()), self.bounds.folders);
        let sampled = self.local(move |parts| {
            let reader = parts.journal.readers().get()?;
            let mut nodes = reader.folders_from(from, max)?;
            nodes.extend(reader.folders_from(NodeId([0; 16]), max.saturating_sub(nodes.len()))?);
            drop(reader);
            nodes.sort_unstable();
            nodes.dedup();
            // One that is gone by now is not looked at.
            Ok::<_, anyhow::Error>(
                nodes.into_iter().filter_map(|node| Some(parts.tree.place_of(node).ok()??.0)).collect(),
            )
        });
        sampled.await?.map_err(Failure::failed)
    }
}

fn listing(tree: &Tree, dir: Ino) -> Result<Option<Listing>, TreeError> {
    let Some(path) = tree.path_of(dir)? else { return Ok(None) };
    let mut entries = Vec::new();
    for entry in tree.read_dir_whole(dir)? {
        match tree.stat(entry.ino) {
            Ok(stat) => entries.push((entry.name, stat)),
            Err(TreeError::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(Listing { path, entries }))
}

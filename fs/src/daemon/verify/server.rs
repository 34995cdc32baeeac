//! Owns comparing what is known of a folder with what the server lists, each at one seq.

use super::Run;
use super::report::difference;
use super::settled::Found;
use crate::control::Failure;
use crate::control::findings::Area;
use crate::meta::rows::Ino;
use crate::remote::RemoteError;
use crate::sync::whole_listing;
use crate::tree::{FolderMismatch, TreeError, compare_folder};
use tarn_proto::error::ErrorCode;

const PULL_AGAIN: &str =
    "run `tarn wait`, then unmount, `tarn doctor --rebuild`, and mount again: everything is pulled again";

impl Run<'_> {
    pub(super) async fn compare_with_server(&self, dir: Ino, path: &str) -> Found {
        if !self.parts.hydrator.is_online() {
            self.report.left_out("what the server has: it cannot be reached");
            return Ok(Vec::new());
        }
        let node = match self.local(move |parts| parts.tree.published(dir)).await? {
            Ok(Some(node)) => node,
            Ok(None) | Err(TreeError::NotFound) => return Ok(Vec::new()),
            Err(error) => return Err(Failure::failed(error)),
        };
        let listed = whole_listing(self.remote.as_ref(), self.space, node).await;
        // Read after the server was asked: it is at least as new.
        let known = self.local(move |parts| parts.tree.known_folder(node)).await?.map_err(Failure::failed)?;
        if known.upto.is_none() {
            self.report.left_out("what the server has: not all of it was pulled yet");
            return Ok(Vec::new());
        }
        let listing = match listed {
            Ok(listing) => listing,
            Err(RemoteError::Refused { code: ErrorCode::NotFound, .. }) => {
                let is_known = known.node.is_some_and(|row| row.state.is_some());
                let here = ("this device", "the folder is there".to_owned());
                let there = ("the server", "there is no such folder".to_owned());
                let found = difference(Area::Server, Some(path.to_owned()), "the folder", [here, there], PULL_AGAIN);
                return Ok(if is_known { vec![found] } else { Vec::new() });
            }
            Err(error) => {
                self.report.left_out(format!("what the server has: {error}"));
                return Ok(Vec::new());
            }
        };
        let told = |mismatch: FolderMismatch| {
            let path = mismatch.name.map_or_else(|| path.to_owned(), |name| below(path, &name.to_string()));
            let sides = [("this device", mismatch.here), ("the server", mismatch.server)];
            difference(Area::Server, Some(path), mismatch.what, sides, PULL_AGAIN)
        };
        Ok(compare_folder(&known, &listing).into_iter().map(told).collect())
    }
}

/// The path of a name in a folder.
pub(super) fn below(folder: &str, name: &str) -> String {
    if folder == "." { name.to_owned() } else { format!("{folder}/{name}") }
}

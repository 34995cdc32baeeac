//! Nodes and histories of a folder's files, as the server has them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tarn_proto::api::{ChildEntry, ChildrenResponse, VersionsResponse};
use tarn_proto::ids::{NodeId, VersionId};
use tarn_proto::node::NodeKind;
use tarn_tests::device::Device;
use tarn_tests::server::Server;

/// A version of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    pub id: VersionId,
    pub bytes: u64,
}

/// A file: its node, and its versions, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHistory {
    pub node: NodeId,
    pub versions: Vec<Version>,
}

impl FileHistory {
    /// Whether it is the same node, with versions beyond those that it had.
    pub fn goes_on_from(&self, before: &Self) -> bool {
        let is_longer = self.versions.len() > before.versions.len();
        self.node == before.node && is_longer && self.versions.ends_with(&before.versions)
    }
}

/// All files of a folder, by path below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    pub files: BTreeMap<PathBuf, FileHistory>,
}

impl History {
    /// That of a folder in the top folder.
    pub fn of(server: &Server, device: &Device, folder: &str) -> Self {
        let space = device.credentials().unwrap()["home"].as_str().unwrap().to_owned();
        let mut files = BTreeMap::new();
        let mut folders = vec![(PathBuf::new(), space.clone())];
        while let Some((path, node)) = folders.pop() {
            for child in children(server, device, &space, &node) {
                let is_top = path.as_os_str().is_empty();
                let below = path.join(String::from_utf8(child.name.as_bytes().to_vec()).unwrap());
                if is_top && below != Path::new(folder) {
                    continue;
                }
                match child.state.kind {
                    NodeKind::Dir => folders.push((below, child.node.to_string())),
                    NodeKind::File => {
                        let path = below.strip_prefix(folder).unwrap().to_owned();
                        files.insert(path, history(server, device, child.node));
                    }
                    _ => {}
                }
            }
        }
        Self { files }
    }
}

fn children(server: &Server, device: &Device, space: &str, node: &str) -> Vec<ChildEntry> {
    let page = server.get_as(device, &format!("/spaces/{space}/nodes/{node}/children")).unwrap();
    let page: ChildrenResponse = serde_json::from_str(&page).unwrap();
    assert_eq!(page.next, None, "a folder of a few files is one page");
    page.children
}

fn history(server: &Server, device: &Device, node: NodeId) -> FileHistory {
    let answer = server.get_as(device, &format!("/files/{node}/versions")).unwrap();
    let answer: VersionsResponse = serde_json::from_str(&answer).unwrap();
    let versions = answer.versions.iter().map(|info| Version { id: info.version, bytes: info.content.size });
    FileHistory { node, versions: versions.collect() }
}

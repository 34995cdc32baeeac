//! Owns reading a whole present tree, for those who check it.

use super::entries;
use super::sql;
use super::{Conn, StoreError};
use sqlx::Row as _;
use std::collections::HashMap;
use tarn_proto::ids::{NodeId, SpaceId, VersionId};
use tarn_proto::op::Place;

/// A present node in few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeNode {
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Whether it is a regular file.
    pub is_file: bool,
    /// Bytes of its content.
    pub size_bytes: u64,
    /// Its content.
    pub version: Option<VersionId>,
}

/// All present rows of a space in few words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// The nodes.
    pub nodes: HashMap<NodeId, TreeNode>,
    /// The entries.
    pub entries: Vec<(Place, NodeId)>,
}

/// Reads the present tree of a space.
///
/// # Errors
/// The database fails.
pub async fn present(conn: &mut Conn, space: SpaceId) -> Result<Tree, StoreError> {
    let mut tree = Tree::default();
    let rows = sqlx::query("SELECT node, kind, size_bytes, version_id FROM nodes WHERE space = $1 AND seq_to IS NULL")
        .bind(space.as_bytes())
        .fetch_all(&mut *conn)
        .await?;
    for row in &rows {
        let kind: i64 = row.try_get("kind")?;
        let version: Option<Vec<u8>> = row.try_get("version_id")?;
        let node = TreeNode {
            is_dir: kind == super::nodes::KIND_DIR,
            is_file: kind == super::nodes::KIND_FILE,
            size_bytes: sql::count(row, "size_bytes")?,
            version: version.as_deref().and_then(VersionId::from_slice),
        };
        tree.nodes.insert(sql::id(row, "node", NodeId::from_slice)?, node);
    }
    let rows = sqlx::query("SELECT parent, name, node FROM entries WHERE space = $1 AND seq_to IS NULL")
        .bind(space.as_bytes())
        .fetch_all(&mut *conn)
        .await?;
    for row in &rows {
        let place = Place { parent: sql::id(row, "parent", NodeId::from_slice)?, name: entries::name(row)? };
        tree.entries.push((place, sql::id(row, "node", NodeId::from_slice)?));
    }
    Ok(tree)
}

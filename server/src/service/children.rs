//! Owns what a folder's listing does.

use super::spaces::own;
use super::{Failure, Identity, token};
use crate::store::feed::{self, Cut, Position};
use crate::store::nodes::{self, NodeInterval};
use crate::store::{Conn, Database};
use serde::{Deserialize, Serialize};
use tarn_proto::api::{ChildEntry, ChildrenResponse};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{EpochId, NodeId, SpaceId};
use tarn_proto::limits::PAGE_ROWS_MAX;

/// Manifest entries in one page; keeps its bytes in bounds whatever the nodes are.
const PAGE_WEIGHT_MAX: usize = 60_000;

/// Rows of the first page: few, so that somebody who waits for the folder sees it begin at once.
const FIRST_PAGE_ROWS: usize = 1_000;

/// Where the next page goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Token {
    epoch: EpochId,
    seq: u64,
    position: Position,
}

/// Lists a folder by name, as of the journal's seq at the first page; `after` is `next` of the page
/// before (it holds that seq too). An alias lists the folder that stands for it.
///
/// # Errors
/// The space is not the caller's, there is no such folder, or the database fails.
pub async fn children(
    db: &Database,
    identity: Identity,
    space: SpaceId,
    node: NodeId,
    after: Option<&str>,
) -> Result<ChildrenResponse, Failure> {
    let mut tx = db.begin_read().await?;
    let row = own(&mut tx, identity, space).await?;
    let token: Token = match after {
        Some(after) => token::decode(after)?,
        None => Token { epoch: row.cursor.epoch, seq: row.cursor.seq, position: Position::default() },
    };
    if token.epoch != row.cursor.epoch || token.seq > row.cursor.seq {
        return Err(Failure::refused(ErrorCode::BadRequest, "the page token is of another listing"));
    }
    let folder = folder_at(&mut tx, space, node, token.seq).await?;
    let limit = if after.is_none() { FIRST_PAGE_ROWS } else { PAGE_ROWS_MAX };
    let cut = Cut { space, upto: token.seq, position: &token.position, limit };
    // What was so at a seq stays so: a later moment shows the same.
    drop(tx);
    let listed = feed::listing(&mut db.begin_bulk().await?, cut, folder.node).await?;
    let (children, next) = page_of(listed, limit, &token);
    let epoch = Some(token.epoch);
    Ok(ChildrenResponse { seq: token.seq, node: folder.row.state, node_seq: folder.row.seq, children, next, epoch })
}

async fn folder_at(conn: &mut Conn, space: SpaceId, node: NodeId, seq: u64) -> Result<NodeInterval, Failure> {
    let alias = nodes::aliases(conn, space, &[node]).await?;
    let node = alias.get(&node).map_or(node, |alias| alias.target);
    let found = nodes::at(conn, space, node, seq).await?.ok_or_else(|| Failure::not_found("folder"))?;
    if !found.row.state.kind.is_dir() {
        return Err(Failure::refused(ErrorCode::NotADirectory, "the node is no folder"));
    }
    Ok(found)
}

fn page_of(mut children: Vec<ChildEntry>, limit: usize, token: &Token) -> (Vec<ChildEntry>, Option<String>) {
    let count = children.len();
    let mut weight = 0;
    let heavy = children.iter().position(|child| {
        weight += child.state.file.as_ref().map_or(0, |file| file.content.manifest.entries.len());
        weight >= PAGE_WEIGHT_MAX
    });
    children.truncate(heavy.map_or(count, |last| last + 1));
    let more = count == limit || children.len() < count;
    let next = children.last().filter(|_| more).map(|last| {
        let position = Position { name: last.name.as_bytes().to_vec(), ..Position::default() };
        token::encode(&Token { position, ..token.clone() })
    });
    (children, next)
}

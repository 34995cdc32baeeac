//! Owns what a pull does: a consistent cut of a space's changes, in pages.
//!
//! The first page fixes `upto`; the token carries it, so all pages answer as of the same moment
//! whatever is pushed meanwhile.

use super::cursor::check_cursor;
use super::spaces::own;
use super::{Failure, Identity, token};
use crate::store::bulk::Bulk;
use crate::store::feed::{self, Cut, Part, Position};
use crate::store::{Conn, Database, journal};
use serde::{Deserialize, Serialize};
use tarn_proto::api::PullResponse;
use tarn_proto::change::{Change, Cursor, Row};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::SpaceId;
use tarn_proto::limits::PAGE_ROWS_MAX;

/// Manifest entries in one page; keeps its bytes in bounds whatever the rows are.
const PAGE_WEIGHT_MAX: usize = 60_000;

/// Where the next page goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Token {
    from: u64,
    upto: u64,
    part: Part,
    position: Position,
}

/// Answers what changed after `cursor`; `page` is `next` of the page before.
///
/// # Errors
/// The space is not the caller's, the cursor is of another history or too far, or the database fails.
pub async fn pull(
    db: &Database,
    identity: Identity,
    space: SpaceId,
    cursor: Cursor,
    page: Option<&str>,
) -> Result<PullResponse, Failure> {
    let mut tx = db.begin_read().await?;
    let row = own(&mut tx, identity, space).await?;
    check_cursor(&mut tx, &row, &cursor).await?;
    let (token, upto) = match page {
        None => {
            let (from, upto) = (cursor.seq, row.cursor.seq);
            (Token { from, upto, part: Part::Aliases, position: Position::after(from) }, row.cursor)
        }
        Some(page) => {
            let token: Token = token::decode(page)?;
            let upto = cut_of(&mut tx, space, &row.cursor, &cursor, &token).await?;
            (token, upto)
        }
    };
    // What was so at a seq stays so: a later moment shows the same.
    drop(tx);
    let (changes, next) = match token.from == token.upto {
        true => (Vec::new(), None),
        false => collect(&mut db.begin_bulk().await?, space, token).await?,
    };
    let next = next.map(|token| token::encode(&token));
    Ok(PullResponse { upto, changes, next, usage: Some(row.usage()) })
}

/// The cursor of the cut that a token goes on with.
async fn cut_of(
    conn: &mut Conn,
    space: SpaceId,
    head: &Cursor,
    cursor: &Cursor,
    token: &Token,
) -> Result<Cursor, Failure> {
    if token.from != cursor.seq || token.upto < token.from || token.upto > head.seq {
        return Err(Failure::refused(ErrorCode::BadRequest, "the page token is of another pull"));
    }
    let hash = journal::hash_at(conn, space, token.upto).await?;
    let hash = hash.ok_or_else(|| Failure::refused(ErrorCode::BadRequest, "the page token is of another pull"))?;
    Ok(Cursor { epoch: head.epoch, seq: token.upto, hash })
}

/// Fills a page from one part after the other.
async fn collect(bulk: &mut Bulk, space: SpaceId, mut token: Token) -> Result<(Vec<Change>, Option<Token>), Failure> {
    let mut changes = Vec::new();
    let mut weight = 0;
    loop {
        let limit = PAGE_ROWS_MAX - changes.len();
        let cut = Cut { space, upto: token.upto, position: &token.position, limit };
        let rows = feed::page(bulk, token.part, cut).await?;
        let whole = rows.len() < limit;
        for (change, position) in rows {
            weight += weight_of(&change);
            changes.push(change);
            token.position = position;
            if weight >= PAGE_WEIGHT_MAX {
                return Ok((changes, Some(token)));
            }
        }
        if !whole {
            return Ok((changes, Some(token)));
        }
        match token.part.next(token.from) {
            Some(part) => token = Token { part, position: Position::after(token.from), ..token },
            None => return Ok((changes, None)),
        }
    }
}

fn weight_of(change: &Change) -> usize {
    match &change.row {
        Row::Node { state: Some(state), .. } => {
            let chunks = state.file.as_ref().map_or(0, |file| file.content.manifest.entries.len());
            let xattrs: usize = state.attrs.xattrs.values().map(|value| value.0.len()).sum();
            chunks + xattrs / 64
        }
        _ => 0,
    }
}

//! Owns comparing what a full pull has staged with what is known so far.

use super::Result;
use super::read_listing::optional_ino;
use super::read_local::ino_at;
use super::read_remote::name_at;
use super::readers::Reader;
use super::rows::Ino;
use tarn_proto::name::Name;

/// What the staged rows will change of what has inodes here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StagedChanges {
    /// Names that will stand for something else, come or go: the folder, unless nobody here knows it, the name, and the
    /// inode that comes or goes.
    pub entries: Vec<(Option<Ino>, Name, Option<Ino>)>,
    /// Inodes whose nodes will be others, or be gone.
    pub nodes: Vec<Ino>,
}

const COMING: &str = "select p.ino, s.name, c.ino from staged_entry s left join inode p on p.node = s.parent \
                      left join remote_entry e on e.parent = s.parent and e.name = s.name \
                      left join inode c on c.node = s.node where e.node is not s.node";
const GOING: &str = "select p.ino, g.name, c.ino from (select parent, name, node from remote_entry where node is not null \
                     except select parent, name, node from staged_entry) g \
                     left join inode p on p.node = g.parent left join inode c on c.node = g.node \
                     where p.ino is not null or c.ino is not null";
/// Until the first full pull is complete, nobody knows a name of a folder of which nothing was told, whole or in part; but a
/// file that has one there may be known by another. And one that was made here was known whole, until it turned out that others
/// have it.
const TOLD: &str = " and (c.ino is not null or p.ino is not null and \
                    (exists(select 1 from cursor) or exists(select 1 from listed l where l.node = s.parent) \
                    or exists(select 1 from remote_entry r where r.parent = s.parent) \
                    or exists(select 1 from alias a where a.target = s.parent)))";
const CHANGED: &str = "select i.ino from staged_node s join inode i on i.node = s.node \
                       left join remote_node n on n.node = s.node where n.state is not s.state";
const GONE: &str = "select i.ino from (select node from remote_node where state is not null \
                    except select node from staged_node) g join inode i on i.node = g.node";

impl Reader {
    /// What will change when the staged rows take the place of what is known.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn staged_changes(&self) -> Result<StagedChanges> {
        let mut changes = StagedChanges::default();
        for sql in [&format!("{COMING}{TOLD}"), GOING] {
            let rows = self.all(sql, [], |row| {
                Ok((optional_ino(row, 0)?, name_at("remote_entry", row, 1)?, optional_ino(row, 2)?))
            })?;
            changes.entries.extend(rows);
        }
        for sql in [CHANGED, GONE] {
            changes.nodes.extend(self.all(sql, [], |row| ino_at(row, 0))?);
        }
        Ok(changes)
    }
}

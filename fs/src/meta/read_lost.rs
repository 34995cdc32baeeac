//! Owns reading what is known of the server beyond a seq, as whole states: what a server that was put back to an older copy
//! of itself has lost.

use super::Result;
use super::codec::{decode, from_sql, id};
use super::read_remote::entry_of;
use super::readers::Reader;
use std::cmp::Reverse;
use tarn_proto::ids::{ConflictId, NodeId};
use tarn_proto::lost::{Lost, LostNode};
use tarn_proto::op::Place;

impl Reader {
    /// All that came to be so after `fork`, with its seq, oldest first. Reads all rows: not under a lock.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn lost_since(&self, fork: u64) -> Result<Vec<(u64, Lost)>> {
        let fork = i64::try_from(fork).unwrap_or(i64::MAX);
        let mut lost = self.lost_nodes(fork)?;
        lost.extend(self.lost_names(fork)?);
        lost.extend(self.lost_aliases(fork)?);
        lost.extend(self.lost_conflicts(fork)?);
        lost.sort_by_key(|(seq, _)| *seq);
        Ok(lost)
    }

    fn lost_nodes(&self, fork: i64) -> Result<Vec<(u64, Lost)>> {
        let sql = "select node, max(seq) from (select node, seq from remote_node where seq > ?1 \
                   union all select node, seq from remote_entry where seq > ?1 and node is not null) group by node";
        let found: Vec<(NodeId, u64)> = self.all(sql, [fork], |row| {
            let node = id("remote_node", row.get_ref(0)?.as_blob().unwrap_or_default(), NodeId::from_slice)?;
            Ok((node, from_sql("remote_node", row.get(1)?)?))
        })?;
        let mut lost = Vec::with_capacity(found.len());
        for (node, seq) in found {
            // A name of what the server never spoke of says nothing.
            let Some(known) = self.remote_node(node)? else { continue };
            let mut named = self.entries_of_node(node)?;
            if known.state.as_ref().is_some_and(|state| state.kind.is_dir()) {
                // A folder has one name: an answer tells of the new one, and only a pull that it left the old one.
                named.sort_by_key(|entry| Reverse(entry.seq));
                named.truncate(1);
            }
            let places = named.into_iter().map(|entry| Place { parent: entry.parent, name: entry.name }).collect();
            let state = known.state.map(Box::new);
            lost.push((seq, Lost::Node(LostNode { node, seq, state, places, alt_name: None })));
        }
        Ok(lost)
    }

    fn lost_names(&self, fork: i64) -> Result<Vec<(u64, Lost)>> {
        let sql = "select parent, name, node, seq from remote_entry where seq > ?1 and node is null";
        let freed = self.all(sql, [fork], entry_of)?.into_iter();
        let place = |entry: super::RemoteEntry| Place { parent: entry.parent, name: entry.name };
        Ok(freed.map(|entry| (entry.seq, Lost::Freed { seq: entry.seq, place: place(entry) })).collect())
    }

    fn lost_aliases(&self, fork: i64) -> Result<Vec<(u64, Lost)>> {
        self.all("select node, target, seq from alias where seq > ?1", [fork], |row| {
            let node = |column| -> Result<NodeId> {
                id("alias", row.get_ref(column)?.as_blob().unwrap_or_default(), NodeId::from_slice)
            };
            Ok((from_sql("alias", row.get(2)?)?, Lost::Alias { node: node(0)?, target: node(1)? }))
        })
    }

    fn lost_conflicts(&self, fork: i64) -> Result<Vec<(u64, Lost)>> {
        let sql = "select conflict, seq, state from conflict where seq > ?1 and state is not null";
        self.all(sql, [fork], |row| {
            let conflict = id("conflict", row.get_ref(0)?.as_blob().unwrap_or_default(), ConflictId::from_slice)?;
            let (seq, state): (u64, Vec<u8>) = (from_sql("conflict", row.get(1)?)?, row.get(2)?);
            Ok((seq, Lost::Conflict { conflict, seq, state: Box::new(decode("conflict", &state)?) }))
        })
    }
}

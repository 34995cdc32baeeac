//! Owns comparing memory, database and log.

use super::Run;
use super::report::{difference, shown_path};
use super::settled::{Found, settled};
use crate::control::Failure;
use crate::control::findings::{Area, Difference};
use crate::daemon::parts::Parts;
use crate::meta::RowFault;
use crate::meta::rows::Ino;
use crate::tree::Mismatch;

/// Faults of the database that are looked for at once.
const FAULTS_MAX: usize = 200;
const REBUILD: &str = "run `tarn wait`, then unmount, `tarn doctor --rebuild`, and mount again";
const NEW_LOG: &str = "run `tarn wait`, then unmount and mount again: that begins a new log";

impl Run<'_> {
    pub(super) async fn database(&self) -> Result<(), Failure> {
        // What was fetched and not recorded yet would look like a difference for seconds.
        let recorded = self.local(|parts| parts.contents.record_presence().map(drop)).await?;
        recorded.map_err(Failure::failed)?;
        let from = self.random();
        self.report.found(settled(self.env, || Box::pin(self.memory(from))).await?);
        self.report.found(settled(self.env, || Box::pin(self.log())).await?);
        if !self.is_light {
            self.report.found(settled(self.env, || Box::pin(self.rows())).await?);
            self.report.found(self.pages().await?);
        }
        Ok(())
    }

    async fn memory(&self, from: u64) -> Found {
        let inodes_max = self.bounds.inodes;
        let looked = self.local(move |parts| {
            let look = parts.tree.compare_memory(inodes_max, from)?;
            let found = look.mismatches.into_iter().map(|mismatch| of_memory(parts, mismatch)).collect();
            Ok::<_, crate::tree::TreeError>((look.rows, found))
        });
        let (rows, found) = looked.await?.map_err(Failure::failed)?;
        self.report.note(|report, _| report.compared.rows = report.compared.rows.max(rows));
        Ok(found)
    }

    async fn log(&self) -> Found {
        let advice = |what: &str, disk: String, memory: String| {
            let sides = [("the log on the disk", disk), ("memory", memory)];
            vec![difference(Area::Log, None, what, sides, NEW_LOG)]
        };
        match self.local(|parts| parts.journal.read_back()).await? {
            Ok((last, found)) if found >= last => Ok(Vec::new()),
            Ok((_, found)) => Ok(advice(
                "the log ends early: what was done since is in memory alone",
                format!("its last whole record is {}", found.0),
                "there are later ones".to_owned(),
            )),
            Err(error) => Ok(advice("the log cannot be read back", error.to_string(), "all of it was written".into())),
        }
    }

    async fn rows(&self) -> Found {
        let looked = self.local(|parts| {
            let (rows, faults) = parts.tree.row_faults(FAULTS_MAX)?;
            let found: Vec<Difference> = faults.into_iter().map(|fault| of_row(parts, fault)).collect();
            Ok::<_, crate::tree::TreeError>((rows, found))
        });
        let (rows, found) = looked.await?.map_err(Failure::failed)?;
        self.report.note(|report, _| report.compared.rows = report.compared.rows.max(rows));
        Ok(found)
    }

    async fn pages(&self) -> Found {
        let looked = self.local(|parts| parts.journal.readers().get()?.damaged_pages(FAULTS_MAX));
        let found = looked.await?.map_err(Failure::failed)?;
        let of_page = |said| difference(Area::Database, None, "a page or index", [("SQLite", said)], REBUILD);
        Ok(found.into_iter().map(of_page).collect())
    }
}

fn path_of(parts: &Parts, ino: Ino) -> Option<String> {
    parts.tree.path_of(ino).ok().flatten().map(|path| shown_path(&path))
}

fn of_memory(parts: &Parts, mismatch: Mismatch) -> Difference {
    let nothing = || "no such thing".to_owned();
    let sides = [
        ("memory", mismatch.memory.unwrap_or_else(nothing)),
        ("the database", mismatch.database.unwrap_or_else(nothing)),
    ];
    difference(Area::Memory, mismatch.ino.and_then(|ino| path_of(parts, ino)), mismatch.what, sides, REBUILD)
}

fn of_row(parts: &Parts, fault: RowFault) -> Difference {
    let at_node = || parts.tree.place_of(fault.node?).ok().flatten().map(|(_, path)| shown_path(&path));
    let path = fault.ino.and_then(|ino| path_of(parts, ino)).or_else(at_node);
    let what = format!("a row of the table {}", fault.table);
    difference(Area::Database, path, what, [("the database", fault.detail)], REBUILD)
}

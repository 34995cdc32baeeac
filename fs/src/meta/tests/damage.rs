//! Damages databases, for tests of what becomes of them.
#![allow(clippy::unwrap_used)]

use rusqlite::Connection;
use std::path::Path;

/// Overwrites the page that a table starts with: nothing of it can be read.
pub fn damage_table(path: &Path, table: &str) {
    overwrite_page(path, root_page(path, table));
}

/// A page of the table that holds rows, in the middle of many.
pub fn leaf_in_the_middle(path: &Path, table: &str) -> u32 {
    let mut page = root_page(path, table);
    let bytes = std::fs::read(path).unwrap();
    loop {
        let start = (page as usize - 1) * PAGE_BYTES;
        let at = |offset: usize, len: usize| {
            bytes[start + offset..start + offset + len].iter().fold(0, |all: usize, byte| all << 8 | usize::from(*byte))
        };
        // 2 and 5: pages that name pages; each cell starts with one.
        if !matches!(at(0, 1), 2 | 5) {
            return page;
        }
        let cells = at(3, 2);
        let cell = at(12 + 2 * (cells / 2), 2);
        page = at(cell, 4) as u32;
    }
}

/// Makes a page unreadable.
pub fn overwrite_page(path: &Path, page: u32) {
    let mut bytes = std::fs::read(path).unwrap();
    let start = (page as usize - 1) * PAGE_BYTES;
    bytes[start..start + PAGE_BYTES].fill(0xa5);
    std::fs::write(path, bytes).unwrap();
}

/// Nothing of it can be read.
pub fn overwrite(path: &Path) {
    // What it has in its write-ahead log comes first.
    root_page(path, "mark");
    std::fs::write(path, vec![b'x'; 50_000]).unwrap();
}

const PAGE_BYTES: usize = 4096;

fn root_page(path: &Path, table: &str) -> u32 {
    let db = Connection::open(path).unwrap();
    let checkpointed = db.query_row("pragma wal_checkpoint(truncate)", [], |row| row.get::<_, i64>(0));
    assert_eq!(checkpointed.unwrap(), 0);
    db.query_row("select rootpage from sqlite_schema where name = ?1", [table], |row| row.get(0)).unwrap()
}

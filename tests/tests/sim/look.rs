//! Owns looking at a device's tree as a program would, and past it where a program would wait for the network.

use super::device::Life;
use super::oracle::{SLOT, tokens};
use super::server::SimServer;
use std::collections::BTreeSet;
use tarn::content::Read;
use tarn::meta::rows::Ino;
use tarn::tree::{DirEntry, Tree, TreeError};

/// A folder's entries, by name.
pub fn list(tree: &Tree, dir: Ino) -> Result<Vec<DirEntry>, TreeError> {
    let handle = tree.open_dir(dir)?;
    let entries = tree.read_dir(handle, 0, 10_000);
    tree.close_dir(handle);
    let mut entries = entries?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// The bytes of a file as they are seen on this device: local ones, and the server's where they are not local.
pub fn bytes(life: &Life, server: &SimServer, ino: Ino) -> Result<Vec<u8>, TreeError> {
    let content = life.tree.content(ino)?;
    let size = content.size_bytes() as usize;
    if let Read::Bytes(bytes) = content.read(0, size)? {
        return Ok(bytes.to_vec());
    }
    let base = content.base().and_then(|base| server.bytes_of(&base.content)).unwrap_or_default();
    let mut all = vec![0; size];
    for start in (0..size).step_by(SLOT) {
        let end = size.min(start + SLOT);
        match content.read(start as u64, end - start)? {
            Read::Bytes(bytes) => all[start..end].copy_from_slice(&bytes),
            Read::Missing(_) => {
                let there = base.len().min(end);
                if start < there {
                    all[start..there].copy_from_slice(&base[start..there]);
                }
            }
        }
    }
    Ok(all)
}

/// The writes that a file's bytes name; none of what is no file.
pub fn seen(life: &Life, server: &SimServer, ino: Ino) -> Result<BTreeSet<u64>, TreeError> {
    if !life.tree.stat(ino)?.kind.is_file() {
        return Ok(BTreeSet::new());
    }
    Ok(tokens(&bytes(life, server, ino)?))
}

//! Owns showing how two versions of a file differ: as a unified diff if both are texts of a bearable size.

use std::path::Path;

/// Larger versions are not compared.
const TEXT_BYTES_MAX: u64 = 4 << 20;

/// How the file at `path` differs from the one at `other`, both below `mount`; ends with a line break.
pub(super) fn between(mount: &Path, path: &str, other: &str) -> String {
    let (one, two) = match (read(&mount.join(path)), read(&mount.join(other))) {
        (Ok(one), Ok(two)) => (one, two),
        (Err(why), _) => return format!("  {path}: {why}\n"),
        (_, Err(why)) => return format!("  {other}: {why}\n"),
    };
    if one == two {
        return "  both versions are the same\n".to_owned();
    }
    let mut options = diffy::DiffOptions::new();
    options.set_original_filename(path.to_owned()).set_modified_filename(other.to_owned());
    options.create_patch(&one, &two).to_string()
}

fn read(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > TEXT_BYTES_MAX {
        return Err(format!("too large to compare ({size} bytes)"));
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(format!("no text ({size} bytes)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_compared_line_by_line_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        write("a", b"one\ntwo\n");
        write("b", b"one\nthree\n");
        write("binary", b"one\0two");
        let shown = between(dir.path(), "a", "b");
        for line in ["--- a\n", "+++ b\n", " one\n", "-two\n", "+three\n"] {
            assert!(shown.contains(line), "{line:?} in {shown}");
        }
        assert_eq!(between(dir.path(), "a", "binary"), "  binary: no text (7 bytes)\n");
        assert_eq!(between(dir.path(), "a", "a"), "  both versions are the same\n");
        assert!(between(dir.path(), "a", "absent").starts_with("  absent: "));
    }
}

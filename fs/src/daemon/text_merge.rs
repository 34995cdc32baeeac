//! Owns the three-way merge of texts: which files are texts that may be merged, and what becomes of two changes of one.
//! Pure. A merge that would have to guess is none.

/// Texts up to this size are merged: each is one chunk.
pub(super) const TEXT_BYTES_MAX: usize = 256 << 10;

/// Prose and source, by the name's ending. Nothing with a structure that lines do not show: no tables, no data, no locks.
const ENDINGS: &[&str] = &[
    "adoc", "bib", "md", "markdown", "org", "rst", "tex", "txt", // prose
    "c", "cc", "cpp", "cs", "css", "el", "go", "h", "hpp", "hs", "java", "js", "jsx", "kt", "lua", "ml", "pl", "py",
    "rb", "rs", "scala", "sh", "sql", "swift", "ts", "tsx", // source
];

/// Whether a file of this name may be merged.
pub(super) fn is_mergeable(name: &[u8]) -> bool {
    let Some(dot) = name.iter().rposition(|&byte| byte == b'.').filter(|&dot| dot > 0) else { return false };
    let ending = name[dot + 1..].to_ascii_lowercase();
    ENDINGS.iter().any(|known| known.as_bytes() == ending)
}

/// The text with both changes of `base`; `None` if they touch each other, or if one of the three is no text.
pub(super) fn merged(base: &[u8], one: &[u8], other: &[u8]) -> Option<String> {
    let [base, one, other] = [base, one, other].map(text);
    let merged = diffy::merge(base?, one?, other?).ok()?;
    (merged.len() <= TEXT_BYTES_MAX).then_some(merged)
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| text.len() <= TEXT_BYTES_MAX && !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(base: &str, one: &str, other: &str) -> Option<String> {
        let (there, back) = (merged(base.as_bytes(), one.as_bytes(), other.as_bytes()), {
            merged(base.as_bytes(), other.as_bytes(), one.as_bytes())
        });
        assert_eq!(there, back, "whoever comes first");
        there
    }

    #[test]
    fn changes_in_different_places_are_both_kept() {
        let base = "one\ntwo\nthree\nfour\nfive\n";
        let one = "ONE\ntwo\nthree\nfour\nfive\n";
        let other = "one\ntwo\nthree\nfour\nFIVE\nsix\n";
        assert_eq!(both(base, one, other).as_deref(), Some("ONE\ntwo\nthree\nfour\nFIVE\nsix\n"));
        assert_eq!(both(base, base, other).as_deref(), Some(other));
        assert_eq!(both(base, one, one).as_deref(), Some(one));
    }

    #[test]
    fn changes_of_one_place_are_not_merged() {
        assert_eq!(both("one\ntwo\n", "one\n2\n", "one\nII\n"), None);
        assert_eq!(both("one\n", "", "ONE\n"), None, "removed here, changed there");
        assert_eq!(both("", "one\n", "two\n"), None);
    }

    #[test]
    fn line_endings_and_the_final_line_break_stay_as_they_are() {
        let base = "one\r\ntwo\r\nthree\r\nfour\r\nfive";
        let one = "1\r\ntwo\r\nthree\r\nfour\r\nfive";
        let other = "one\r\ntwo\r\nthree\r\nfour\r\n5";
        assert_eq!(both(base, one, other).as_deref(), Some("1\r\ntwo\r\nthree\r\nfour\r\n5"));
        assert_eq!(both("one\ntwo\n", "one\r\ntwo\r\n", "one\n2\n"), None);
    }

    #[test]
    fn only_texts_of_known_kinds_and_bearable_size_are_merged() {
        for name in ["a.md", "A.TXT", "x/y.rs".rsplit('/').next().unwrap(), ".hidden.py"] {
            assert!(is_mergeable(name.as_bytes()), "{name}");
        }
        for name in ["a.json", "a.csv", "Cargo.lock", "a.db", "a", ".md", "a.md.bak", "notes."] {
            assert!(!is_mergeable(name.as_bytes()), "{name}");
        }
        assert_eq!(merged(b"a\n", b"a\n", b"a\0\n"), None);
        assert_eq!(merged(b"a\n", b"a\n", b"\xff\n"), None);
        let large = "x\n".repeat(TEXT_BYTES_MAX);
        assert_eq!(merged(b"a\n", b"a\n", large.as_bytes()), None);
    }
}

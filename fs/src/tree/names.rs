//! Owns the names that the client makes up: conflict names, cut so that they fit.

use crate::limits::NAME_BYTES_MAX;
use tarn_proto::name::Name;
use tarn_proto::node::Timestamp;

/// Folders whose files belong to a tool: a conflict sibling there would break the tool's own format.
const TOOL_OWNED: [&[u8]; 3] = [b".git", b".hg", b".svn"];

/// Whether a path (names from the root down) lies in a tree that belongs to a tool.
pub fn is_tool_owned<'a>(path: impl IntoIterator<Item = &'a Name>) -> bool {
    let mut maildir = 0;
    for name in path {
        if TOOL_OWNED.contains(&name.as_bytes()) {
            return true;
        }
        maildir += u8::from(matches!(name.as_bytes(), b"cur" | b"new" | b"tmp"));
    }
    maildir > 0
}

/// A civil date from seconds since 1970 (UTC), as `YYYY-MM-DD`; days are counted in 400-year eras.
pub(super) fn date(time: Timestamp) -> String {
    let days = time.secs.div_euclid(86_400) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `name (conflict from DEVICE DATE).ext`; from the second try on with a number.
pub(super) fn conflict_name(name: &Name, device: &str, time: Timestamp, tries: u32) -> Name {
    let device: String = device.chars().map(|c| if c == '/' || c == '\0' { '-' } else { c }).take(40).collect();
    let number = if tries == 0 { String::new() } else { format!(" {}", tries + 1) };
    let mark = format!(" (conflict from {device} {}{number})", date(time));
    let bytes = name.as_bytes();
    let dot = bytes.iter().rposition(|&c| c == b'.').filter(|&at| at > 0 && bytes.len() - at <= 16);
    let (stem, extension) = bytes.split_at(dot.unwrap_or(bytes.len()));
    let room = NAME_BYTES_MAX.saturating_sub(mark.len() + extension.len());
    let mut made = cut(stem, room).to_vec();
    made.extend_from_slice(mark.as_bytes());
    made.extend_from_slice(extension);
    Name::new(made).unwrap_or_else(|_| name.clone())
}

/// At most `room` bytes, not ending inside a UTF-8 character.
fn cut(bytes: &[u8], room: usize) -> &[u8] {
    if bytes.len() <= room {
        return bytes;
    }
    let mut end = room;
    while end > 0 && bytes[end] & 0b1100_0000 == 0b1000_0000 {
        end -= 1;
    }
    &bytes[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp { secs, nanos: 0 }
    }

    fn made(name: &str, tries: u32) -> String {
        conflict_name(&Name::new(name).expect("a name"), "laptop", at(1_795_000_000), tries).to_string()
    }

    #[test]
    fn dates_are_civil_dates() {
        assert_eq!(date(at(0)), "1970-01-01");
        assert_eq!(date(at(951_782_400)), "2000-02-29");
        assert_eq!(date(at(-1)), "1969-12-31");
        // No leap day in a century but in every fourth one.
        let days = [(-2203891200, "1900-03-01"), (4107456000, "2100-02-28"), (4107542400, "2100-03-01")];
        for (secs, expected) in days.into_iter().chain([(13574563200, "2400-02-29"), (1735603200, "2024-12-31")]) {
            assert_eq!(date(at(secs)), expected);
        }
    }

    #[test]
    fn conflict_names_keep_the_extension() {
        assert_eq!(made("report.txt", 0), "report (conflict from laptop 2026-11-18).txt");
        assert_eq!(made("report.txt", 1), "report (conflict from laptop 2026-11-18 2).txt");
        assert_eq!(made(".profile", 0), ".profile (conflict from laptop 2026-11-18)");
        // What is long after a dot is no extension.
        let spoken = "notes of Nov. and of the month after";
        assert_eq!(made(spoken, 0), format!("{spoken} (conflict from laptop 2026-11-18)"));
    }

    #[test]
    fn conflict_names_fit_and_stay_characters() {
        let long = "ä".repeat(127);
        let name = conflict_name(&Name::new(long.as_str()).expect("a name"), "laptop", at(0), 0);
        assert!(name.as_bytes().len() <= NAME_BYTES_MAX);
        assert!(std::str::from_utf8(name.as_bytes()).is_ok());
    }

    #[test]
    fn tool_owned_trees_are_known_by_their_folders() {
        let names = |path: &str| path.split('/').map(|part| Name::new(part).expect("a name")).collect::<Vec<_>>();
        assert!(is_tool_owned(&names("src/.git/HEAD")));
        assert!(is_tool_owned(&names("Mail/cur/1234")));
        assert!(!is_tool_owned(&names("src/git/HEAD")));
    }
}

//! Owns what this machine says of whoever makes a call.

/// The supplementary groups of a thread; none if it is gone, or not of this pid namespace (0).
pub fn groups_of(tid: u32) -> Vec<u32> {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
    groups.split_whitespace().filter_map(|group| group.parse().ok()).collect()
}

/// The executable of a thread's process; what it calls itself where that may not be seen.
pub fn program_of(tid: u32) -> String {
    if tid == 0 {
        return "outside of this container".to_owned();
    }
    if let Ok(path) = std::fs::read_link(format!("/proc/{tid}/exe")) {
        return path.to_string_lossy().trim_end_matches(" (deleted)").to_owned();
    }
    let name = std::fs::read_to_string(format!("/proc/{tid}/comm"));
    name.map_or_else(|_| "ended".to_owned(), |name| name.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_has_the_groups_that_it_was_given() {
        // Who is not root may not take other groups, and has those of this process.
        let (args, expected) = if rustix::process::getuid().is_root() {
            (vec!["setpriv", "--groups", "4,65534", "cat"], vec![4, 65534])
        } else {
            (vec!["cat"], rustix::process::getgroups().unwrap().iter().map(|group| group.as_raw()).collect())
        };
        let cat = Command::new("env").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut cat = cat.unwrap();
        let (mut input, mut output) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
        // What has come back was read by the last program in the chain.
        std::io::Write::write_all(&mut input, b"x").unwrap();
        std::io::Read::read_exact(&mut output, &mut [0]).unwrap();
        let mut groups = groups_of(cat.id());
        drop(input);
        cat.wait().unwrap();
        let mut expected: Vec<u32> = expected;
        groups.sort_unstable();
        expected.sort_unstable();
        assert_eq!(groups, expected);
        assert!(groups_of(0).is_empty());
    }

    #[test]
    fn a_program_is_named_by_its_executable() {
        let own = std::env::current_exe().unwrap().to_string_lossy().into_owned();
        assert_eq!(program_of(std::process::id()), own);
        assert_eq!(program_of(u32::MAX), "ended");
    }
}

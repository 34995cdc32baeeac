//! What committed text must say and must not say.

use crate::source::{Source, functions};

/// Files that do not open with what they own.
pub fn without_opening(files: &[Source]) -> Vec<String> {
    files
        .iter()
        .filter(|f| !f.text.starts_with("//! "))
        .map(|f| format!("{}: does not open with //!", f.path))
        .collect()
}

/// Calls that end the process on a condition that nobody stated, outside of tests.
pub fn careless_calls(files: &[Source]) -> Vec<String> {
    const CALLS: [&str; 5] = [".unwrap()", ".unwrap_err()", "todo!(", "unimplemented!(", "dbg!("];
    let lines = |f: &Source| f.product_code().lines().map(String::from).enumerate().collect::<Vec<_>>();
    let all = files.iter().flat_map(|f| lines(f).into_iter().map(|(at, line)| (f.path.clone(), at + 1, line)));
    all.flat_map(|(path, at, line)| {
        let calls = CALLS.into_iter().filter(move |call| line.contains(call));
        calls.map(move |call| format!("{path}:{at}: {call}"))
    })
    .collect()
}

/// Mentions of places that exist on one machine only.
pub fn local_places(path: &str, text: &str) -> Vec<String> {
    let folders = ["work", "root", "tmp/wt", "farm"].map(|folder| format!("/{folder}/"));
    let lines = text.lines().enumerate();
    let found =
        lines.filter(|(_, line)| folders.iter().any(|folder| names_absolute(line, folder)) || private_host(line));
    found.map(|(at, line)| format!("{path}:{}: {}", at + 1, line.trim())).collect()
}

/// Whether a line holds this folder as the start of an absolute path (`a/work/b` is a relative one).
fn names_absolute(line: &str, folder: &str) -> bool {
    let starts = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}~*$".contains(c));
    line.match_indices(folder).any(|(at, _)| starts(at))
}

/// Whether a line names a host that only a private network knows.
fn private_host(line: &str) -> bool {
    let hosts = line.split("://").skip(1).filter_map(|rest| rest.split(['/', ':', '"', '\'', ' ', ')', '>']).next());
    hosts.map(str::to_lowercase).any(|host| {
        [".internal", ".intranet", ".corp", ".lan"].iter().any(|end| host.ends_with(end))
            || ["artifactory", "nexus", "pkg-mirror", "mirror."].iter().any(|part| host.contains(part))
    })
}

/// Scripts that the code blocks of a document run and that are not there.
pub fn missing_scripts(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let blocks = text.split("```").skip(1).step_by(2);
    let words = blocks.flat_map(|block| block.split(|c: char| c.is_whitespace() || "`();|&\"'".contains(c)));
    let scripts = words.map(|word| word.trim_start_matches("./")).filter(|word| word.starts_with("scripts/"));
    scripts.filter(|script| !exists(script)).map(|script| format!("{path}: {script} does not exist")).collect()
}

/// Tests that a document names, after `--quick` or as code in the last column of a table with that heading, and that are
/// no part of any test's name; and rows of such a table that name none. What ends in `::` is a module of tests.
pub fn missing_tests(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let quick = text.split("--quick ").skip(1).filter_map(|rest| rest.split(['`', ' ', '\n', '|']).next());
    let mut named: Vec<&str> = quick.collect();
    let mut found = Vec::new();
    let mut lines = text.lines();
    while lines.by_ref().any(|line| line.ends_with("| tests |")) {
        for row in lines.by_ref().take_while(|line| line.starts_with('|')).filter(|row| !row.starts_with("|---")) {
            let cell = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
            let tests: Vec<&str> = in_code(cell).filter(is_name).collect();
            if tests.is_empty() {
                found.push(format!("{path}: no test is named for {row}"));
            }
            named.extend(tests);
        }
    }
    named.retain(is_name);
    found.extend(named.iter().filter(|name| !exists(name)).map(|name| format!("{path}: no test is called {name}")));
    found
}

fn is_name(name: &&str) -> bool {
    (name.contains('_') || name.ends_with("::"))
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == ':')
}

/// The names of the functions of a source that are test code: tests, and what macros make tests of.
pub fn tests_of(source: &Source) -> Vec<String> {
    let outside = functions(&source.product_code());
    let all = functions(&source.code).into_iter().filter(|function| !outside.contains(function));
    all.map(|function| function.name).collect()
}

fn in_code(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

mod tests {
    use super::*;

    #[test]
    fn a_file_without_opening_is_found() {
        let files = [Source::new("fs/src/a.rs", "//! Owns a.\n"), Source::new("fs/src/b.rs", "use x;\n")];
        assert_eq!(without_opening(&files), ["fs/src/b.rs: does not open with //!"]);
    }

    #[test]
    fn careless_calls_are_found_in_product_code_only() {
        let text = "fn a() { x.unwrap(); } // .unwrap()\n#[cfg(test)]\nmod tests { fn b() { x.unwrap(); } }\n";
        let files = [Source::new("fs/src/a.rs", text), Source::new("fs/src/a/tests.rs", "x.unwrap();")];
        assert_eq!(careless_calls(&files), ["fs/src/a.rs:1: .unwrap()"]);
    }

    #[test]
    fn places_of_one_machine_are_found() {
        let places = ["work", "root", "tmp/wt"].map(|folder| format!("see '/{folder}/a'"));
        assert!(places.iter().all(|line| local_places("a.md", line).len() == 1));
        assert_eq!(local_places("a.md", &["x\nhttps://art", "ifactory.example.com/y"].concat()).len(), 1);
        assert!(local_places("a.md", "target/work/a $HOME/work/b https://github.com/x/root/y").is_empty());
    }

    #[test]
    fn product_code_is_no_test() {
        let text = "fn works() {}\n#[cfg(test)]\nmod tests {\n    fn it_works() {}\n}\n";
        assert_eq!(tests_of(&Source::new("fs/src/a.rs", text)), ["it_works"]);
    }

    #[test]
    fn a_script_that_is_not_there_is_found_in_code_blocks_only() {
        let text = "scripts/gone\n```sh\nscripts/run --stop\n./scripts/lost\n```\nscripts/gone";
        assert_eq!(
            missing_scripts("README.md", text, |s| s == "scripts/run"),
            ["README.md: scripts/lost does not exist"]
        );
    }

    #[test]
    fn a_test_that_is_not_there_is_found_in_tables_and_commands() {
        let text = "`scripts/test --quick a_test`\n`scripts/test --quick gone_test`\n\n| what | tests |\n|---|---|\n\
            | `not_one` | `a_test`, `lost_test`, `lost::` |\n| b | |\n\n| what | why |\n| a | `no_test` |\n";
        let found = missing_tests("a.md", text, |name| name == "a_test");
        let lost = ["gone_test", "lost_test", "lost::"].map(|name| format!("a.md: no test is called {name}"));
        assert_eq!(found[0], "a.md: no test is named for | b | |");
        assert_eq!(found[1..], lost);
    }
}

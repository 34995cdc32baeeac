//! Who may use whom: the modules of each crate by level, and the reading of `use` paths. The tables are the
//! law of ARCHITECTURE.md; a module that is not in its table does not pass.

use crate::source::{Source, ends_in_word};
use std::collections::BTreeSet;

/// One crate's modules with their rank. A module uses only modules of a lower rank. The tens are the level
/// that ARCHITECTURE.md draws, the ones are the order inside that level.
pub struct Table {
    pub krate: &'static str,
    pub ranks: &'static [(&'static str, u32)],
    /// Pairs that the levels would allow and the design does not.
    pub never: &'static [(&'static str, &'static str)],
}

/// The law.
pub const TABLES: [Table; 3] = [
    Table {
        krate: "proto",
        ranks: &[
            ("limits", 0),
            ("error", 0),
            ("bytes64", 1),
            ("ids", 2),
            ("name", 3),
            ("version", 3),
            ("chunk", 10),
            ("manifest", 11),
            ("node", 12),
            ("op", 20),
            ("change", 21),
            ("lost", 22),
            ("usage", 22),
            ("api", 23),
        ],
        never: &[],
    },
    Table {
        krate: "fs",
        ranks: &[
            ("limits", 0),
            ("telemetry", 1),
            ("env", 2),
            ("log", 10),
            ("remote", 10),
            ("meta", 11),
            ("journal", 12),
            ("content", 13),
            ("tree", 20),
            ("hydrate", 21),
            ("sync", 22),
            ("vfs", 30),
            ("fuse", 40),
            ("control", 40),
            ("daemon", 50),
            ("cli", 51),
        ],
        never: &[("vfs", "sync"), ("hydrate", "tree")],
    },
    Table {
        krate: "server",
        ranks: &[
            ("limits", 0),
            ("telemetry", 1),
            ("env", 2),
            ("config", 3),
            ("rules", 10),
            ("packs", 11),
            ("store", 12),
            ("watch", 20),
            ("service", 21),
            ("jobs", 22),
            ("error", 30),
            ("auth", 31),
            ("middleware", 32),
            ("routes", 33),
            ("router", 40),
            ("app", 41),
            ("cli", 42),
        ],
        never: &[("rules", "store"), ("packs", "store")],
    },
];

impl Table {
    fn rank(&self, module: &str) -> Option<u32> {
        self.ranks.iter().find(|(name, _)| *name == module).map(|(_, rank)| *rank)
    }

    fn may_use(&self, user: &str, used: &str) -> bool {
        user == used || (self.rank(used) < self.rank(user) && !self.never.contains(&(user, used)))
    }

    /// What these files do against the law.
    pub fn offences(&self, files: &[Source]) -> Vec<String> {
        let product = files.iter().filter(|file| !file.is_test);
        let modules: BTreeSet<&str> = product.filter_map(|file| file.module_path().first().copied()).collect();
        let unknown = modules.iter().filter(|m| self.rank(m).is_none());
        let unknown = unknown.map(|m| format!("{}: module {m} has no level", self.krate));
        unknown.chain(files.iter().flat_map(|file| self.offences_of(file, &modules))).collect()
    }

    fn offences_of(&self, file: &Source, modules: &BTreeSet<&str>) -> Vec<String> {
        let path = file.module_path();
        let Some(user) = path.first() else { return Vec::new() };
        let used = used_modules(&file.product_code(), &path);
        let upward = used.iter().filter(|m| modules.contains(m.as_str()) && !self.may_use(user, m));
        upward.map(|m| format!("{}: {user} must not use {m}", file.path)).collect()
    }
}

/// The first names below the crate root that this code refers to, by `crate::` or by `super::`.
pub fn used_modules(code: &str, module_path: &[&str]) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, word) in code.match_indices("crate::") {
        if !code[..at].ends_with('$') && !ends_in_word(&code[..at]) {
            used.extend(first_names(&code[at + word.len()..]));
        }
    }
    for (at, _) in code.match_indices("super::") {
        if !ends_in_word(&code[..at]) && !code[..at].ends_with("super::") {
            used.extend(names_above(&code[at..], module_path));
        }
    }
    used
}

/// What a chain of `super::` arrives at: a name at the crate root, or something inside the own module.
fn names_above(path: &str, module_path: &[&str]) -> Vec<String> {
    let mut rest = path;
    let mut steps = 0;
    while let Some(shorter) = rest.strip_prefix("super::") {
        (rest, steps) = (shorter, steps + 1);
    }
    if steps >= module_path.len() { first_names(rest) } else { Vec::new() }
}

/// The names that a path may start with here: one, or those of a `{…}` group.
fn first_names(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else { return name(path).into_iter().collect() };
    let (mut depth, mut starts) = (0usize, vec![0]);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => starts.push(at + 1),
            _ => {}
        }
    }
    starts.into_iter().filter_map(|start| name(group[start..].trim_start())).collect()
}

fn name(text: &str) -> Option<String> {
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// The workspace crates that a manifest names, in any of its dependency tables.
pub fn crate_edges(manifest: &str) -> Vec<String> {
    let is_edge = |line: &&str| line.starts_with("tarn") && line.contains('=');
    manifest.lines().filter(is_edge).filter_map(|l| l.split(['.', ' ', '=']).next()).map(String::from).collect()
}

mod tests {
    use super::*;

    fn used(code: &str, path: &[&str]) -> Vec<String> {
        used_modules(code, path).into_iter().collect()
    }

    #[test]
    fn every_way_of_naming_a_module_is_read() {
        assert_eq!(used("use crate::meta::Row;", &["vfs"]), ["meta"]);
        assert_eq!(used("use crate::{\n meta::{Row, Db}, log,\n};", &["vfs"]), ["log", "meta"]);
        assert_eq!(used("let x = crate::sync::now();", &["vfs"]), ["sync"]);
        assert_eq!(used("use super::super::sync::Plan;", &["vfs", "read"]), ["sync"]);
        assert_eq!(used("use super::{sync, tree};", &["vfs"]), ["sync", "tree"]);
        assert!(used("use super::handles::Handle; use super::super::x;", &["vfs", "a", "b"]).is_empty());
        assert!(used("use other_crate::meta; macro!($crate::meta)", &["vfs"]).is_empty());
    }

    #[test]
    fn an_upward_a_sideways_and_a_forbidden_use_are_found() {
        let file = |path: &str, text: &str| Source::new(path, text);
        let files = [
            file("fs/src/meta.rs", "use crate::tree::Tree;"),
            file("fs/src/log.rs", "use crate::remote::Remote;"),
            file("fs/src/vfs/read.rs", "use crate::{tree, sync::Engine};"),
            file("fs/src/tree.rs", "use crate::meta;\n#[cfg(test)]\nmod tests { use crate::fuse::X; }"),
            file("fs/src/remote.rs", "// use crate::vfs;"),
            file("fs/src/sync.rs", ""),
        ];
        let expected = [
            "fs/src/meta.rs: meta must not use tree",
            "fs/src/log.rs: log must not use remote",
            "fs/src/vfs/read.rs: vfs must not use sync",
        ];
        assert_eq!(TABLES[1].offences(&files), expected);
    }

    #[test]
    fn a_module_without_a_level_is_found() {
        let found = TABLES[1].offences(&[Source::new("fs/src/util.rs", "")]);
        assert_eq!(found, ["fs: module util has no level"]);
    }

    #[test]
    fn crate_edges_are_read_in_both_notations() {
        let manifest =
            "[dependencies]\ntarn-proto.workspace = true\n[dev-dependencies]\ntarn-server = { path = \"x\" }";
        assert_eq!(crate_edges(manifest), ["tarn-proto", "tarn-server"]);
    }
}

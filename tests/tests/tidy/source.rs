//! Reads the workspace's Rust files just far enough for the checks: comments and literals blanked, test
//! code told apart, functions measured. Must never try to be a compiler.

use std::fs;
use std::path::{Path, PathBuf};

/// The crates by folder.
pub const CRATES: [&str; 4] = ["proto", "fs", "server", "tests"];

/// One Rust file.
pub struct Source {
    /// Path from the workspace root, with `/`.
    pub path: String,
    /// As it is on disk.
    pub text: String,
    /// The same lines, with comments and the insides of literals blanked.
    pub code: String,
    /// All of it is test code.
    pub is_test: bool,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let is_test = path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs");
        Self { path: path.into(), text: text.into(), code: blank(text), is_test }
    }

    pub fn line_count(&self) -> usize {
        self.text.lines().count()
    }

    /// The code without its inline `#[cfg(test)]` modules; empty for a test file.
    pub fn product_code(&self) -> String {
        if self.is_test { String::new() } else { without_test_items(&self.code) }
    }

    /// The module path below the crate root: `fs/src/content/lru.rs` is `["content", "lru"]`.
    pub fn module_path(&self) -> Vec<&str> {
        let Some((_, inside)) = self.path.split_once("/src/") else { return Vec::new() };
        let inside = inside.trim_end_matches(".rs").trim_end_matches("/mod");
        match inside {
            "lib" | "main" => Vec::new(),
            other => other.split('/').collect(),
        }
    }
}

/// The folder of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests crate lies in the workspace").into()
}

/// All Rust files of one crate.
pub fn rust_files(krate: &str) -> Vec<Source> {
    let is_rust = |path: &&String| path.ends_with(".rs");
    let read = |path: &String| Source::new(path, &fs::read_to_string(root().join(path)).expect("sources are UTF-8"));
    let mut files: Vec<Source> = files_below(krate).iter().filter(is_rust).map(read).collect();
    mark_test_modules(&mut files);
    files
}

/// Marks the files whose `mod` stands behind `#[cfg(test)]`, and those below them.
pub fn mark_test_modules(files: &mut [Source]) {
    let stems: Vec<String> = files.iter().flat_map(test_module_stems).collect();
    for file in files {
        file.is_test |= stems.iter().any(|stem| match file.path.strip_prefix(stem.as_str()) {
            Some(rest) => rest == ".rs" || rest.starts_with('/'),
            None => false,
        });
    }
}

/// The paths, without `.rs`, of the modules that this file declares for tests only.
fn test_module_stems(file: &Source) -> Vec<String> {
    let plain = file.path.trim_end_matches("/mod.rs").trim_end_matches("/lib.rs").trim_end_matches("/main.rs");
    let folder = plain.trim_end_matches(".rs");
    let behind = file.code.split("#[cfg(test)]").skip(1);
    let names = behind.filter_map(|rest| rest.trim_start().trim_start_matches("pub ").strip_prefix("mod "));
    names.filter_map(|rest| rest.split_once(';')).map(|(name, _)| format!("{folder}/{}", name.trim())).collect()
}

/// All Rust files of the workspace.
pub fn all_rust_files() -> Vec<Source> {
    CRATES.iter().flat_map(|krate| rust_files(krate)).collect()
}

/// All files below a folder of the workspace, sorted, build output and git's own left out.
pub fn files_below(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    found.sort();
    found
}

fn walk(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && name != "target" && name != ".git" {
            walk(&path, found);
        } else if path.is_file() && name != ".git" {
            let inside = path.strip_prefix(root()).expect("the walk stays below the root");
            found.push(inside.to_string_lossy().into_owned());
        }
    }
}

/// Blanks comments and the insides of string and character literals; line breaks stay.
pub fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = end_of_blank(&chars, at);
        if end > at {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// The end of the comment or literal that starts at `at`, or `at`.
fn end_of_blank(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1);
    match chars[at] {
        '/' if next == Some(&'/') => position(chars, at, |c| c == '\n'),
        '/' if next == Some(&'*') => end_of_block_comment(chars, at),
        '"' => end_of_quoted(chars, at, '"'),
        'r' if !follows_word(chars, at) => end_of_raw(chars, at),
        '\'' if next == Some(&'\\') || chars.get(at + 2) == Some(&'\'') => end_of_quoted(chars, at, '\''),
        _ => at,
    }
}

/// Whether the letter at `at` only continues a word; `br"…"` counts as a start.
fn follows_word(chars: &[char], at: usize) -> bool {
    let is_word = |i: usize| chars[i].is_alphanumeric() || chars[i] == '_';
    at > 0 && is_word(at - 1) && !(chars[at - 1] == 'b' && (at == 1 || !is_word(at - 2)))
}

fn position(chars: &[char], from: usize, stop: impl Fn(char) -> bool) -> usize {
    (from..chars.len()).find(|i| stop(chars[*i])).unwrap_or(chars.len())
}

fn end_of_block_comment(chars: &[char], at: usize) -> usize {
    let (mut depth, mut i) = (0, at);
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn end_of_quoted(chars: &[char], at: usize, quote: char) -> usize {
    let mut i = at + 1;
    while i < chars.len() && chars[i] != quote {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

fn end_of_raw(chars: &[char], at: usize) -> usize {
    let open = position(chars, at + 1, |c| c != '#');
    if chars.get(open) != Some(&'"') {
        return at;
    }
    let hashes = open - at - 1;
    let closes =
        |i: &usize| chars[*i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    (open + 1..chars.len()).find(closes).map_or(chars.len(), |i| i + 1 + hashes)
}

/// Blanks every item that stands behind `#[cfg(test)]`.
pub fn without_test_items(code: &str) -> String {
    let mut out = code.to_string();
    while let Some(start) = out.find("#[cfg(test)]") {
        let end = end_of_item(&out, start + "#[cfg(test)]".len());
        let blanked: String = out[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..end, &blanked);
    }
    out
}

/// The end of the item from `from`: its closing brace, or its semicolon.
pub fn end_of_item(code: &str, from: usize) -> usize {
    let (mut braces, mut others) = (0usize, 0usize);
    for (at, c) in code[from..].char_indices() {
        match c {
            '(' | '[' => others += 1,
            ')' | ']' => others = others.saturating_sub(1),
            '{' => braces += 1,
            '}' if braces <= 1 => return from + at + 1,
            '}' => braces -= 1,
            ';' if braces == 0 && others == 0 => return from + at + 1,
            _ => {}
        }
    }
    code.len()
}

/// One function: its name, its first line, and how many lines it takes.
#[derive(Debug, PartialEq)]
pub struct Function {
    pub name: String,
    pub line: usize,
    pub lines: usize,
}

/// Every function that has a body.
pub fn functions(code: &str) -> Vec<Function> {
    let starts = code.match_indices("fn ").filter(|(at, _)| !ends_in_word(&code[..*at])).map(|(at, _)| at);
    starts.filter_map(|at| function_at(code, at)).collect()
}

fn function_at(code: &str, at: usize) -> Option<Function> {
    let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let end = end_of_item(code, at);
    let has_body = code[..end].ends_with('}') && !name.is_empty();
    let line = code[..at].matches('\n').count() + 1;
    has_body.then(|| Function { name, line, lines: code[at..end].matches('\n').count() + 1 })
}

/// Whether a text ends in the middle of a word.
pub fn ends_in_word(text: &str) -> bool {
    text.ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_stay() {
        let text = "a // use crate::x\n/* one /* two */\n*/ b \"c \\\" d\" r#\"e\"f\"# '\\'' 'g' br\"h\" 'life i";
        let code = blank(text);
        assert_eq!(code.matches('\n').count(), text.matches('\n').count());
        assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "b", "b", "'life", "i"]);
    }

    #[test]
    fn items_behind_cfg_test_are_not_product_code() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests;\nfn b() {}\n#[cfg(test)]\nmod inner { fn c() {} }\nfn d() {}";
        let names: Vec<String> = functions(&without_test_items(code)).into_iter().map(|f| f.name).collect();
        assert_eq!(names, ["a", "b", "d"]);
    }

    #[test]
    fn functions_are_measured_from_signature_to_closing_brace() {
        let code = "trait T {\n    fn none(&self) -> [u8; 4];\n}\nfn two(\n) {\n    if x {\n    }\n}\nlet p: fn (u8);";
        assert_eq!(functions(code), [Function { name: "two".into(), line: 4, lines: 5 }]);
    }

    #[test]
    fn modules_declared_for_tests_are_test_code() {
        let declared = "#[cfg(test)]\nmod testdata;\nmod real;";
        let mut files = [
            Source::new("fs/src/lib.rs", declared),
            Source::new("fs/src/testdata.rs", ""),
            Source::new("fs/src/real.rs", "#[cfg(test)]\nmod fake { }\n#[cfg(test)]\nmod faulty;"),
            Source::new("fs/src/real/faulty.rs", ""),
            Source::new("fs/src/real/fake.rs", ""),
        ];
        mark_test_modules(&mut files);
        assert_eq!(files.map(|f| f.is_test), [false, true, false, true, false]);
    }

    #[test]
    fn module_paths_follow_the_folders() {
        assert_eq!(Source::new("fs/src/content/lru.rs", "").module_path(), ["content", "lru"]);
        assert_eq!(Source::new("fs/src/content/mod.rs", "").module_path(), ["content"]);
        assert!(Source::new("fs/src/lib.rs", "").module_path().is_empty());
    }
}

//! Holds the code to the house rules of ARCHITECTURE.md and CONTRIBUTING.md: levels, crate edges, sizes, and what
//! committed text may say. Each check proves on made-up input that it can fail.

#![allow(missing_docs, clippy::disallowed_methods, reason = "reads the real workspace")]

#[path = "tidy/levels.rs"]
mod levels;
#[path = "tidy/sizes.rs"]
mod sizes;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/text.rs"]
mod text;

use std::fs;

/// What offends today and may go on doing so. The list may only shrink, and it is empty.
const EXCEPTIONS: &[&str] = &[];

/// Fails on what offends and is not excepted, and on exceptions that nothing needs any more.
fn judge(found: &[String], exceptions: &[&str]) -> Result<(), String> {
    let fresh: Vec<&str> = found.iter().map(String::as_str).filter(|f| !exceptions.contains(f)).collect();
    if fresh.is_empty() { Ok(()) } else { Err(format!("\n{}\n", fresh.join("\n"))) }
}

#[track_caller]
fn assert_tidy(found: Vec<String>) {
    judge(&found, EXCEPTIONS).unwrap_or_else(|offences| panic!("{offences}"));
}

#[test]
fn the_list_of_exceptions_is_empty() {
    assert!(EXCEPTIONS.is_empty());
    assert!(judge(&["a".into()], &[]).is_err());
    assert!(judge(&["a".into()], &["a"]).is_ok());
}

#[test]
fn modules_use_only_lower_levels() {
    assert_tidy(levels::TABLES.iter().flat_map(|table| table.offences(&source::rust_files(table.krate))).collect());
}

#[test]
fn crates_see_only_proto() {
    let edges = |krate: &str| {
        let manifest = fs::read_to_string(source::root().join(krate).join("Cargo.toml")).expect("each crate has one");
        let edges = levels::crate_edges(&manifest).into_iter().filter(|edge| edge != "tarn-proto");
        edges.map(|edge| format!("{krate} must not depend on {edge}")).collect::<Vec<_>>()
    };
    assert_tidy(["proto", "fs", "server"].iter().flat_map(|krate| edges(krate)).collect());
}

#[test]
fn files_and_functions_are_short() {
    let files = source::all_rust_files();
    assert!(files.len() > 10, "the walk found the sources");
    let mut found = sizes::long_files(&files);
    found.extend(sizes::long_functions(&files));
    found.extend(sizes::unbalanced(&files));
    assert_tidy(found);
}

#[test]
fn files_open_with_what_they_own() {
    assert_tidy(text::without_opening(&source::all_rust_files()));
}

#[test]
fn product_code_does_not_unwrap() {
    assert_tidy(text::careless_calls(&source::all_rust_files()));
}

#[test]
fn committed_text_names_no_place_of_one_machine() {
    let found = source::files_below("").into_iter().flat_map(|path| {
        let bytes = fs::read(source::root().join(&path)).unwrap_or_default();
        std::str::from_utf8(&bytes).map(|text| text::local_places(&path, text)).unwrap_or_default()
    });
    assert_tidy(found.collect());
}

#[test]
fn documents_run_only_scripts_that_exist() {
    let exists = |script: &str| source::root().join(script).is_file();
    let documents = source::files_below("").into_iter().filter(|path| path.ends_with(".md"));
    let found = documents.flat_map(|path| {
        let text = fs::read_to_string(source::root().join(&path)).expect("documents are UTF-8");
        text::missing_scripts(&path, &text, exists)
    });
    assert_tidy(found.collect());
}

#[test]
fn documents_name_only_tests_that_exist() {
    let sources = source::all_rust_files();
    let names: Vec<String> = sources.iter().flat_map(text::tests_of).collect();
    assert!(names.len() > 500, "the walk found the tests");
    let is_module = |path: &str| {
        let path = path.trim_end_matches("::").replace("::", "/");
        let ends = [format!("/{path}.rs"), format!("/{path}/mod.rs"), format!("/{path}/main.rs"), format!("/{path}/")];
        sources.iter().any(|file| ends[..3].iter().any(|end| file.path.ends_with(end)) || file.path.contains(&ends[3]))
    };
    // A test's name, or a module of tests and perhaps a test in it.
    let exists = |name: &str| match name.rsplit_once("::") {
        None => names.iter().any(|test| test.contains(name)),
        Some((module, test)) => is_module(module) && names.iter().any(|one| one.contains(test)),
    };
    let documents = source::files_below("").into_iter().filter(|path| path.ends_with(".md"));
    let found = documents.flat_map(|path| {
        let text = fs::read_to_string(source::root().join(&path)).expect("documents are UTF-8");
        text::missing_tests(&path, &text, exists)
    });
    assert_tidy(found.collect());
}

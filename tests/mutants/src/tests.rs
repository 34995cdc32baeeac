//! What a source with its mutants looks like, and who is to blame if it does not compile.

use crate::blame::blame;
use crate::list::{At, Genre, Lines, OfFile};
use crate::rewrite::rewrite;

const SOURCE: &str = "fn f(a: u32, b: bool) -> bool {
    match a {
        1 if b => !b,
        2 => a < 3 && b,
        _ => b,
    }
}
";

/// A mutant of what stands in a line from one column to another.
fn mutant(genre: Genre, (line, from, to): (usize, usize, usize), number: u32, value: &str) -> OfFile {
    let at = |column| At { line, column };
    OfFile::from([((genre, Lines { start: at(from), end: at(to) }), vec![(number, value.to_owned())])])
}

fn line_with(mutants: &OfFile, switch: &str) -> String {
    let (text, placed) = rewrite(SOURCE, mutants).expect("the source is one");
    assert_eq!(placed.len(), mutants.len());
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| line.contains(switch)).expect("the mutant is in it");
    lines[at..].iter().take(5).copied().collect::<Vec<_>>().join(" ")
}

#[test]
fn each_mutant_stands_behind_its_switch() {
    let on = "crate::mutants::on(7u32)";
    let cases = [
        (Genre::MatchArmGuard, (3, 14, 15), "true", format!("1 if ({on} || (b)) =>")),
        (Genre::MatchArmGuard, (3, 14, 15), "false", format!("1 if (!{on} && (b)) =>")),
        (Genre::UnaryOperator, (3, 19, 20), "", format!("1 if b => (if {on} {{ b }} else {{ !b }})")),
        (Genre::MatchArm, (4, 9, 25), "", format!("2 if !{on} =>")),
        (Genre::BinaryOperator, (4, 16, 17), "<=", format!("if {on} {{ a <= 3 }} else {{ a < 3 }}")),
        (Genre::BinaryOperator, (4, 20, 22), "||", format!("((((a < 3) ^ {on}) && ((b) ^ {on})) ^ {on})")),
    ];
    for (genre, place, value, expected) in cases {
        let line = line_with(&mutant(genre, place, 7, value), on);
        assert!(line.replace("( ", "(").contains(&expected), "{line}\nlacks\n{expected}");
    }
}

#[test]
fn a_function_returns_at_once() {
    let place = Lines { start: At { line: 2, column: 5 }, end: At { line: 6, column: 6 } };
    let mutants = OfFile::from([((Genre::FnValue, place), vec![(1, "true".to_owned()), (2, "false".to_owned())])]);
    let (text, placed) = rewrite(SOURCE, &mutants).expect("the source is one");
    assert_eq!(placed.into_iter().collect::<Vec<_>>(), [1, 2]);
    assert!(text.contains("return true;") && text.contains("return false;"), "{text}");
}

#[test]
fn the_innermost_mutant_around_an_error_is_to_blame() {
    let mutants = mutant(Genre::BinaryOperator, (4, 16, 17), 7, "*");
    let (text, _) = rewrite(SOURCE, &mutants).expect("the source is one");
    let file = syn::parse_file(&text).expect("so is this");
    let (line, column) = text
        .lines()
        .zip(1..)
        .find_map(|(text, line)| text.find("a * 3").map(|at| (line, at + 1)))
        .expect("the mutant is in it");
    let error = |line| Lines { start: At { line, column }, end: At { line, column: column + 1 } };
    assert!(blame(&file, error(line)).contains(&7));
    assert!(blame(&file, error(1)).is_empty());
}

//! How long files and functions may be: limits for each, and shares over all.

use crate::source::{Source, functions};

/// No file is longer.
pub const FILE_LINES_MAX: usize = 800;
/// Nine tenths of the files are shorter.
pub const FILE_LINES_MOST: usize = 450;
/// Half of the files are shorter.
pub const FILE_LINES_HALF: usize = 150;
/// No function is longer.
pub const FUNCTION_LINES_MAX: usize = 70;
/// The median function is shorter.
pub const FUNCTION_LINES_MEDIAN: usize = 10;

/// Files beyond the limit, by path.
pub fn long_files(files: &[Source]) -> Vec<String> {
    let too_long = files.iter().filter(|f| f.line_count() > FILE_LINES_MAX);
    too_long.map(|f| format!("{}: {} lines", f.path, f.line_count())).collect()
}

/// Functions beyond the limit.
pub fn long_functions(files: &[Source]) -> Vec<String> {
    let all = files.iter().flat_map(|file| functions(&file.code).into_iter().map(move |f| (file, f)));
    let too_long = all.filter(|(_, f)| f.lines > FUNCTION_LINES_MAX);
    too_long.map(|(file, f)| format!("{}:{}: fn {} has {} lines", file.path, f.line, f.name, f.lines)).collect()
}

/// Shares that do not hold over the product's files (tests may be longer).
pub fn unbalanced(files: &[Source]) -> Vec<String> {
    let mut lengths: Vec<usize> = files.iter().filter(|f| !f.is_test).map(Source::line_count).collect();
    let mut bodies: Vec<usize> =
        files.iter().flat_map(|f| functions(&f.product_code())).map(|function| function.lines).collect();
    let limits = [
        ("half of the files", quantile(&mut lengths, 0.5), FILE_LINES_HALF),
        ("nine tenths of the files", quantile(&mut lengths, 0.9), FILE_LINES_MOST),
        ("half of the functions", quantile(&mut bodies, 0.5), FUNCTION_LINES_MEDIAN),
    ];
    let broken = limits.iter().filter(|(_, is, limit)| is >= limit);
    broken.map(|(what, is, limit)| format!("{what} must be under {limit} lines, the border is {is}")).collect()
}

/// The smallest value that at least this share of the values does not exceed; 0 of none.
fn quantile(values: &mut [usize], share: f64) -> usize {
    values.sort_unstable();
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

mod tests {
    use super::*;

    fn file(path: &str, line_count: usize) -> Source {
        Source::new(path, &"x\n".repeat(line_count))
    }

    #[test]
    fn a_file_beyond_the_limit_is_found() {
        let files = [file("fs/src/a.rs", 800), file("fs/src/b.rs", 801)];
        assert_eq!(long_files(&files), ["fs/src/b.rs: 801 lines"]);
    }

    #[test]
    fn a_function_beyond_the_limit_is_found() {
        let body = |lines: usize| format!("fn f() {{\n{}}}\n", "x;\n".repeat(lines - 2));
        assert!(long_functions(&[Source::new("fs/src/a.rs", &body(70))]).is_empty());
        let found = long_functions(&[Source::new("fs/src/a.rs", &body(71))]);
        assert_eq!(found, ["fs/src/a.rs:1: fn f has 71 lines"]);
    }

    #[test]
    fn shares_that_do_not_hold_are_found() {
        let short = [file("fs/src/a.rs", 10), file("fs/src/b.rs", 149), file("fs/src/c.rs", 160)];
        assert!(unbalanced(&short).is_empty());
        assert_eq!(unbalanced(&[file("fs/src/a.rs", 10), file("fs/src/b.rs", 451), file("fs/src/c.rs", 451)]).len(), 2);
        let long = Source::new("fs/src/a.rs", "fn a() {\n\n\n\n\n\n\n\n\n}\n");
        assert_eq!(unbalanced(&[long]), ["half of the functions must be under 10 lines, the border is 10"]);
    }

    #[test]
    fn quantiles_are_values_of_the_list() {
        assert_eq!(quantile(&mut [], 0.5), 0);
        assert_eq!(quantile(&mut [3, 1, 2, 4], 0.5), 2);
        assert_eq!(quantile(&mut [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 0.9), 9);
    }
}

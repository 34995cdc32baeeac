//! Owns reading docs/sync.md: the rules that it names, and the examples that stand for them. A rule is a row of a table of
//! changes, or a point of a list, which begins with its name in bold; an example begins with the name of its rule.

/// The page.
pub const SYNC: &str = include_str!("../../docs/sync.md");
/// What stands behind here says how the rules are proven.
const LAST: &str = "\n## The proof\n";
const CHANGES: &str = "| changes | result |";

/// Where an example is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On simulated devices.
    Simulation,
    /// In mounts of a server that runs.
    Mounts,
}

/// One example.
#[derive(Debug, Clone)]
pub struct Example<'a> {
    /// Its rule, and which case of that, behind a colon, if there are several.
    pub title: &'a str,
    /// Where it is done.
    pub place: Place,
    /// What happens.
    pub steps: Vec<&'a str>,
    /// What each device shows at the end, if that is said.
    pub shown: Option<Vec<&'a str>>,
}

/// The examples of a page.
///
/// # Panics
/// If one does not say of which rule it is.
pub fn examples(page: &str) -> Vec<Example<'_>> {
    let mut found = Vec::new();
    for block in page.split("\n```").skip(1).step_by(2) {
        let (fence, text) = block.split_once('\n').unwrap_or((block, ""));
        match fence {
            "example" => found.push(read(Place::Simulation, text)),
            "mounts" => found.push(read(Place::Mounts, text)),
            _ => {}
        }
    }
    found
}

fn read(place: Place, text: &str) -> Example<'_> {
    let (steps, shown) = match text.split_once("\neverywhere:") {
        Some((steps, shown)) => (steps, Some(shown.trim_start_matches('\n').lines().collect())),
        None => (text, None),
    };
    let mut steps = steps.lines();
    let title = steps.next().and_then(|line| line.strip_prefix("# "));
    let title = title.unwrap_or_else(|| panic!("an example says of which rule it is: {text}"));
    Example { title, place, steps: steps.collect(), shown }
}

/// What is wrong with a page: points of lists without a name, rules without an example, examples without a rule.
pub fn faults(page: &str) -> Vec<String> {
    let page = page.split(LAST).next().unwrap_or_default();
    let examples = examples(page);
    let (mut rules, mut faults, mut is_table, mut is_block) = (Vec::new(), Vec::new(), false, false);
    for line in page.lines() {
        is_block ^= line.starts_with("```");
        is_table = line == CHANGES || (is_table && line.starts_with('|'));
        if let Some(point) = line.strip_prefix("- ").filter(|_| !is_block) {
            match point.strip_prefix("**").and_then(|point| point.split_once(".**")) {
                Some((rule, _)) => rules.push(rule),
                None => faults.push(format!("this point has no name: {line}")),
            }
        } else if is_table && line != CHANGES && !line.starts_with("|---") {
            rules.extend(line.trim_start_matches("| ").split(" | ").next());
        }
    }
    let is_of = |example: &Example<'_>, rule: &str| {
        let rest = example.title.strip_prefix(rule);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(": "))
    };
    let bare = rules.iter().filter(|rule| !examples.iter().any(|example| is_of(example, rule)));
    faults.extend(bare.map(|rule| format!("there is no example of {rule:?}")));
    let strays = examples.iter().filter(|example| !rules.iter().any(|rule| is_of(example, rule)));
    faults.extend(strays.map(|example| format!("there is no rule {:?}", example.title)));
    faults
}

/// What tells one conflict from another in a name is the date: `plan (conflict from b 2026-01-02).md` is
/// `plan (conflict from b).md` in the examples.
pub fn without_dates(line: &str) -> String {
    let is_date = |word: &str| {
        let bytes = word.as_bytes();
        bytes.len() >= 10
            && bytes[..10].iter().enumerate().all(|(at, byte)| match at {
                4 | 7 => *byte == b'-',
                _ => byte.is_ascii_digit(),
            })
    };
    let mut kept = String::new();
    for (at, word) in line.split(' ').enumerate() {
        let gap = if at == 0 { "" } else { " " };
        match word.get(10..) {
            Some(rest) if is_date(word) && rest.starts_with(')') => kept.push_str(rest),
            _ => kept.extend([gap, word]),
        }
    }
    match kept.split_once('/') {
        Some((folder, rest)) if folder.starts_with("Tarn rescued") && is_date(rest) => {
            format!("{folder}/DATE{}", &rest[10..])
        }
        _ => kept,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\n## Rules\n\n| changes | result |\n|---|---|\n| one / other | both |\n\n- **A point.** It holds.\n\
        \n```example\n# one / other\na: plan = old\neverywhere:\nplan = old\n```\n\n```mounts\n# A point: of it\na$ ls\n```\n";

    #[test]
    fn examples_are_found_in_order() {
        let found = examples(PAGE);
        let titles: Vec<_> = found.iter().map(|example| (example.title, example.place)).collect();
        assert_eq!(titles, [("one / other", Place::Simulation), ("A point: of it", Place::Mounts)]);
        assert_eq!(
            (&found[0].steps[..], found[0].shown.as_deref()),
            (&["a: plan = old"][..], Some(&["plan = old"][..]))
        );
        assert_eq!((&found[1].steps[..], found[1].shown.as_deref()), (&["a$ ls"][..], None));
    }

    #[test]
    fn what_has_no_example_or_no_rule_is_a_fault() {
        assert_eq!(faults(PAGE), Vec::<String>::new());
        let faults_of = |from: &str, to: &str| faults(&PAGE.replace(from, to));
        assert_eq!(
            faults_of("# one / other", "# one"),
            ["there is no example of \"one / other\"", "there is no rule \"one\""]
        );
        assert_eq!(faults_of("- **A point.**", "- **A point.** Yes.\n- **B.**"), ["there is no example of \"B\""]);
        assert_eq!(faults_of("- **A point.**", "- **A point.** Yes.\n- C")[0], "this point has no name: - C It holds.");
        assert_eq!(faults(&format!("{PAGE}{LAST}\n- D")), Vec::<String>::new());
    }

    #[test]
    fn dates_go_where_they_are_part_of_a_name() {
        assert_eq!(
            without_dates("plan (conflict from b 2026-01-02).md = 2026-01-02"),
            "plan (conflict from b).md = 2026-01-02"
        );
        assert_eq!(without_dates("Tarn rescued 2/2026-01-02/plan = by a"), "Tarn rescued 2/DATE/plan = by a");
        assert_eq!(without_dates("notes/2026-01-02/plan = by a"), "notes/2026-01-02/plan = by a");
    }
}

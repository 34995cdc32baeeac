//! Owns `tarn status --why` and `tarn top`: which programs have what fetched.

use super::args::Top;
use super::target::Mounted;
use super::{Context, format, status};
use crate::control::messages::ProgramRow;
use crate::control::{Reply, Request};
use anyhow::{Result, bail};
use serde::Serialize;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _, stdout};
use std::path::Path;
use std::time::Duration;

const SHOW_EVERY: Duration = Duration::from_secs(1);
/// Programs that fit a screen.
const SHOWN_MAX: usize = 20;
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What `--json` prints: stable.
#[derive(Debug, Serialize)]
struct Why<'a> {
    programs: &'a [ProgramRow],
}

/// `tarn status --why`.
pub(super) async fn why(context: &Context, mount: Option<&Path>, json: bool) -> Result<()> {
    let rows = ask(context, mount).await?;
    if json {
        return status::print_json(&Why { programs: &rows });
    }
    print!("{}", table(&rows, &HashMap::new()));
    Ok(())
}

/// `tarn top`.
pub(super) async fn top(context: &Context, args: &Top) -> Result<()> {
    let mut before = HashMap::new();
    loop {
        let rows = ask(context, args.mount.as_deref()).await?;
        let text = table(&rows[..rows.len().min(SHOWN_MAX)], &before);
        if args.once || !stdout().is_terminal() {
            print!("{text}");
            return Ok(());
        }
        print!("{CLEAR}{text}");
        stdout().flush()?;
        before = rows.into_iter().map(|row| (row.program.clone(), fetched(&row))).collect();
        tokio::time::sleep(SHOW_EVERY).await;
    }
}

async fn ask(context: &Context, mount: Option<&Path>) -> Result<Vec<ProgramRow>> {
    let mut mounted = Mounted::connect(context).await?;
    mounted.must_be_whole(mount, "programs are told of the whole mount")?;
    match mounted.client.ask(Request::Programs, |_| {}).await? {
        Reply::Programs(rows) => Ok(rows),
        _ => bail!("the daemon gave an answer to something else"),
    }
}

fn fetched(row: &ProgramRow) -> u64 {
    row.asked_bytes + row.ahead_bytes
}

/// One line for each program; `before` is what each had a second ago.
fn table(rows: &[ProgramRow], before: &HashMap<String, u64>) -> String {
    if rows.is_empty() {
        return "no program had anything fetched\n".to_owned();
    }
    let mut text =
        format!("{:>12}  {:>12}  {:>12}  {:>7}  program, and its last file\n", "a second", "asked", "ahead", "refused");
    for row in rows {
        let now = before.get(&row.program).map_or(0, |before| fetched(row).saturating_sub(*before));
        let [now, asked, ahead] = [now, row.asked_bytes, row.ahead_bytes].map(format::bytes);
        let scans = if row.scans { " (scans)" } else { "" };
        let last = row.last_path.as_deref().unwrap_or("gone");
        let (program, refused) = (&row.program, row.refused);
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "{now:>12}  {asked:>12}  {ahead:>12}  {refused:>7}  {program}{scans}  {last}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> ProgramRow {
        let (program, last_path) = ("/usr/bin/grep".to_owned(), Some("a/b".to_owned()));
        ProgramRow { program, scans: true, asked_bytes: 2048, ahead_bytes: 1024, refused: 3, last_path }
    }

    #[test]
    fn a_line_says_who_how_much_and_how_fast() {
        let before = HashMap::from([("/usr/bin/grep".to_owned(), 2048)]);
        let text = table(&[row()], &before);
        let line: Vec<_> = text.lines().nth(1).unwrap_or_default().split_whitespace().collect();
        assert_eq!(line, ["1.0", "KiB", "2.0", "KiB", "1.0", "KiB", "3", "/usr/bin/grep", "(scans)", "a/b"]);
        assert!(table(&[], &before).contains("no program"));
    }
}

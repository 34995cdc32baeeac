//! Owns `tarn verify`: has the daemon compare everything it can, and prints what differs.

use super::args::Verify;
use super::progress::Display;
use super::status::print_json;
use super::target::Mounted;
use super::{Context, format};
use crate::control::findings::{Compared, VerifyReport};
use crate::control::{Reply, Request};
use crate::daemon::serve_walk;
use anyhow::{Result, bail};
use std::io::{stdin, stdout};
use std::path::Path;

pub(super) async fn run(context: &Context, args: &Verify) -> Result<()> {
    let mut mounted = Mounted::connect(context).await?;
    let path = mounted.below(args.path.as_deref())?;
    let mut display = Display::new(&context.env, "folders");
    let request = Request::Verify { path, light: args.light };
    let reply = mounted.client.ask(request, |progress| display.show(progress)).await?;
    drop(display);
    let Reply::Verified(report) = reply else { bail!("the daemon gave an answer to something else") };
    if args.json {
        print_json(&report)?;
    } else {
        print!("{}", describe(&report));
    }
    match report.difference_count {
        0 => Ok(()),
        count => bail!("{}", format::count(count, "difference")),
    }
}

/// Is the process that looks at the mount for the daemon.
pub(super) fn walk(mount: &Path) -> Result<()> {
    Ok(serve_walk(mount, stdin().lock(), stdout().lock())?)
}

fn describe(report: &VerifyReport) -> String {
    let mut text: String = report.differences.iter().map(|difference| format!("{difference}\n")).collect();
    let told = report.differences.len() as u64;
    if report.difference_count > told {
        text.push_str(&format!("… and {} more\n", report.difference_count - told));
    }
    let Compared { folders, entries, rows, files, bytes } = report.compared;
    text.push_str(&format!(
        "compared: {} with {}, {}, {} of {}{}\n",
        format::count(folders, "folder"),
        format::count(entries, "name"),
        format::count(rows, "row"),
        format::bytes(bytes),
        format::count(files, "file"),
        if report.light { ", a sample" } else { "" }
    ));
    report.left_out.iter().for_each(|why| text.push_str(&format!("not compared: {why}\n")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::findings::{Area, Difference, Said};

    #[test]
    fn people_read_which_side_says_what_and_what_to_do() {
        let said = |who: &str, says: &str| Said { who: who.into(), says: says.into() };
        let difference = Difference {
            area: Area::Content,
            path: Some("a/b".into()),
            what: "bytes".into(),
            says: vec![said("the server", "x"), said("the local disk", "y")],
            advice: "nothing".into(),
            repaired: true,
        };
        let compared = Compared { folders: 1, entries: 2, rows: 3, files: 1, bytes: 2048 };
        let report = VerifyReport {
            light: true,
            differences: vec![difference],
            difference_count: 5,
            compared,
            left_out: vec!["the server".into()],
        };
        assert_eq!(
            describe(&report),
            "a/b: bytes\n  the server: x\n  the local disk: y\n  => nothing\n… and 4 more\n\
             compared: 1 folder with 2 names, 3 rows, 2.0 KiB of 1 file, a sample\nnot compared: the server\n"
        );
    }
}

//! Owns how long work is shown: a bar on a terminal, a plain line now and then elsewhere, nothing for what is quick.

use super::format::bytes;
use crate::control::Progress;
use crate::env::Env;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::time::Duration;

/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(2);
/// A bar is redrawn by itself this often, so that its clock runs.
const TICK: Duration = Duration::from_millis(200);

/// Shows progress on standard error until it is dropped.
pub(super) struct Display {
    noun: &'static str,
    shown: Shown,
}

enum Shown {
    Bar(ProgressBar),
    Lines { env: Env, last: Option<(Duration, String)> },
}

impl Display {
    /// Shows work on so many `noun`s ("files").
    pub fn new(env: &Env, noun: &'static str) -> Self {
        let shown =
            if stderr().is_terminal() { Shown::Bar(bar()) } else { Shown::Lines { env: env.clone(), last: None } };
        Self { noun, shown }
    }

    /// Shows how far it has come.
    pub fn show(&mut self, progress: &Progress) {
        let text = describe(progress, self.noun);
        match &mut self.shown {
            Shown::Bar(bar) => {
                let by_bytes = progress.bytes_total > 0;
                let (at, of) = if by_bytes {
                    (progress.bytes, progress.bytes_total)
                } else {
                    (progress.items, progress.items_total)
                };
                bar.set_length(of);
                bar.set_position(at);
                bar.set_message(text);
            }
            Shown::Lines { env, last } => {
                let now = env.clock.monotonic();
                let is_due = last.as_ref().is_none_or(|(at, said)| now >= *at + LINE_EVERY && *said != text);
                if is_due && progress.items_total + progress.bytes_total > 0 {
                    eprintln!("{text}");
                    *last = Some((now, text));
                }
            }
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let style =
        ProgressStyle::with_template("{bar:30} {msg} [{elapsed}]").unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar.enable_steady_tick(TICK);
    bar
}

fn describe(progress: &Progress, noun: &str) -> String {
    let mut parts = Vec::new();
    if progress.items_total > 0 {
        parts.push(format!("{} of {} {noun}", progress.items, progress.items_total));
    }
    if progress.bytes_total > 0 {
        parts.push(format!("{} of {}", bytes(progress.bytes), bytes(progress.bytes_total)));
    }
    parts.extend(progress.waiting_for.clone());
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_what_is_known() {
        let mut progress = Progress { items: 1, items_total: 3, ..Default::default() };
        assert_eq!(describe(&progress, "files"), "1 of 3 files");
        progress.bytes_total = 2048;
        progress.waiting_for = Some("the server cannot be reached".into());
        assert_eq!(describe(&progress, "files"), "1 of 3 files, 0 B of 2.0 KiB, the server cannot be reached");
        assert_eq!(describe(&Progress::default(), "files"), "");
    }
}

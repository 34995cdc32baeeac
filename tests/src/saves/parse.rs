//! Reads fixtures. Says of each wrong line what is wrong with it; guesses nothing.

use super::{Call, Claim, Fixture, Flags};
use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// What is wrong with a fixture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// Which line, from 1; 0 if it is about the whole.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for ParseError {}

type Words<'a> = std::str::SplitAsciiWhitespace<'a>;

/// Which part of a fixture a line stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Head,
    Before,
    Calls,
    After,
}

pub(super) fn parse(name: &str, text: &str) -> Result<Fixture, ParseError> {
    let mut fixture =
        Fixture { name: name.into(), from: String::new(), before: Vec::new(), calls: Vec::new(), after: Vec::new() };
    let (mut part, mut open) = (Part::Head, HashSet::new());
    for (number, line) in text.lines().enumerate() {
        let said = |what: String| ParseError { line: number + 1, what };
        let line = line.trim();
        if line.is_empty() || line.starts_with("# ") {
            continue;
        }
        if let Some(next) = heading(line) {
            if next as u8 != part as u8 + 1 {
                return Err(said(format!("{line} does not follow here")));
            }
            part = next;
            continue;
        }
        take_line(&mut fixture, part, line, &mut open).map_err(said)?;
    }
    let is_whole = part == Part::After && !fixture.from.is_empty() && !fixture.after.is_empty();
    let open = open.into_iter().min();
    match (is_whole, open) {
        (false, _) => {
            Err(ParseError { line: 0, what: "it needs from, before:, calls: and after: with a claim".into() })
        }
        (true, Some(handle)) => Err(ParseError { line: 0, what: format!("handle {handle} is never closed") }),
        (true, None) => Ok(fixture),
    }
}

fn heading(line: &str) -> Option<Part> {
    Some(match line {
        "before:" => Part::Before,
        "calls:" => Part::Calls,
        "after:" => Part::After,
        _ => return None,
    })
}

fn take_line(fixture: &mut Fixture, part: Part, line: &str, open: &mut HashSet<u32>) -> Result<(), String> {
    match part {
        Part::Head => {
            let from = line.strip_prefix("from ").ok_or_else(|| format!("not of a head: {line}"))?;
            fixture.from = from.into();
        }
        Part::Before => fixture.before.push(finished(line, |word, words| call(word, words, true))?),
        Part::Calls => {
            let call = finished(line, |word, words| call(word, words, false))?;
            check_handle(&call, open)?;
            fixture.calls.push(call);
        }
        Part::After => fixture.after.push(finished(line, claim)?),
    }
    Ok(())
}

/// Parses a line, and wants nothing to be left of it.
fn finished<T>(line: &str, parse: impl FnOnce(&str, &mut Words<'_>) -> Result<T, String>) -> Result<T, String> {
    let mut words = line.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    let parsed = parse(first, &mut words)?;
    words.next().map_or(Ok(parsed), |more| Err(format!("{more} is too much")))
}

fn call(word: &str, words: &mut Words<'_>, is_before: bool) -> Result<Call, String> {
    Ok(match word {
        "file" if is_before => Call::File(path(words)?, number(words)?),
        "mkdir" => Call::MakeDir(path(words)?, mode(words)?),
        "link" => Call::Link(path(words)?, path(words)?),
        "symlink" => Call::Symlink(next(words)?.into(), path(words)?),
        "chmod" => Call::SetPathMode(path(words)?, mode(words)?),
        _ if is_before => return Err(format!("{word} makes nothing that could be there before")),
        "open" => {
            let (handle, path, flags) = (number(words)?, path(words)?, flags(words)?);
            let mode = if flags.creates { mode(words)? } else { 0 };
            Call::Open(handle, path, flags, mode)
        }
        "write" => Call::Write(number(words)?, number(words)?, words.next().map(parsed).transpose()?),
        "ftruncate" => Call::SetLength(number(words)?, number(words)?),
        "fsync" | "fdatasync" => Call::Sync(number(words)?),
        "fchmod" => Call::SetMode(number(words)?, mode(words)?),
        "futimens" => Call::SetTimes(number(words)?),
        "close" => Call::Close(number(words)?),
        "rename" => Call::Rename(path(words)?, path(words)?),
        "unlink" => Call::Unlink(path(words)?),
        "rmdir" => Call::RemoveDir(path(words)?),
        "utimens" => Call::SetPathTimes(path(words)?),
        "pause" => Call::Pause,
        _ => return Err(format!("there is no call {word}")),
    })
}

fn claim(word: &str, words: &mut Words<'_>) -> Result<Claim, String> {
    Ok(match word {
        "same" => Claim::Same(path(words)?),
        "kept" => Claim::Kept(path(words)?),
        "fresh" => Claim::Fresh(path(words)?),
        "moved" => Claim::Moved(path(words)?, path(words)?),
        "passes" => Claim::Passes(path(words)?),
        "vanishes" => Claim::Vanishes(path(words)?),
        _ => return Err(format!("there is no claim {word}")),
    })
}

/// A handle is opened once, and used while it is open.
fn check_handle(call: &Call, open: &mut HashSet<u32>) -> Result<(), String> {
    let (handle, is_right) = match call {
        Call::Open(handle, ..) => (handle, open.insert(*handle)),
        Call::Close(handle) => (handle, open.remove(handle)),
        Call::Write(handle, ..)
        | Call::SetLength(handle, _)
        | Call::Sync(handle)
        | Call::SetMode(handle, _)
        | Call::SetTimes(handle) => (handle, open.contains(handle)),
        _ => return Ok(()),
    };
    if is_right { Ok(()) } else { Err(format!("handle {handle} is not as this needs it")) }
}

fn next<'a>(words: &mut Words<'a>) -> Result<&'a str, String> {
    words.next().ok_or_else(|| "a word is missing".to_owned())
}

fn parsed<T: FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("{word} is no number that fits"))
}

fn number<T: FromStr>(words: &mut Words<'_>) -> Result<T, String> {
    parsed(next(words)?)
}

fn mode(words: &mut Words<'_>) -> Result<u32, String> {
    let word = next(words)?;
    let mode = word.strip_prefix('0').and_then(|digits| u32::from_str_radix(digits, 8).ok());
    mode.map(|mode| mode & 0o7777).ok_or_else(|| format!("{word} is no mode"))
}

/// A path that stays below the folder.
fn path(words: &mut Words<'_>) -> Result<PathBuf, String> {
    let word = next(words)?;
    let stays = Path::new(word).components().all(|part| matches!(part, Component::Normal(_)));
    if stays { Ok(word.into()) } else { Err(format!("{word} leads out of the folder")) }
}

fn flags(words: &mut Words<'_>) -> Result<Flags, String> {
    let (mut flags, mut writes) = (Flags::default(), false);
    for word in next(words)?.split('|') {
        match word {
            "O_WRONLY" => writes = true,
            "O_RDWR" => (writes, flags.reads) = (true, true),
            "O_CREAT" => flags.creates = true,
            "O_EXCL" => flags.excludes = true,
            "O_TRUNC" => flags.truncates = true,
            "O_APPEND" => flags.appends = true,
            _ => return Err(format!("there is no flag {word}")),
        }
    }
    if writes { Ok(flags) } else { Err("what is opened here is opened for writing".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "from nowhere\nbefore:\nfile a 3\ncalls:\n";

    fn refusal(calls: &str) -> String {
        parse("x", &format!("{HEAD}{calls}\nafter:\nsame a\n")).unwrap_err().to_string()
    }

    #[test]
    fn a_whole_fixture_is_read() {
        let text =
            format!("# A note.\n{HEAD}open 1 d/b O_WRONLY|O_CREAT 0644\nwrite 1 5 10\nclose 1\nafter:\nfresh d/b\n");
        let fixture = parse("x", &text).unwrap();
        assert_eq!((fixture.from.as_str(), fixture.before.len()), ("nowhere", 1));
        let flags = Flags { creates: true, ..Flags::default() };
        let open = Call::Open(1, "d/b".into(), flags, 0o644);
        assert_eq!(fixture.calls, [open, Call::Write(1, 5, Some(10)), Call::Close(1)]);
        assert_eq!(fixture.after, [Claim::Fresh("d/b".into())]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        assert_eq!(refusal("unlnk a"), "line 5: there is no call unlnk");
        assert_eq!(refusal("unlink ../a"), "line 5: ../a leads out of the folder");
        assert_eq!(refusal("unlink /a"), "line 5: /a leads out of the folder");
        assert_eq!(refusal("unlink a b"), "line 5: b is too much");
        assert_eq!(refusal("rename a"), "line 5: a word is missing");
        assert_eq!(refusal("fsync 1"), "line 5: handle 1 is not as this needs it");
        assert_eq!(refusal("open 1 a O_RDONLY"), "line 5: there is no flag O_RDONLY");
        assert_eq!(refusal("open 1 a O_CREAT 0644"), "line 5: what is opened here is opened for writing");
        assert_eq!(refusal("mkdir d 755"), "line 5: 755 is no mode");
        assert_eq!(refusal("file b 3"), "line 5: there is no call file");
        assert_eq!(refusal("before:"), "line 5: before: does not follow here");
        assert_eq!(refusal("open 1 a O_RDWR"), "line 0: handle 1 is never closed");
        let unfounded = parse("x", "before:\ncalls:\nafter:\nsame a\n").unwrap_err();
        assert_eq!(unfounded.line, 0);
    }
}

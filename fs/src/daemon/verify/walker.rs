//! Owns seeing the mount as programs see it: a process of its own lists folders of the mount and says what it saw. The
//! daemon never looks into its own mount: a thread that waits for itself could not even be killed.
//!
//! The other process is this program again (`tarn verify --walker DIR`). It reads one path below DIR from each line of its
//! input, answers with one line of JSON, and ends when its input does.

use crate::control::MountPath;
use crate::env::close_on_exec;
use serde::{Deserialize, Serialize};
use std::fs::{self, Metadata};
use std::io::{self, BufRead, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tarn_proto::node::ByteString;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A folder that takes longer does not answer.
const FOLDER_WAIT: Duration = Duration::from_secs(60);

/// One name of a folder as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The name.
    pub name: ByteString,
    /// The inode's number.
    pub ino: u64,
    /// Type and permissions.
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
    /// How many names it has; of folders nobody counts them.
    pub links: u64,
    /// Where a symlink points.
    pub target: Option<ByteString>,
}

/// What the walker says of a folder.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Seen(Vec<Seen>),
    Failed { errno: Option<i32>, text: String },
}

/// Why a folder was not seen.
#[derive(Debug, thiserror::Error)]
pub(super) enum WalkError {
    /// What the kernel answered.
    #[error("{text}")]
    Refused {
        /// Its number.
        errno: Option<i32>,
        /// In words.
        text: String,
    },
    /// Nothing, for long.
    #[error("the mount does not answer")]
    Silent,
    /// The other process failed.
    #[error("the mount could not be looked at: {0}")]
    Broken(#[from] io::Error),
}

/// Answers until the input ends. Called by the command line.
///
/// # Errors
/// Input or output failed.
pub fn serve_walk(mount: &Path, input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    for line in input.lines() {
        let path: MountPath = serde_json::from_str(&line?)?;
        let answer = match list(&mount.join(path.to_path())) {
            Ok(seen) => Answer::Seen(seen),
            Err(error) => Answer::Failed { errno: error.raw_os_error(), text: error.to_string() },
        };
        serde_json::to_writer(&mut output, &answer)?;
        output.write_all(b"\n")?;
        output.flush()?;
    }
    Ok(())
}

fn list(folder: &Path) -> io::Result<Vec<Seen>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match seen(&entry.path()) {
            // It went between the two calls.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => all.push(other?),
        }
    }
    Ok(all)
}

fn seen(path: &Path) -> io::Result<Seen> {
    let meta = fs::symlink_metadata(path)?;
    let bytes = |path: &std::ffi::OsStr| ByteString(path.as_bytes().to_vec());
    let name = bytes(path.file_name().unwrap_or_default());
    let target = if meta.is_symlink() { Some(bytes(fs::read_link(path)?.as_os_str())) } else { None };
    Ok(Seen { name, ino: meta.ino(), mode: meta.mode(), size: meta.size(), links: links(&meta), target })
}

/// Of a folder the number says how many of its folders are known, which may be any.
fn links(meta: &Metadata) -> u64 {
    if meta.is_dir() { 0 } else { meta.nlink() }
}

/// The other process. It ends with this.
#[derive(Debug)]
pub(super) struct Walker {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Walker {
    /// Starts it.
    pub fn start(mount: &Path) -> io::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.args(["verify", "--walker"]).arg(mount).current_dir("/").kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // SAFETY: between fork and exec only one system call is made. The kernel's connection must not live in it.
        unsafe { command.pre_exec(close_on_exec) };
        let mut child = command.spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("it has no pipes"));
        };
        Ok(Self { _child: child, input, output: BufReader::new(output).lines() })
    }

    /// Lists a folder below the mount.
    pub async fn list(&mut self, path: &MountPath) -> Result<Vec<Seen>, WalkError> {
        let mut line = serde_json::to_vec(path).map_err(io::Error::from)?;
        line.push(b'\n');
        self.input.write_all(&line).await?;
        let answer = tokio::time::timeout(FOLDER_WAIT, self.output.next_line()).await;
        let line = answer.map_err(|_| WalkError::Silent)??;
        let line = line.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        match serde_json::from_str(&line).map_err(io::Error::from)? {
            Answer::Seen(seen) => Ok(seen),
            Answer::Failed { errno, text } => Err(WalkError::Refused { errno, text }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_line_is_answered_with_what_the_kernel_shows() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/f"), "four").unwrap();
        std::os::unix::fs::symlink("f", dir.path().join("d/l")).unwrap();
        let asked = ["d", "absent"].map(|path| serde_json::to_string(&MountPath::new(Path::new(path))).unwrap());
        let mut output = Vec::new();
        serve_walk(dir.path(), asked.join("\n").as_bytes(), &mut output).unwrap();
        let answers: Vec<Answer> = output
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty())
            .map(|l| serde_json::from_slice(l).unwrap())
            .collect();
        let [Answer::Seen(seen), Answer::Failed { errno, .. }] = &answers[..] else { panic!("{answers:?}") };
        let mut seen = seen.clone();
        seen.sort_by(|a, b| a.name.0.cmp(&b.name.0));
        assert_eq!((seen[0].name.0.as_slice(), seen[0].size, seen[0].links), (b"f".as_slice(), 4, 1));
        assert_eq!(seen[1].target, Some(ByteString(b"f".to_vec())));
        assert_eq!(*errno, Some(libc::ENOENT));
    }
}

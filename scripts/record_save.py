#!/usr/bin/env python3
"""Records what a program does to files when it saves, for tests/fixtures/saves.

  scripts/record_save.py [--prepare SHELL] [--folder DIR] -- COMMAND...

Runs SHELL in an empty folder (or in DIR), then COMMAND under strace, and prints each call that changed something below that folder, one
a line, in the form that tests/fixtures/saves/README.md explains. What failed, and files that were only read, is left out. Bytes are not
kept, only how many there were. Standard error says what files there were before.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

CALLS = """openat open creat read pread64 write pwrite64 writev pwritev lseek truncate ftruncate fallocate fsync fdatasync sync_file_range
 rename renameat renameat2 link linkat symlink symlinkat unlink unlinkat mkdir mkdirat rmdir close dup dup2 dup3 fcntl
 chmod fchmod fchmodat utimensat utime utimes copy_file_range sendfile setxattr fsetxattr removexattr fremovexattr ioctl mmap""".split()
LINE = re.compile(r"(\d+\.\d+) (\w+)\((.*)\)\s+= (-?\d+|0x[0-9a-f]+)(?:<(.*?)>)?(?: .*)?$")
WRITES = {"O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"}
KEPT_FLAGS = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_EXCL", "O_TRUNC", "O_APPEND"]


def arguments(text):
    """Splits at commas that are in no string, bracket or descriptor's name."""
    parts, depth, quoted, part = [], 0, False, ""
    for before, char in zip(" " + text, text):
        if char == '"' and before != "\\":
            quoted = not quoted
        elif not quoted:
            depth += (char in "([{<") - (char in ")]}>")
        if char == "," and depth == 0 and not quoted:
            parts.append(part.strip())
            part = ""
        else:
            part += char
    return parts + [part.strip()]


class Reducer:
    """Turns calls into lines of a fixture."""

    def __init__(self, folder):
        self.folder, self.lines = str(folder), []
        self.handles, self.count = {}, 0  # (process, descriptor) -> [label, position, appends]

    def path(self, *given):
        """The path below the folder of an argument, or of a folder's descriptor and a name; None if it is elsewhere."""
        path = self.folder
        for one in given:
            named = re.fullmatch(r"(?:-?\d+|AT_FDCWD)<(.*)>", one)
            if named:
                path = os.path.join(path, re.sub(r"\(deleted\)$", "", named[1]))
            elif one.startswith('"'):
                path = os.path.join(path, one[1:-1])
        path = os.path.normpath(path)
        if path == self.folder:
            return "."
        inside = path.startswith(self.folder + "/")
        return os.path.relpath(path, self.folder) if inside else None

    def handle(self, process, argument):
        return self.handles.get((process, int(re.match(r"-?\d+", argument)[0])))

    def say(self, *words):
        self.lines.append(" ".join(str(word) for word in words))

    def call(self, process, name, args, result):
        if name in ("openat", "open", "creat"):
            self.open(process, name, args, result)
        elif name == "pread64":
            pass
        elif name in ("read", "write", "writev", "pwrite64", "pwritev", "lseek", "ftruncate", "fallocate", "fsync", "fdatasync", "close",
                      "fchmod", "copy_file_range", "sendfile", "dup", "dup2", "dup3", "fcntl", "fsetxattr", "ioctl", "mmap"):
            self.of_handle(process, name, args, result)
        else:
            self.of_path(process, name, args)

    def open(self, process, name, args, result):
        if name == "creat":
            path, flags, mode = self.path(args[0]), "O_WRONLY|O_CREAT|O_TRUNC", args[1:]
        else:
            at = 2 if name == "openat" else 1
            path, flags, mode = self.path(*args[:at]), args[at], args[at + 1:]
        flags = flags.split("|")
        if "O_TMPFILE" in flags and path is not None:
            self.count += 1
            self.handles[process, result] = [self.count, 0, False]
            return self.say("tmpfile", self.count, path, mode[0])
        if path is None or not WRITES & set(flags):
            self.handles.pop((process, result), None)
            return
        self.count += 1
        self.handles[process, result] = [self.count, 0, "O_APPEND" in flags]
        kept = [flag for flag in KEPT_FLAGS if flag in flags]
        self.say("open", self.count, path, "|".join(kept), *(mode if "O_CREAT" in kept else []))

    def of_handle(self, process, name, args, result):
        at = {"copy_file_range": 2, "mmap": 4}.get(name, 0)
        handle = self.handle(process, args[at])
        if handle is None:
            if name in ("dup2", "dup3"):
                self.handles.pop((process, result), None)
            return
        label, position, appends = handle
        if name in ("read", "lseek"):
            handle[1] = result if name == "lseek" else position + result
        elif name in ("write", "writev", "copy_file_range", "sendfile"):
            if result:
                self.say("write", label, result, *([] if appends else [position]))
            handle[1] += result
        elif name in ("pwrite64", "pwritev"):
            self.say("write", label, result, int(args[3]))
        elif name == "close":
            del self.handles[process, int(re.match(r"\d+", args[0])[0])]
            if handle not in self.handles.values():
                self.say("close", label)
        elif name in ("dup", "dup2", "dup3") or (name == "fcntl" and "DUPFD" in args[1]):
            self.handles[process, result] = handle
        elif name in ("fsync", "fdatasync"):
            self.say(name, label)
        elif name == "ftruncate":
            self.say("ftruncate", label, args[1])
        elif name == "fchmod":
            self.say("fchmod", label, args[1])
        elif name == "mmap" and "PROT_WRITE" in args[2] and "MAP_SHARED" in args[3]:
            self.say("?mmap", label)
        elif name in ("fallocate", "fsetxattr") or (name == "ioctl" and "FICLONE" in args[1]):
            self.say("?" + name, label, *args[1:])

    def of_path(self, process, name, args):
        if name in ("rename", "link"):
            old, new, flags = self.path(args[0]), self.path(args[1]), ""
        elif name in ("renameat", "renameat2", "linkat"):
            old, new, flags = self.path(*args[:2]), self.path(*args[2:4]), (args[4:] or [""])[0]
        elif name in ("symlink", "symlinkat"):
            old, new, flags = args[0][1:-1], self.path(*args[1:]), ""
        else:
            return self.of_one_path(process, name, args)
        unnamed = re.search(r'/proc/(?:self|\d+)/fd/(\d+)', args[1]) if name == "linkat" else None
        if unnamed and new is not None:
            return self.say("name", self.handles[process, int(unnamed[1])][0], new)
        if new is None and old is None or new is None and name.startswith("symlink"):
            return
        kind = {"RENAME_NOREPLACE": "rename_noreplace", "RENAME_EXCHANGE": "exchange"}.get(flags, re.sub(r"at2?$", "", name))
        self.say(kind, old, new)

    def of_one_path(self, process, name, args):
        takes_folder = name in ("unlinkat", "mkdirat", "fchmodat", "utimensat")
        path, rest = (self.path(*args[:2]), args[2:]) if takes_folder else (self.path(args[0]), args[1:])
        handle = self.handle(process, args[0]) if name == "utimensat" and args[1] == "NULL" else None
        if handle:
            return self.say("futimens", handle[0])
        if path is None:
            return
        if name == "unlinkat":
            name = "rmdir" if rest and "REMOVEDIR" in rest[0] else "unlink"
        kinds = {"mkdirat": "mkdir", "fchmodat": "chmod", "utimensat": "utimens", "utime": "utimens", "utimes": "utimens"}
        kind = kinds.get(name, name)
        known = ("unlink", "rmdir", "mkdir", "chmod", "utimens", "truncate")
        values = rest[:1] if kind in ("mkdir", "chmod", "truncate") else []
        self.say(kind if kind in known else "?" + kind, path, *values)


def calls(folder):
    """All calls that succeeded, of all processes, in the order of their beginnings."""
    found = []
    for trace in Path(folder).glob("trace.*"):
        for number, line in enumerate(trace.read_text(errors="replace").splitlines()):
            match = LINE.match(line)
            if match and not match[4].startswith("-1"):
                found.append((float(match[1]), int(trace.suffix[1:]), number, match[2], arguments(match[3]), int(match[4], 0)))
    return sorted(found)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--prepare", default="true")
    parser.add_argument("--folder")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as own, tempfile.TemporaryDirectory() as traces:
        folder = Path(args.folder or own).resolve()
        subprocess.run(["bash", "-ec", args.prepare], cwd=folder, check=True)
        for path in sorted(folder.rglob("*")):
            print(path.relative_to(folder), path.lstat().st_size, oct(path.lstat().st_mode), file=sys.stderr)
        trace = ["strace", "-ff", "-ttt", "-y", "-s", "4096", "-e", "trace=" + ",".join(CALLS), "-e", "signal=none", "-o", f"{traces}/trace"]
        code = subprocess.run(trace + args.command, cwd=folder, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode
        reducer = Reducer(folder)
        for _, process, _, name, words, result in calls(traces):
            reducer.call(process, name, words, result)
        print("\n".join(reducer.lines))
        sys.exit(code)


if __name__ == "__main__":
    main()

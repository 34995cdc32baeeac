"""What trees and states of devices look like, and how proofs say it. MB is 10**6 bytes."""
import os
import stat
import sys
import time
from pathlib import Path


def mb(count):
    return f"{count / 1e6:,.1f} MB"


def walk(root):
    """(path below root, lstat) of everything, folders before what is in them, each folder in the order of names."""
    todo = [Path()]
    while todo:
        folder = todo.pop()
        below = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
        for entry in below:
            yield folder / entry.name, entry.stat(follow_symlinks=False)
        todo += [folder / entry.name for entry in reversed(below) if entry.is_dir(follow_symlinks=False)]


def blocks(root):
    """What `du` says, in bytes: allocated blocks of what is below."""
    total = 0
    try:
        for entry in os.scandir(root):
            info = entry.stat(follow_symlinks=False)
            total += info.st_blocks * 512
            if stat.S_ISDIR(info.st_mode):
                total += blocks(entry.path)
    except FileNotFoundError:
        pass
    return total


def content_blocks(device):
    """Blocks of what is content in the state of a device: backing files, and the slab of small ones."""
    return sum(blocks(device.state / name) for name in ("contents", "content")) + sum(
        path.stat().st_blocks * 512 for path in device.state.glob("slab*") if path.is_file())


def names(root):
    return sum(1 for _ in walk(root))


class Stage:
    """Seconds of each step, for the figures."""

    def __init__(self):
        self.last, self.parts = time.monotonic(), []

    def mark(self, name):
        now = time.monotonic()
        self.parts.append(f"{name} {now - self.last:,.1f} s")
        print(f"   {self.parts[-1]}", file=sys.stderr, flush=True)
        self.last = now

    def __str__(self):
        return ", ".join(self.parts)

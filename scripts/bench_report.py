"""What `scripts/bench` says of its figures: tables, and one plot of how Tarn stands to the plain disk."""
import math
import os
import statistics
import subprocess
from pathlib import Path

IS_ROOT = os.geteuid() == 0


class Wanted:
    """What a figure has to reach: by itself, or as a multiple of the plain disk's of the same run."""

    def __init__(self, bound, of_disk=False, at_most=False):
        self.bound, self.of_disk, self.at_most = bound, of_disk, at_most

    def __str__(self):
        return f"{'at most ' * self.at_most}{self.bound:,g}{' of the disk' * self.of_disk}"

    def is_met(self, ours, plain):
        value = statistics.median(a / b for a, b in zip(ours, plain)) if self.of_disk else statistics.median(ours)
        return value <= self.bound if self.at_most else value >= self.bound


def least(bound):
    return Wanted(bound)


def most(bound):
    return Wanted(bound, at_most=True)


def share(bound):
    return Wanted(bound, of_disk=True)


def times(bound):
    return Wanted(bound, of_disk=True, at_most=True)


ROWS = [
    ("visible_p50", "change on A visible on B, p50, ms", most(10)),
    ("visible_p99", "change on A visible on B, p99, ms", most(100)),
    ("create", "create small files, files/s", least(12_000)),
    ("create_durable", "create small files, durable, files/s", least(5_000)),
    ("small_cold", "read small files, cold, files/s", least(6_000)),
    ("small_hot", "read small files, hot, files/s", least(30_000)),
    ("cpu_per_file", "daemon's CPU for a small file, made, sent, read cold and hot, ms", most(0.15)),
    ("stat_cold", "stat, cold, files/s", least(60_000)),
    ("stat_hot", "stat, hot, files/s", share(0.9)),
    ("remove", "rm -r of small files, files/s", least(20_000)),
    ("wide_create", "create in one wide folder, files/s", least(15_000)),
    ("wide_cold", "list a wide folder, cold, ms", most(50)),
    ("wide_hot", "list a wide folder, hot, ms", most(8)),
    ("absent_first", "look up absent names, first time, /s", least(50_000)),
    ("absent_again", "look up absent names, again, /s", share(0.9)),
    ("untar", "untar sources, files/s", least(6_000)),
    ("untar_durable", "untar sources, durable, files/s", least(3_000)),
    ("git_commit", "git init, add, commit, s", times(1.5)),
    ("git_status_hot", "git status, hot, s", times(1.5)),
    ("git_status_cold", "git status, cold, s", times(4)),
    ("grep_cold", "grep -r, cold, s", times(2)),
    ("grep_hot", "grep -r, hot, s", times(1.5)),
    ("append", "append and fsync, /s", share(0.5)),
    ("replace", "replace a file, with fsync, /s", share(0.6)),
    ("sqlite_delete", "SQLite transaction, rollback journal, ms", times(1.5)),
    ("sqlite_wal", "SQLite transaction, WAL, ms", times(1.5)),
    ("write", "sequential write, fsync, MB/s", share(0.85)),
    ("write_durable", "sequential write, durable, MB/s", least(350)),
    ("read_cold", "sequential read, cold, MB/s", least(535)),
    ("read_hot", "sequential read, hot, MB/s", share(0.9 if IS_ROOT else 0.6)),
    ("map_hot", "read through a map, hot, MB/s", share(0.7)),
    ("scattered_p50", "4 KiB here and there, cold, p50, ms", most(0.5)),
    ("scattered_total", "4 KiB here and there, cold, all, s", most(0.15)),
    ("scattered_moved", "4 KiB here and there, cold, moved, MB", most(15)),
    ("scattered_hot", "4 KiB here and there, hot, /s", share(0.9)),
    ("scattered_hot_4", "4 KiB here and there, hot, 4 threads, /s", share(0.9)),
    ("edit_close", "edit the middle of a cold large file, close, ms", most(10)),
    ("edit_durable", "edit the middle of a cold large file, durable, ms", most(200)),
    ("edit_moved", "edit the middle of a cold large file, moved, MB", most(6)),
    ("memory", "daemon's memory at its highest, MB", most(200)),
]
# In seconds or milliseconds, or bytes: less is better.
LESS = {name for name, _, wanted in ROWS if wanted.at_most}


def figure(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def spread(values):
    if len(values) == 1:
        return figure(values[0])
    return f"{figure(statistics.median(values))} ({figure(min(values))} to {figure(max(values))})"


def columns(name, runs):
    """What each run has of a row, Tarn's, an ordinary mount's and the plain disk's; None where it was not measured."""
    kinds = ([run[kind].get(name) for run in runs] for kind in ("tarn", "ordinary", "disk"))
    return [None if None in values else values for values in kinds]


def ratio(ours, plain):
    return statistics.median(a / b for a, b in zip(ours, plain)) if plain and min(plain) > 0 else None


def table(runs):
    lines = ["| workload | Tarn | ordinary mount | plain disk | ratio | wanted | |", "|---|--:|--:|--:|--:|--:|---|"]
    for name, label, wanted in ROWS:
        ours, ordinary, plain = columns(name, runs)
        if not ours:
            continue
        beside = ratio(ours, plain)
        cells = [spread(values) if values else "-" for values in (ours, ordinary, plain if beside else None)]
        met = "" if wanted.of_disk and not plain else "met" if wanted.is_met(ours, plain) else "**not met**"
        lines.append(f"| {label} | {' | '.join(cells)} | {figure(beside) if beside else '-'} | {wanted} | {met} |")
    return "\n".join(lines)


def peer_table(runs, others):
    lines = [f"| workload | Tarn | {' | '.join(others)} |", "|---|--:|" + "--:|" * len(others)]
    for name, label, _ in ROWS:
        if name != "cpu_per_file" and all(name in figures[0] for figures in others.values()):
            cells = [[run["tarn"][name] for run in runs], *([run[name] for run in figures] for figures in others.values())]
            lines.append(f"| {label} | {' | '.join(map(spread, cells))} |")
    return "\n".join(lines)


# ---------------------------------------------------------------- the plot

LEFT, WIDTH, HEIGHT, DECADES = 330, 420, 18, 2


def plot(runs):
    """SVG: for each row how many times as good as the plain disk Tarn is, from a hundredth to a hundred times."""
    shown = []
    for name, label, wanted in ROWS:
        ours, _, plain = columns(name, runs)
        if ours and (beside := ratio(ours, plain)):
            shown.append((label, 1 / beside if name in LESS else beside, wanted, name in LESS))
    across = LEFT + WIDTH + 70
    down = (len(shown) + 2) * HEIGHT + 20
    middle = LEFT + WIDTH / 2
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{across}" height="{down}" font-family="sans-serif" font-size="11">',
             f'<rect width="{across}" height="{down}" fill="white"/>']
    for power in range(-DECADES, DECADES + 1):
        x = middle + power * WIDTH / 2 / DECADES
        parts.append(f'<line x1="{x}" y1="20" x2="{x}" y2="{down - 8}" stroke="{"#444" if power == 0 else "#ddd"}"/>')
        parts.append(f'<text x="{x}" y="14" text-anchor="middle">{"disk" if power == 0 else f"{10.0 ** power:g}"}</text>')
    for row, (label, value, wanted, is_less) in enumerate(shown):
        parts += bar(label, value, 26 + row * HEIGHT, middle)
        if wanted.of_disk:
            x = along(1 / wanted.bound if is_less else wanted.bound, middle)
            parts.append(f'<line x1="{x:.1f}" y1="{22 + row * HEIGHT}" x2="{x:.1f}" y2="{36 + row * HEIGHT}" stroke="#c00" stroke-width="2"/>')
    return "\n".join([*parts, "</svg>", ""])


def along(value, middle):
    return middle + max(-DECADES, min(DECADES, math.log10(value))) * WIDTH / 2 / DECADES


def bar(label, value, y, middle):
    x = along(value, middle)
    return [f'<text x="{LEFT - 8}" y="{y + 8}" text-anchor="end">{label}</text>',
            f'<rect x="{min(x, middle):.1f}" y="{y - 2}" width="{abs(x - middle):.1f}" height="12" fill="{"#2a7" if value >= 1 else "#48b"}"/>',
            f'<text x="{LEFT + WIDTH + 6}" y="{y + 8}">{figure(value)}</text>']


# ---------------------------------------------------------------- the page

def machine(place):
    """The processor and the file system underneath, in one line."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), os.uname().machine)
    kind = subprocess.run(["stat", "-f", "-c", "%T", place], capture_output=True, text=True, check=True).stdout.strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    release = ".".join(os.uname().release.split("-")[0].split(".")[:2])
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {release}, {kind.replace('ext2/ext3', 'ext4')}"


def document(args, scale, runs, place, plot_name):
    user = "root" if IS_ROOT else "an ordinary user"
    ordinary = ", *ordinary mount* one without passthrough, as users other than root have it" * IS_ROOT
    return f"""# Benchmarks

```sh
scripts/bench --size {args.size} --runs {args.runs}{' --peers' * args.peers}{' --wan' * args.wan}
```

wrote this page on {machine(place)}, as {user}. Server and all devices are on that machine, the server with SQLite and a local folder.
*Tarn* is a mount by {user}{ordinary}.

{table(runs)}

Median of {args.runs} run{"s"[:args.runs > 1]} (least to most); the ratio is the median of Tarn / plain disk of the same run. MB is 10^6 bytes.

- Small files: {scale['folders'] * 100:,} files of 4 KiB of random bytes in folders of 100. Wide folder: {scale['wide']:,} empty files; {scale['absent']:,} names that are not there.
  Sources: {scale['sources']:,} text files. Large file: {scale['big_mib']:,} MiB of random bytes, of which {scale['scattered']} times 4 KiB are read here and there.
- *Durable* counts until `tarn wait` returns, on the plain disk until `sync` does.
- *Cold* is after `tarn evict --all` with the kernel's caches dropped; on the plain disk only the caches are dropped. *Hot* is the
  same once more; for the large file, after it has been read through once to hold its bytes against what was written.
- *Moved* is what went over loopback meanwhile, whoever sent it.
- *Visible*: from the return of `close` on A until `stat` on B shows the file in its full size; {scale['visible']} files of 1 KiB per run, one after the other.

![How many times as good as the plain disk Tarn is; red: wanted]({plot_name})
"""

#!/usr/bin/env python3
"""Mutants of the server's rules, the tree and the engine: which of them does no test and no simulation notice?

    scripts/mutants.py list WORK [FOLDER...]   makes WORK: the mutants that `cargo mutants` knows, of these folders
    scripts/mutants.py build WORK SUITE...     compiles all of them in at once; those that do not compile are left out
    scripts/mutants.py reach WORK SUITE...     notes which test comes to which mutant
    scripts/mutants.py run WORK SUITE FOLDER   tries each mutant against the tests that come to it, each in a process
    scripts/mutants.py seeds WORK FOLDER N     tries what is left against N seeds of the simulation
    scripts/mutants.py left WORK FOLDER        what nothing noticed

FOLDER is of the source (server/src/rules), SUITE is server, fs or sim. A step that is started again goes on where it was.
TARN_MUTANTS_WORKERS says how many mutants are tried at a time (2), TARN_MUTANTS_TESTS with how many tests each at the most
(all; with more than before those that live are tried again), and TARN_MUTANTS_SLOW how many seconds a test may take (3).
docs/mutants.md says what came of it."""
import json
import os
import re
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ["server/src/rules", "fs/src/sync", "fs/src/tree"]
SUITES = {  # what cargo builds, and where the tests run
    "server": (["-p", "tarn-server", "--lib"], "server"),
    "fs": (["-p", "tarn", "--lib"], "fs"),
    "sim": (["-p", "tarn-tests", "--test", "sim"], "tests"),
}
WORKERS = int(os.environ.get("TARN_MUTANTS_WORKERS", "2"))
TESTS_MAX = int(os.environ.get("TARN_MUTANTS_TESTS", "1000000"))
# Tests that run seeds by themselves, that take a minute each, and that mount: what is killed would leave its mount.
APART = ("devices_agree", "parts::", "planted_bugs", "the_same_seed", "service::push::tests::sqlite_decides", "fuse::")
SEEDS_TEST = "devices_agree_and_nothing_is_lost"
OPTIMISED = ["--config", "profile.dev.opt-level=1"]
# A mutant may ask for memory without end.
MEMORY_BYTES_MAX = 16 << 30
QUICK_SECONDS = 0.4
# Slower ones are left to the simulation.
SLOW_SECONDS = float(os.environ.get("TARN_MUTANTS_SLOW", "3"))
# What never ends is waited for so long, beside eight times what the tests take.
WAIT_SECONDS = 12
# So many tests are one process: most mutants fail the first few.
FIRST, NEXT = 12, 40


class Work:
    """The folder of one run: the copy of the sources, the list, and what is known so far."""

    def __init__(self, path):
        self.path = Path(path).resolve()
        # As they were when the list was made, and with all mutants.
        self.sources, self.tree = self.path / "sources", self.path / "tree"
        self.lock = threading.Lock()

    def load(self, name, default=None):
        path = self.path / name
        return json.loads(path.read_text()) if path.exists() else default

    def save(self, name, value):
        (self.path / name).write_text(json.dumps(value))

    def numbers(self, name):
        path = self.path / name
        return set(map(int, path.read_text().split())) if path.exists() else set()

    def mutants(self, folder):
        """Those of a folder that are compiled in."""
        placed = self.numbers("placed")
        named = enumerate(self.load("list.json"), 1)
        return {number: mutant["name"] for number, mutant in named if mutant["file"].startswith(folder) and number in placed}

    def rows(self):
        path = self.path / "results.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def results(self):
        found = {}
        for row in self.rows():
            found.setdefault(row["mutant"], {})[row["suite"]] = row["verdict"]
        return found

    def note(self, mutant, suite, verdict, why, tests=0):
        row = {"mutant": mutant, "suite": suite, "verdict": verdict, "why": why, "tests": tests}
        with self.lock, open(self.path / "results.jsonl", "a") as out:
            out.write(json.dumps(row) + "\n")


def copy_sources(to):
    to.mkdir(parents=True, exist_ok=True)
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "--null", "-T", "-", "-cf", to / "sources.tar"], cwd=ROOT, input=files, check=True)
    subprocess.run(["tar", "-xf", "sources.tar"], cwd=to, check=True)
    (to / "sources.tar").unlink()


def cargo_mutants(tree, folders):
    filters = [word for folder in folders for word in ("-f", f"{folder}/**")]
    listed = subprocess.run(["cargo", "mutants", "--list", "--json", "-d", tree, *filters], check=True, capture_output=True)
    return [{key: value for key, value in mutant.items() if key != "diff"} for mutant in json.loads(listed.stdout)]


def make_list(work, folders):
    """`cargo mutants` does not see that a `Rule` is a `Result`, so that is written out for it."""
    copy_sources(work.sources)
    copy_sources(work.tree)
    for path in (work.tree / "server/src/rules").rglob("*.rs"):
        text = re.sub(r"-> Rule<", "-> Result<", path.read_text())
        path.write_text(text.replace("-> Rule {", "-> Result<Done> {"))
    mutants = []
    for mutant in cargo_mutants(work.tree, folders or FOLDERS):
        if mutant["genre"] == "FnValue" and "Result<Done>" in (mutant["function"] or {}).get("return_type", ""):
            values = [f"Ok(Done::{how})" for how in ("Applied", "Merged")]
            name = mutant["name"].rsplit(" with ", 1)[0]
            mutants += [{**mutant, "replacement": value, "name": f"{name} with {value}"} for value in values]
        else:
            mutants.append(mutant)
    copy_sources(work.tree)
    # What only warns in the product must not stop the mutants.
    manifest = work.tree / "Cargo.toml"
    manifest.write_text(re.sub(r'= "(deny|warn)"', '= "allow"', manifest.read_text()))
    work.save("list.json", mutants)
    (work.path / "without").write_text("")
    print(len(mutants), "mutants")


def tool(*args, **more):
    command = ["cargo", "run", "--quiet", "-p", "tarn-mutants", "--", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, **more).stdout


def build(work, suite):
    """Until it compiles: what an error is about is left out."""
    without = work.path / "without"
    while True:
        placed = tool("rewrite", work.path / "list.json", work.sources, work.tree, without)
        (work.path / "placed").write_text(placed)
        command = ["cargo", "test", *SUITES[suite][0], "--no-run", *OPTIMISED, "--message-format=json"]
        done = subprocess.run(command, cwd=work.tree, stdout=subprocess.PIPE, text=True)
        messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode == 0:
            break
        errors = [json.dumps(message) for message in messages if message["reason"] == "compiler-message"]
        blamed = tool("blame", work.tree, input="\n".join(errors) + "\n")
        print("left out:", len(blamed.split()), flush=True)
        if set(map(int, blamed.split())) <= work.numbers("without"):
            sys.exit("it does not compile, and no mutant is to blame")
        without.write_text(without.read_text() + blamed)
    binaries = work.load("binaries.json", {})
    made = [message["executable"] for message in messages if message.get("executable") and message["profile"]["test"]]
    work.save("binaries.json", {**binaries, suite: made[-1]})


def confine():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    os.nice(10)


def lines_of(child, until):
    """What it prints, line by line, and at the end what is no line; None when the time is over."""
    rest = b""
    os.set_blocking(child.stdout.fileno(), False)
    while True:
        left = until - time.monotonic()
        if left <= 0:
            yield None
            return
        if not select.select([child.stdout], [], [], left)[0]:
            continue
        data = child.stdout.read()
        *lines, rest = (rest + (data or b"")).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)
        if data == b"":
            return


def watch(work, args, suite, env, seconds, is_bad):
    """Runs to the end, to a line that is bad, or until the time is over: survived, killed or timeout, and why."""
    env = {**os.environ, "RUST_BACKTRACE": "0", "PROPTEST_MAX_SHRINK_ITERS": "0", **env}
    env.pop("TARN_TEST_POSTGRES", None)
    folder = work.tree / SUITES[suite][1]
    child = subprocess.Popen(args, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                             start_new_session=True, preexec_fn=confine)
    try:
        for line in lines_of(child, time.monotonic() + seconds):
            if line is None:
                return "timeout", ""
            if is_bad(line):
                return "killed", line
        code = child.wait(10)
        return ("survived", "") if code == 0 else ("killed", f"ended with {code}")
    finally:
        # With what it started.
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        child.stdout.close()


def is_failure(line):
    return line.startswith("test ") and line.endswith("FAILED")


def is_failing_seed(line):
    return line.startswith("seed ") and " fails: " in line


def record(work, args, suite, env):
    """How long it takes, and which mutants it comes to; None if it fails without any."""
    path = work.path / "reached"
    path.unlink(missing_ok=True)
    begun = time.monotonic()
    verdict, _ = watch(work, args, suite, {**env, "TARN_MUTANTS_REACHED": str(path)}, 3600, lambda line: False)
    return (time.monotonic() - begun, sorted(work.numbers("reached"))) if verdict == "survived" else None


def reach(work, suite):
    binary, reached = work.load("binaries.json")[suite], {}
    listed = subprocess.run([binary, "--list"], check=True, capture_output=True, text=True, cwd=work.tree / SUITES[suite][1])
    names = [line.removesuffix(": test") for line in listed.stdout.splitlines() if line.endswith(": test")]
    for name in names:
        if name.startswith(APART):
            continue
        found = record(work, [binary, name, "--exact", "--test-threads=1"], suite, {})
        if found is None:
            print("fails by itself:", name)
        elif found[1]:
            reached[name] = found
    work.save(f"reach-{suite}.json", reached)
    print(suite, len(reached), "tests come to mutants")


def is_dead(verdicts):
    return any(verdict in ("killed", "timeout") for verdict in verdicts.values())


def todo(work, suite, folder, has_more=lambda mutant: False):
    done = work.results()
    rest = [mutant for mutant in work.mutants(folder) if not is_dead(done.get(mutant, {}))]
    return [mutant for mutant in rest if suite not in done.get(mutant, {}) or has_more(mutant)]


def batches(tests):
    """In their order, but slow ones at the end, each by itself."""
    quick = [name for took, name in tests if took <= QUICK_SECONDS]
    slow = [[name] for took, name in sorted(tests) if QUICK_SECONDS < took <= SLOW_SECONDS]
    parts = [quick[:FIRST], quick[FIRST:NEXT], quick[NEXT:]]
    return [part for part in parts if part] + slow


def each(work, suite, mutants, attempt):
    """Tries several at a time: those that fail mostly wait for something that never comes."""

    def one(mutant):
        work.note(mutant, suite, *attempt(mutant))

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(one, mutants))


class Tests:
    """Which tests come to a mutant: first those that noticed most others of its file, then those that come to few."""

    def __init__(self, work, suite):
        self.by_mutant, self.noticed, self.tried = {}, {}, {}
        self.files = {number: mutant["file"] for number, mutant in enumerate(work.load("list.json"), 1)}
        for name, (took, numbers) in sorted(work.load(f"reach-{suite}.json").items(), key=lambda test: len(test[1][1])):
            for number in numbers:
                self.by_mutant.setdefault(number, []).append((took, name))
        for row in work.rows():
            if row["suite"] == suite:
                self.note(row["mutant"], row["why"], row.get("tests", 0))

    def note(self, mutant, why, tests):
        self.tried[mutant] = max(tests, self.tried.get(mutant, 0))
        if why.startswith("test "):
            self.noticed.setdefault(self.files[mutant], Counter())[why.split()[1]] += 1

    def of(self, mutant):
        noticed = self.noticed.get(self.files[mutant], Counter())
        return sorted(self.by_mutant.get(mutant, []), key=lambda test: -noticed[test[1]])[:TESTS_MAX]

    def has_more(self, mutant):
        return self.tried.get(mutant, 0) < len(self.of(mutant))


def run(work, suite, folder):
    binary, all_tests = work.load("binaries.json")[suite], Tests(work, suite)

    def attempt(mutant):
        tests = all_tests.of(mutant)
        result = ("survived" if tests else "unreached"), ""
        for batch in batches(tests):
            takes = sum(took for took, name in tests if name in batch)
            args = [binary, "--exact", "--test-threads=3", *batch]
            result = watch(work, args, suite, {"TARN_MUTANT": str(mutant)}, WAIT_SECONDS + 8 * takes, is_failure)
            if result[0] != "survived":
                break
        all_tests.note(mutant, result[1], len(tests))
        return *result, len(tests)

    each(work, suite, todo(work, suite, folder, all_tests.has_more), attempt)


def seeds(work, folder, count):
    args = [work.load("binaries.json")["sim"], "--exact", SEEDS_TEST, "--nocapture", "--test-threads=1"]
    env = {"TARN_SIM_START": "1", "TARN_SIM_SEEDS": count}
    if work.load("reach-seeds.json") is None:
        work.save("reach-seeds.json", record(work, args, "sim", env))
    takes, numbers = work.load("reach-seeds.json")

    def attempt(mutant):
        if mutant not in numbers:
            return "unreached", ""
        return watch(work, args, "sim", {**env, "TARN_MUTANT": str(mutant)}, 60 + 5 * takes, is_failing_seed)

    each(work, "seeds", todo(work, "seeds", folder), attempt)


def left(work, folder):
    done, count = work.results(), {}
    for mutant, name in work.mutants(folder).items():
        verdicts = done.get(mutant, {})
        last = list(verdicts.items())[-1] if verdicts else ("nothing", "not tried")
        count[last] = count.get(last, 0) + 1
        if not is_dead(verdicts):
            print(mutant, name, verdicts)
    print(count)


def main(what, work, *args):
    work = Work(work)
    if what == "list":
        make_list(work, args)
    elif what in ("build", "reach"):
        for suite in args:
            {"build": build, "reach": reach}[what](work, suite)
    else:
        {"run": run, "seeds": seeds, "left": left}[what](work, *args)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])

"""The mount as a service of a real systemd, in a virtual machine: both units of docs/systemd.md, their daemons killed again and again under load."""
import json
import os
import re
import secrets
import shutil
import sys
from pathlib import Path

from torture_crash import check
from torture_house import BIN, Failed, must
from torture_vm import Machine

HERE = Path(__file__).resolve().parent
UNITS = ("system", "user")
# On this machine. A machine that has much else to do may ask for less.
PAUSE_MS = int(os.environ.get("TARN_PAUSE_MS", "2000"))
# In a Linux in user mode each page fault and system call is a process switch or two: a daemon's start takes 1.8 s of processor there.
GUEST_SLOWER = 2
QUIET_SECONDS = 5


def systemd(house, args):
    """With a stub of systemd on this machine, and with a real one in a virtual machine: programs go on through the kills, and through `tarn restart`; then the service is stopped, started and ended in each way."""
    here = check(house, args, "programs_go_on_when_systemd_starts", TARN_SURVIVE_KILLS=args.kills)
    longest = int(re.search(r"the longest pause (\d+) ms", here)[1])
    if longest > PAUSE_MS:
        raise Failed(f"a pause of {longest} ms: {here}")
    staged = house.place / "staged"
    shutil.copytree(HERE / "guest", staged, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HERE.parent / "docs/systemd.md", staged)
    for name in ("tarn", "tarn-server"):
        must("strip", "--strip-debug", "-o", staged / name, BIN / name)
    settings = dict(kills=args.kills, seed=args.seed, password=secrets.token_hex(16), pause_seconds=GUEST_SLOWER * PAUSE_MS / 1000, quiet_seconds=QUIET_SECONDS, units=UNITS)
    (staged / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    machine = house.enter(Machine(house.place, staged))
    shutil.rmtree(staged)
    machine.run(args.minutes * 60, lambda line: print(f"   {line}", file=sys.stderr, flush=True))
    result = json.loads(machine.file("result.json") or "{}")
    return f"with a stub, on this machine: {here}; seed {args.seed}: systemd {result.get('systemd')}, Linux {result.get('kernel')}; " + "; ".join(f"{kind} unit: {of(result, kind, machine)}" for kind in UNITS)


def of(result, kind, machine):
    """The figures of one unit."""
    outcome = result.get(kind) or dict(error=f"the machine went off before: {machine.said()[-1500:]}")
    if "error" in outcome:
        for name, text in {"journal": outcome.get("journal", ""), **outcome.get("logs", {})}.items():
            print(f"---- {name}\n{text}", file=sys.stderr, flush=True)
        raise Failed(f"{kind} unit: {outcome['error']}")
    return outcome["figures"]

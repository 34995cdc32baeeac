"""The checker of tests/src/crash, for longer than the default tests have."""
import os
import subprocess
from pathlib import Path

from torture_house import BIN, Failed


def crash(house, args):
    """Every call that returned is there after each of the kills, with contents dropped and fetched meanwhile."""
    return check(house, args, "every_call_that_returned_survives", TARN_CRASH_KILLS=args.kills)


def power(house, args):
    """Every call that was synced is there after each of the power cuts, on ext4 and on XFS."""
    return "; ".join(f"{kind}: " + check(house, args, f"every_call_that_was_synced_survives_power_cuts_on_{kind}", TARN_CRASH_CUTS=args.kills)
                     for kind in ("ext4", "xfs"))


def server(house, args):
    """What the server acknowledged to two devices is there after each of the kills, and of the power cuts on ext4 and on XFS."""
    kills = check(house, args, "what_was_acknowledged_survives_kills_on_sqlite", TARN_SERVER_KILLS=args.kills)
    cuts = [f"{kind}: " + check(house, args, f"what_the_server_acknowledged_survives_power_cuts_on_{kind}", TARN_SERVER_CUTS=args.kills)
            for kind in ("ext4", "xfs")]
    return "; ".join([f"kills: {kills}", *cuts])


def contents(_, args):
    """Random changes, fetches, evictions and kills of one content, 100 sequences for each kill, end as in a vector of bytes."""
    cases = args.kills * 100
    command = ["cargo", "test", "--quiet", "--locked", "-p", "tarn", "--lib", "--", "content::tests::model"]
    lines = cargo(command, PROPTEST_CASES=cases)
    if not any("test result: ok." in line for line in lines):
        raise Failed("\n".join(lines[-60:]))
    return f"{cases:,} sequences of each size"


def survive(house, args):
    """Programs that use a mount while its daemon is killed again and again see pauses and nothing else."""
    ways = ("with_passthrough", "without_passthrough")
    return "; ".join(f"{way}: " + check(house, args, f"programs_see_a_pause_and_nothing_else_when_daemons_are_killed_{way}",
                                        TARN_SURVIVE_KILLS=args.kills) for way in ways)


def devices(house, args):
    """Five devices at random work in one tree end equal and lose nothing, after each of the kills of daemons and server."""
    return check(house, args, "five_devices_that_are_killed_at_random_work_end_equal_and_lose_nothing",
                 TARN_DEVICES_KILLS=args.kills, TARN_DEVICES_SECONDS=args.spread)


def check(house, args, test, *more, **given):
    command = ["cargo", "test", "--quiet", "--locked", "-p", "tarn-tests", "--test", "e2e", "--", test, "--nocapture", *more]
    lines = cargo(command, TARN_BIN_DIR=BIN, TMPDIR=house.place, TARN_CRASH_SEED=args.seed, **given)
    figures = next((line for line in lines if line.startswith("Figures")), None)
    if figures is None or not any("test result: ok." in line for line in lines):
        raise Failed("\n".join(lines[-30:]))
    return f"seed {args.seed}: {figures}"


def cargo(command, **given):
    """The lines that it prints."""
    env = {**os.environ, **{name: str(value) for name, value in given.items()}}
    done = subprocess.run(command, cwd=Path(__file__).resolve().parent.parent, env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return [line for line in done.stdout.splitlines() if " INFO " not in line]

"""`python -m tests.simulation`: years of bad luck in minutes. `python -m bridge simulate` starts it.

Every closing line is made for scripts; the exit code is 0 only if nothing failed.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys

USAGE = "python -m bridge simulate"


def main() -> int:
    """Run what was asked for."""
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is part of a story
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])  # noqa: S606 - ourselves again
    wanted = _arguments()
    if wanted.orderings:
        from tests.simulation.orderings import campaign as orderings

        return orderings.replay(wanted.path) if wanted.path else orderings.run(wanted.depth, wanted.workers)
    if wanted.seed is not None:
        gc.disable()  # until the story has ended: imports throw nothing away, and looking costs a quarter of their time
    from tests.simulation import campaign

    if wanted.seed is not None:
        return campaign.replay(wanted.seed, wanted.kept, telling=wanted.trace)
    first = campaign.seed_of_the_commit() if wanted.first is None else wanted.first
    if wanted.planted:
        from tests.simulation import against_tests, planted_bugs

        if wanted.against_tests:
            return against_tests.run(wanted.bug)
        return planted_bugs.run(first, wanted.bug, wanted.workers)
    minutes = 1.0 if wanted.minutes is None and wanted.seeds is None else wanted.minutes
    extent = campaign.Extent(first, wanted.seeds, minutes, wanted.workers, wanted.stop, not wanted.plainly)
    return campaign.run(extent)


def _arguments() -> argparse.Namespace:
    reader = argparse.ArgumentParser(prog=USAGE, description="The real bridge under simulated time and bad luck.")
    what = reader.add_mutually_exclusive_group()
    what.add_argument("--minutes", type=float, help="new seeds for so long")
    what.add_argument("--seeds", type=int, help="so many new seeds")
    what.add_argument("--seed", type=int, help="one seed, again")
    what.add_argument("--orderings", action="store_true", help="every ordering around one transfer, not a sample")
    reader.add_argument("--path", help="with --orderings: one path again, as a violation names it")
    reader.add_argument("--depth", type=int, default=10, help="with --orderings: events one after another")
    what.add_argument("--planted", action="store_true", help="plant each bug in a copy; the oracle has to name it")
    reader.add_argument("--against-tests", action="store_true", help="with --planted: whom make test lets pass")
    reader.add_argument("--bug", default="", help="with --planted: only those whose name holds one of these, by commas")
    reader.add_argument("--first", type=int, help="the first seed (default: drawn from the commit)")
    reader.add_argument("--trace", action="store_true", help="with --seed: tell the story")
    reader.add_argument("--kept", help="with --seed: only these decisions, with commas between them")
    reader.add_argument("--stop", action="store_true", help="end at the first seed that fails")
    reader.add_argument("--plainly", action="store_true", help="do not shrink what fails")
    reader.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes side by side")
    wanted = reader.parse_args()
    if wanted.against_tests and not wanted.planted:
        reader.error("--against-tests is a question about --planted")
    return wanted


if __name__ == "__main__":
    sys.exit(main())

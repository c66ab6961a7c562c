"""The demo: real processes, two providers that lie, and then every cent is accounted for.

1. Two simulated providers, one a protocol, web and jobs are started on a fresh SQLite file.
2. Players move money in and out over the API, every other transfer through the other provider, while they win and
   lose there. The planned part of the transfers meets faults; some players are called home in the end.
3. When none is pending, nothing is half done at a provider and every callback is acted on, all is stopped and our
   database is compared with each provider's own ledger file, player by player and currency by currency.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from threading import Thread

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bridge import keys
from bridge.demo import comparison, report
from bridge.demo.casino import Casino
from bridge.demo.plan import CURRENCIES, Gambler, plan
from bridge.doctor import CannotStart
from bridge.runtime import SystemClock
from bridge.up import GENERIC, OPERATOR, QTECH, SIMULATED, Stack, Tables, interrupt_once
from bridge.verify import verify

ALL_SECONDS = 165.0
"""The demo ends by itself: what is not finished by then is a failure, and stopping takes a few seconds more."""

LOOK_SECONDS = 0.5
LINE_EVERY_SECONDS = 5.0

OF_EACH = {
    "currencies": tuple(CURRENCIES),
    "patience_seconds": 30,
    "lane_policy": "allow",  # an orphan must not keep its player from playing on
    "breaker_share": 0.9,  # of so many faults chance alone would make an outage now and then
}
TABLES: Tables = {
    "web": {"threads": 64},
    "engine": {"poll_seconds": (0, 1, 2, 3, 3, 3, 5, 5, 10, 30)},
    "currencies": {"BTC": 8},
    f"providers.{QTECH.name}": OF_EACH,
    f"providers.{GENERIC.name}": {
        **OF_EACH,
        "transfer_seconds": 4,
        "lookup_seconds": 3,
        "absent_after_seconds": 15,  # the contract says 60; this simulator ends after 10 what it has begun
        "absent_apart_seconds": 3,
        "final_after_seconds": 3,
        "settle_seconds": 2,
    },
}


def run(seed: int | None, transfers: int, players: int, folder: Path | None) -> int:
    """The whole demo; 0 only if nothing is unexplained and everything was shown. Raises doctor.CannotStart."""
    out = Console(highlight=False, soft_wrap=True, markup=False)
    chosen = secrets.randbelow(1 << 32) if seed is None else seed
    gamblers = plan(chosen, transfers, players)
    interrupt_once()
    place = _fresh(folder)
    out.print(f"seed {chosen}: {transfers} transfers of {players} players, files in {place}")
    out.print(_split(gamblers))
    needless = False  # what has failed is there to be looked at
    try:
        code = _show(out, gamblers, chosen, place)
        needless = code == 0
    except KeyboardInterrupt:
        out.print("stopped before the end: nothing was shown")
        code, needless = 1, True
    finally:
        if folder is None and needless:
            shutil.rmtree(place, ignore_errors=True)
    return code


def _show(out: Console, gamblers: list[Gambler], seed: int, place: Path) -> int:
    clock = SystemClock()
    end = clock.monotonic() + ALL_SECONDS
    with Stack(place, 0, TABLES, ("--seed", str(seed))) as stack:
        runtime = stack.runtime()
        keys.add_operator(runtime, OPERATOR)
        _, secret = keys.create(runtime, OPERATOR, [keys.Scope.TRANSFERS, keys.Scope.READ], "demo")
        controls = {name: told["control"] for name, told in stack.told.items()}
        casino = Casino(stack.address, secret, controls, clock)
        threads = casino.play(gamblers)
        _watch(out, stack, casino, threads, sum(len(gambler.moves) for gambler in gamblers), end)
        ledgers = {each.name: stack.ledger(each) for each in SIMULATED}
        while _half_done(place, ledgers) and clock.monotonic() < end:
            clock.sleep(LOOK_SECONDS)
        ended = stack.watch()
        trouble = [*casino.tally.trouble, *([f"{ended.name} ended by itself: {ended.last_words()}"] if ended else [])]
        stack.stop()
        findings = [f"{finding.invariant} {finding.sentence}" for finding in verify(runtime)]
    transfers, accounts = comparison.ours(place / "bridge.db")
    effects = [effect for name, ledger in ledgers.items() for effect in comparison.theirs(name, ledger)]
    outcome = report.Outcome(
        gamblers=gamblers,
        transfers=transfers,
        met={each: cases for ledger in ledgers.values() for each, cases in comparison.faults_met(ledger).items()},
        compared=comparison.compare(transfers, accounts, effects),
        sweeps=casino.tally.sweeps,
        home=casino.tally.home,
        owned={each: units for name, file in ledgers.items() for each, units in comparison.owned(name, file).items()},
        findings=findings,
        trouble=trouble,
    )
    return _tell(out, outcome, place)


def _half_done(place: Path, ledgers: dict[str, Path]) -> bool:
    """Whether a provider has begun what it will yet end, or has told what is not acted on yet."""
    return any(map(comparison.open_at_provider, ledgers.values())) or bool(comparison.unheard(place / "bridge.db"))


def _watch(out: Console, stack: Stack, casino: Casino, threads: list[Thread], total: int, end: float) -> None:
    """Show how far it is until every player has finished, a child dies or the time is over."""
    clock, tally = SystemClock(), casino.tally
    began = line_at = clock.monotonic()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=out, disable=not out.is_terminal) as progress:
        task = progress.add_task("", total=total)
        while any(thread.is_alive() for thread in threads) and stack.watch() is None and clock.monotonic() < end:
            clock.sleep(LOOK_SECONDS)
            states = ", ".join(f"{tally.ended[state]} {state}" for state in report.STATES)
            line = f"{tally.begun} of {total} begun: {states}, {tally.begun - tally.ended.total()} open"
            progress.update(task, completed=tally.ended.total(), description=line)
            if not out.is_terminal and clock.monotonic() >= line_at:
                out.print(f"{clock.monotonic() - began:4.0f} s  {line}")
                line_at = clock.monotonic() + LINE_EVERY_SECONDS
    casino.over.set()


def _tell(out: Console, outcome: report.Outcome, place: Path) -> int:
    parts = (report.kind_lines, report.sweep_lines, report.orphan_lines, report.currency_lines)
    for line in (line for part in parts for line in part(outcome)):
        out.print(line)
    failed = list(report.failures(outcome))
    for sentence in failed:
        out.print(f"FAILED: {sentence}")
    if failed:
        out.print(f"the files of it are left in {place}")
    out.print(report.last_line(outcome))
    return 1 if failed else 0


def _split(gamblers: list[Gambler]) -> str:
    """How many transfers go through which provider, in words."""
    through = Counter(move.provider for gambler in gamblers for move in gambler.moves)
    return " and ".join(f"{through[each.name]} by {each.words} (provider {each.name})" for each in SIMULATED)


def _fresh(folder: Path | None) -> Path:
    """The folder that was named, or one that is made for this. Raises CannotStart for a used one."""
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="bridge-demo-"))
    if folder.exists() and any(folder.iterdir()):
        raise CannotStart(f"{folder} is not empty: a demo starts from nothing.")
    return folder

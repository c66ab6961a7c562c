"""A provider's name is given to another one: another process, configured so, on the same database."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.harness import PROVIDER, Bench, Hands
from tests.transfers.scripted_one import LOST, SILENT, ScriptedOne

ELSEWHERE = "https://new.provider.example/wallet"
START = 100_000


def repointed(made: Bench, adapter: Any, **changes: Any) -> Bench:
    """Another process on the same database, configured with another provider under the same name."""
    policy = made.runtime.config.providers[PROVIDER].model_copy(update={"base_url": ELSEWHERE, **changes})
    config = made.runtime.config.model_copy(update={"providers": {PROVIDER: policy}})
    runtime = replace(made.runtime, config=config, providers={PROVIDER: adapter}, worker="repointed")
    return Bench(runtime, made.operator, made=made.made + 500)


def work(made: Bench, hands: Hands, seconds: int, step: int = 10) -> None:
    """So long its jobs run."""
    for _ in range(seconds // step):
        hands.turn(step)
        made.resolve_due()


def in_doubt(made: Bench, one: ScriptedOne, direction: str = "in") -> str:
    """A transfer that was executed, and whose answer is lost."""
    one.script, one.asked = [LOST], [SILENT] * 3
    return made.run(direction)

"""What a run has met: each kind of fault, each deed of people, each case of a provider's mistakes. What never came
where it had to is an error of the simulation: it is dead, and no story shows any more what it was to show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bridge.simulator.faults.cases import TABLES
from tests.simulation.lies import shown_cases
from tests.simulation.swarm import DEEDS, KINDS

HAD_TO = 12
"""What usually comes in so many of the seeds told, and came in none, is missing; chance alone does that once in a
hundred thousand runs."""

ENOUGH_FOR_CASES = 2000
"""From so many seeds on each case of a provider's mistakes has to have been shown; each has its own share of them."""

RARE_CASES = {
    29: "an old balance: one is asked for in a sweep alone, and has to have changed within the last seconds",
    30: "two debits that both pass: a lane lets two at once through only where one of them is a sweep",
}
"""Cases of either table that need two things which seldom come together."""

SEEDS_OF_A_THOUSAND: dict[str, int] = {
    "crash": 414, "pause": 371, "name_unknown": 32, "connection_refused": 102, "request_lost": 335,
    "request_delayed": 367, "request_twice": 300, "response_lost": 347, "response_delayed": 359,
    "response_reset": 296, "response_cut": 202, "response_dripping": 256, "response_garbled": 190, "edge_down": 217,
    "client_request_lost": 241, "client_answer_lost": 378, "commit_failed": 382, "commit_unknown": 414,
    "crash_before_commit": 229, "crash_after_commit": 292, "pause_after_commit": 474, "statement_failed": 288,
    "provider_crash": 75, "provider_clock": 159, "provider_lies": 359, "bet_in_between": 418, "callback_lost": 132,
    "callback_delayed": 182, "callback_repeated": 121, "callbacks_silent": 125, "clock_skew": 198,
    "clock_jump": 206, "double_click": 378, "key_reused": 252, "impatient": 390, "cancelled": 386,
    "switched_off": 198, "proposed": 113, "rejected": 25, "decided confirm": 75, "decided reverse": 20,
    "decided split": 10, "decided write_off": 6, "decided claw_back": 6, "regretted": 426,
    "cut_off": 220, "exposure_cap": 20, "lane_unresolved": 60,
}  # fmt: skip
"""In how many of a thousand seeds each kind of fault, and each deed, comes at least once: as counted, less what chance
may have added. Who makes one of them rarer counts anew: a run prints in how many of its seeds each came."""

KNOWN = {**{kind: story for kind, (_, story) in KINDS.items()}, **DEEDS}
CASES = {f"{protocol} case {number}": number for protocol in TABLES for number in shown_cases(protocol)}


@dataclass
class Tally:
    """How many seeds were told, how often each thing came in them, and in how many of them."""

    seeds: int = 0
    times: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)

    def add(self, counts: Mapping[str, int]) -> None:
        """One more seed."""
        self.seeds += 1
        self.times.update(counts)
        self.met.update(kind for kind, times in counts.items() if times)

    def missing(self) -> list[str]:
        """What never came, and had to by now."""
        kinds = [kind for kind in KNOWN if self.seeds * SEEDS_OF_A_THOUSAND[kind] >= HAD_TO * 1000]
        if self.seeds >= ENOUGH_FOR_CASES:
            kinds += [case for case, number in CASES.items() if number not in RARE_CASES]
        return [kind for kind in kinds if not self.met[kind]]

    def lines(self) -> Iterator[str]:
        """How often each kind and each deed came, and in how many seeds; what did not, and had to."""
        for kind, story in KNOWN.items():
            yield f"  {self.times[kind]:>8} in {self.met[kind]:>5}  {kind:<20} {story}"
        unseen = [case for case in CASES if not self.met[case]]
        told = f"{len(CASES) - len(unseen)} of {len(CASES)} cases of providers' mistakes"
        yield f"  {told}{', not ' if unseen else ''}{', '.join(unseen)}"
        yield from (f"FAILED {kind} never happened" for kind in self.missing())

"""Swarm testing: each seed lets a random half of the fault kinds happen, at rates of its own."""

from __future__ import annotations

from collections import Counter
from random import Random

FIRST_KINDS: dict[str, tuple[float, str]] = {
    # the processes
    "crash":               (0.35,  "a process is killed at a yield point"),
    "pause":               (0.35,  "a process stands still for up to ten minutes"),
    # the network between us and a provider
    "name_unknown":        (0.01,  "the provider's name is not resolved"),
    "connection_refused":  (0.02,  "the connection is refused"),
    "request_lost":        (0.04,  "the request never arrives"),
    "request_delayed":     (0.04,  "the request arrives up to forty seconds late"),
    "request_twice":       (0.03,  "the request arrives a second time"),
    "response_lost":       (0.05,  "it was done, and the answer never comes"),
    "response_delayed":    (0.04,  "the answer comes up to thirty seconds late"),
    "response_reset":      (0.03,  "the connection is reset in place of an answer"),
    "response_cut":        (0.02,  "the connection ends inside the answer"),
    "response_dripping":   (0.02,  "the answer comes byte by byte"),
    "response_garbled":    (0.02,  "the answer is not what was sent: broken, empty, a page for people"),
    "edge_down":           (0.01,  "what stands before the provider answers in its place for some minutes"),
    # the network between a client and us
    "client_request_lost": (0.02,  "the client's request never reaches us"),
    "client_answer_lost":  (0.04,  "our answer never reaches the client"),
    # the database
    "commit_failed":       (0.02,  "a commit fails and is not durable"),
    "commit_unknown":      (0.02,  "a commit is durable, and its acknowledgement is lost"),
    "crash_before_commit": (0.006, "the process is killed right before a commit"),
    "crash_after_commit":  (0.012, "the process is killed right after a commit"),
    "pause_after_commit":  (0.02,  "the process stands still right after a commit, before its request leaves"),
    "statement_failed":    (0.0006, "a statement fails"),
    # the provider
    "provider_crash":      (0.006, "the provider is killed between its ledger and its answer, and comes up again"),
    "provider_clock":      (0.25,  "the provider's clock is minutes away"),
    "provider_lies":       (1.0,   "the provider errs as its protocol's case table says"),
    "bet_in_between":      (0.06,  "the player wins or loses while money moves"),
    # callbacks
    "callback_lost":       (0.06,  "a callback is lost on its way"),
    "callback_delayed":    (0.06,  "a callback is a minute to a day late"),
    "callback_repeated":   (0.06,  "a callback comes up to twenty times"),
    "callbacks_silent":    (0.40,  "no callback of a provider comes through before the world heals"),
    # clocks of ours
    "clock_skew":          (0.20,  "a process's clock is off, within the bound or beyond it"),
    "clock_jump":          (0.15,  "a process's clock is set, by up to an hour, either way"),
    # clients and people
    "double_click":        (0.10,  "a client sends the same request twice at once"),
    "key_reused":          (0.05,  "a client sends another body under a key of its"),
    "impatient":           (0.15,  "a client does not wait for the end"),
    "cancelled":           (0.20,  "the operator wishes a transfer cancelled"),
    "switched_off":        (0.30,  "people close a provider for transfers in, in the middle of things"),
}  # fmt: skip
LATER_KINDS: dict[str, tuple[float, str]] = {
    "cut_off":             (0.04,  "from a money request on nothing reaches the provider for minutes, nor its repeat"),
}  # fmt: skip
KINDS = FIRST_KINDS | LATER_KINDS
"""Each kind with its highest rate and what it is."""

DEEDS: dict[str, str] = {
    "proposed":            "a person proposes what is to become of an orphan",
    "rejected":            "another person rejects it",
    "decided confirm":     "another person approves it, and it is carried out: the money has arrived",
    "decided reverse":     "likewise: it has not",
    "decided split":       "likewise: a part of it has",
    "decided write_off":   "likewise: both sides have it, and the house bears it",
    "decided claw_back":   "likewise: both have it, and the game gives it back",
    "regretted":           "people at a provider take back what was done, also what was decided",
    "exposure_cap":        "a client is told that its transfer does not fit under the cap",
    "lane_unresolved":     "a client is told that an earlier transfer of its player has to end first",
}  # fmt: skip
"""What people do at the desk, and what clients meet. No faults, and no rates; but what never comes about is not shown
by any story."""


class Swarm:
    """What one seed lets happen, and how often; `counts`: what did. `only`: these kinds alone, each as often as it may,
    and clocks that are off by no more than `/readyz` allows; where there are none, nobody overtakes anybody either.
    """

    def __init__(self, seed: int, only: frozenset[str] | None = None) -> None:
        dice = Random(f"{seed}/swarm")
        self.counts: Counter[str] = Counter()
        self._rates = {}
        for kind, (most, _) in FIRST_KINDS.items():
            rate = most * dice.choice((0.3, 1.0, 1.0)) if dice.random() < 0.5 else 0.0
            self._rates[kind] = rate if only is None else most * (kind in only)
        for kind, (most, _) in LATER_KINDS.items():  # each by dice of its own: the older kinds fall as they ever fell
            own = Random(f"{seed}/swarm/{kind}")
            self._rates[kind] = most * (own.random() < 0.5 if only is None else kind in only)
        self.mild = only is not None
        self.overtaken = dice.choice((0.0, 0.02, 0.06)) if only is None or only else 0.0
        self.unrest = self.overtaken + dice.choice((0.0005, 0.002, 0.004))
        pause, crash = self._rates["pause"], self._rates["crash"]
        self.share_of_pauses = pause / (pause + crash) if pause else 0.0
        if not pause and not crash:
            self.unrest = self.overtaken

    def rate(self, kind: str) -> float:
        """How often a kind happens where it may, from 0 to 1."""
        return self._rates[kind]

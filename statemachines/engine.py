"""The one place that knows `transitions`: a table of edges becomes a calculator.

State + trigger + facts go in, the next state or an exception comes out. No row is touched and nothing
is called back: `transitions` leaves a changed state behind a failing callback and answers a refused
guard with a silent `False`, so neither may come near money.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from transitions import Machine, MachineError

Guard = Callable[[Any], bool]


class MoveRefused(Exception):
    """The table does not allow this move."""

    def __init__(self, machine: str, state: str, trigger: str, why: str) -> None:
        self.machine, self.state, self.trigger, self.why = machine, state, trigger, why
        super().__init__(f"{machine}: '{trigger}' from '{state}' is refused: {why}")


class NoSuchMove(MoveRefused):
    """No edge leaves this state by this trigger."""


class GuardRefused(MoveRefused):
    """There is an edge, but its guard says that the facts do not carry it."""


@dataclass(frozen=True)
class Edge:
    """One row of a table: `trigger` moves `source` to `target`, only when `guard(facts)` is true."""

    trigger: str
    source: StrEnum
    target: StrEnum
    guard: Guard

    @property
    def condition(self) -> str:
        """The guard's name in words: the label of the edge in the diagram."""
        return self.guard.__name__.replace("_", " ")


class _Token:
    """What `transitions` moves instead of a row: one state, thrown away after the question."""

    def __init__(self, state: str) -> None:
        self.state = state


class StateMachine:
    """A machine made of `edges`, asked by :meth:`after`; safe to share between threads."""

    def __init__(self, name: str, states: type[StrEnum], edges: tuple[Edge, ...]) -> None:
        self.name, self.states, self.edges = name, states, edges
        self._machine = Machine(
            model=None,
            states=[state.value for state in states],
            initial=next(iter(states)).value,
            auto_transitions=False,  # no to_<state>() back door around the table
            send_event=True,
        )
        for edge in edges:
            self._machine.add_transition(
                edge.trigger, edge.source.value, edge.target.value, conditions=_asks(edge.guard)
            )
        self._known = lru_cache(maxsize=1024)(self._asked)

    def after(self, state: str, trigger: str, facts: Hashable) -> StrEnum:
        """The state that `trigger` leads to; raises NoSuchMove or GuardRefused, never answers `False`.

        A `state` that is none of the machine's is an error of the caller: ValueError. What was answered once is
        remembered: a table of values has one answer to one question.
        """
        return self._known(state, trigger, facts)

    def _asked(self, state: str, trigger: str, facts: Hashable) -> StrEnum:
        event = self._machine.events.get(trigger)
        if event is None:
            raise NoSuchMove(self.name, state, trigger, "there is no such trigger")
        token = _Token(self.states(state).value)
        try:
            moved = event.trigger(token, facts=facts)
        except MachineError as refused:
            raise NoSuchMove(self.name, state, trigger, "no edge leaves this state by it") from refused
        if not moved:
            wants = " or ".join(edge.condition for edge in self.leaving(state) if edge.trigger == trigger)
            raise GuardRefused(self.name, state, trigger, f"only when {wants}")
        return self.states(token.state)

    def leaving(self, state: str) -> tuple[Edge, ...]:
        """The edges that leave `state`; none means that it is final."""
        return tuple(edge for edge in self.edges if edge.source.value == state)

    def mermaid(self) -> str:
        """The table as a mermaid state diagram, drawn from the same rows that decide."""
        rows = [f"    [*] --> {next(iter(self.states)).value}"]
        rows += [
            f"    {edge.source.value} --> {edge.target.value}: {edge.trigger} [{edge.condition}]" for edge in self.edges
        ]
        rows += [f"    {state.value} --> [*]" for state in self.states if not self.leaving(state.value)]
        return "\n".join(["stateDiagram-v2", *rows])


def _asks(guard: Guard) -> Callable[[Any], bool]:
    """Hand a pure guard the facts alone; `transitions` would give it its whole event."""

    def condition(event: Any) -> bool:
        return guard(event.kwargs["facts"])

    return condition

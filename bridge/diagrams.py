"""The page `docs/state-machines.md`, drawn from the tables in `statemachines/`.

Nothing on it is written twice: the picture and the rows come from the edges, the sentences from the
docstrings, and what a state means from the comment beside its name.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import textwrap
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

from statemachines import MACHINES, StateMachine

HEAD = """\
# State machines

Each machine is a table in `statemachines/`; a move that has no row here is refused. This page is written by
`python -m bridge diagrams` from those tables: change the tables, not this page.
"""


def render() -> str:
    """The whole page, as Markdown with mermaid pictures; it ends with a newline."""
    return "\n".join([HEAD, *(_section(machine) for machine in MACHINES)])


def meanings(states: type[StrEnum]) -> dict[str, str]:
    """What each state means: the comment beside its name in the source of `states`.

    Raises LookupError for a state without one, and OSError where the source cannot be read.
    """
    source = textwrap.dedent(inspect.getsource(states))
    (enumeration,) = ast.parse(source).body
    lines = {
        node.targets[0].id: node.end_lineno or node.lineno
        for node in ast.walk(enumeration)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}
    silent = [name for name, line in lines.items() if line not in comments]
    if silent:
        raise LookupError(f"{states.__name__}: no comment says what {', '.join(silent)} means")
    return {states[name].value: comments[line].lstrip("# ") for name, line in lines.items()}


def _section(machine: StateMachine) -> str:
    edges = [
        (f"`{edge.trigger}`", f"`{edge.source.value}`", f"`{edge.target.value}`", edge.condition)
        for edge in machine.edges
    ]
    states = [(f"`{state}`", meaning) for state, meaning in meanings(machine.states).items()]
    return "\n".join([
        f"## {machine.name.capitalize()}",
        "",
        _first_sentence(inspect.getmodule(machine.states)),
        "",
        "```mermaid",
        machine.mermaid(),
        "```",
        "",
        *_table(("trigger", "from", "to", "only when"), edges),
        "",
        _first_sentence(machine.states),
        "",
        *_table(("state", "meaning"), states),
        "",
    ])  # fmt: skip


def _first_sentence(documented: object) -> str:
    sentence = re.match(r".+?\.(?=\s|$)", " ".join((documented.__doc__ or "").split()))
    if sentence is None:
        raise LookupError(f"{documented!r} has no docstring that begins with a sentence")
    return sentence.group()


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a Markdown table whose columns also stand in line as plain text."""
    cells = [head, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return (f"| {line} |" for line in lines)

"""Which test shows which claim: read from the tests' own docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

CLAIM = re.compile(r"\b([IC])-(\d\d)\b")
RANGE = re.compile(r"\b([IC])-(\d\d) to [IC]?-?(\d\d)\b")


def named(docstring: str) -> set[str]:
    """The claims that a docstring names; `I-20 to I-26` names all between."""
    found = {f"{kind}-{number}" for kind, number in CLAIM.findall(docstring)}
    for kind, first, last in RANGE.findall(docstring):
        found |= {f"{kind}-{number:02d}" for number in range(int(first), int(last) + 1)}
    return found


def tests_in(folder: Path) -> Iterator[tuple[str, set[str]]]:
    """(test id, claims) of every test function and test method below `folder`."""
    for path in sorted(folder.rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name.lower().startswith("test"):
                claims = named(ast.get_docstring(node) or "")
                if claims:
                    yield f"{path.relative_to(folder.parent).as_posix()}::{node.name}", claims


def shown(folder: Path) -> dict[str, list[str]]:
    """Claim → the tests that show it."""
    by_claim: dict[str, list[str]] = {}
    for test, claims in tests_in(folder):
        for claim in sorted(claims):
            by_claim.setdefault(claim, []).append(test)
    return by_claim

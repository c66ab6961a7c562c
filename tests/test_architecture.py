"""Who may import whom, read from the source: a file imports only from lines below its own (design §9).

To add a file: put it on a line of LAYERS. To use a package: give it a home. Every rule is a function from
all our modules to sentences; each is shown below to fail, on a small tree that breaks it.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
OURS = ("bridge", "statemachines", "jobs", "benchmarks", "wsgi", "tests")

# Top to bottom. `name.*` is a package with all that is in it; a plain name is that one module. Modules on one
# line do not see each other, unless they are of one package.
LAYERS: list[tuple[str, ...]] = [
    # entry points
    ("wsgi", "jobs.__main__", "benchmarks.*"),  # benchmarks start the tests' PostgreSQL; nothing else sees a test
    ("jobs.shift",),
    ("jobs", "jobs.schedule"),
    ("jobs.*",),  # one file a job
    # composition: the only place that knows everything
    ("bridge.__main__",),
    ("bridge.cli.*",),
    ("bridge.demo.*",),
    ("bridge.up",),
    ("bridge.doctor",),
    ("bridge.app",),
    # the edge: parse → one service call → render
    ("bridge.api.*", "bridge.dashboard.*"),
    ("bridge.decisions_page", "bridge.diagrams", "bridge.settings_page"),
    # services, top
    ("bridge.verify", "bridge.troubles"),
    ("bridge.audit.*",),
    ("bridge.cashier", "bridge.metrics", "bridge.misdated", "bridge.readiness", "bridge.replays"),
    ("bridge.desk.*",),
    ("bridge.views.*",),  # what the pages of the desk read
    ("bridge.deliveries", "bridge.gauges"),
    # transfers; its pure core is held tighter by MAY_SEE and VALUES_ONLY
    ("bridge.transfers", "bridge.transfers.recall"),
    ("bridge.transfers.begin", "bridge.transfers.cancel", "bridge.transfers.decide", "bridge.transfers.stories"),
    ("bridge.transfers.hear",),
    ("bridge.transfers.resolve",),
    ("bridge.transfers.drive",),
    ("bridge.transfers.ending",),
    ("bridge.transfers.advance",),
    ("bridge.transfers.forgotten",),
    ("bridge.transfers.write",),
    ("bridge.transfers.strokes",),
    ("bridge.transfers.rows",),
    ("bridge.transfers.measure", "bridge.transfers.invariants"),
    ("bridge.transfers.core.draft",),
    ("bridge.transfers.core.reasons",),
    ("bridge.transfers.core.contract",),
    ("bridge.transfers.core.one_phase", "bridge.transfers.core.sweep", "bridge.transfers.core.two_phase"),
    ("bridge.transfers.core.steps",),
    ("bridge.transfers.core.fold",),
    ("bridge.transfers.core.hindsight",),
    ("bridge.transfers.core.decisions",),
    ("bridge.transfers.core.proof",),
    ("bridge.transfers.core", "bridge.transfers.core.facts"),
    # what people are told of all that
    ("bridge.alerts.*",),
    # services, bottom
    ("bridge.checks",),
    ("bridge.board",),
    ("bridge.watch",),
    ("bridge.breaks", "bridge.clocks", "bridge.endpoints", "bridge.players", "bridge.lineage"),
    ("bridge.events", "bridge.identity"),
    ("bridge.breaker", "bridge.cases", "bridge.gates", "bridge.guards", "bridge.idempotency", "bridge.inbox",
     "bridge.keys", "bridge.ledger", "bridge.outbox", "bridge.parts", "bridge.relations", "bridge.tallies",
     "bridge.withdrawals"),
    ("bridge.denominations",),
    # adapters
    ("bridge.providers.*",),
    ("bridge.outbound",),
    ("bridge.addresses", "bridge.bounds"),
    ("bridge.runtime",),
    # storage; a migration is history and does not know today's models, only alembic's env.py does
    ("bridge.migrations.env",),
    ("bridge.models.*",),
    ("bridge.stroke",),
    ("bridge.db", "bridge.migrations.*"),
    ("bridge.sqlite",),
    # vocabulary
    ("bridge.config", "bridge.traces"),
    ("bridge.sections",),
    ("bridge.ports", "bridge.problems", "bridge.reasons"),
    ("bridge.evidence", "bridge.forwarded", "bridge.money", "bridge.errors", "bridge.positions", "bridge.log",
     "bridge.webhooks", "bridge"),
    ("statemachines",),
    ("statemachines.transfer", "statemachines.leg", "statemachines.case"),
    ("statemachines.engine",),
]  # fmt: skip

# Stands apart: imports nothing of ours, and nobody imports it.
APART = ("bridge.simulator.*",)

# Tighter than its line: of ours it sees this and nothing else.
PURE_CORE = ("bridge.transfers.core.*", "bridge.positions", "bridge.evidence", "bridge.ports", "statemachines")
MAY_SEE: dict[str, tuple[str, ...]] = {
    "wsgi": ("bridge.app", "bridge.doctor"),
    "bridge.transfers.core.*": PURE_CORE,
    "bridge.providers.*": ("bridge.providers.*", "bridge.outbound", "bridge.runtime", "bridge.config",
                           "bridge.ports", "bridge.evidence", "bridge.money", "bridge.errors", "bridge.log",
                           "bridge.webhooks"),
}  # fmt: skip
NEVER_SEE: dict[str, tuple[str, ...]] = {"jobs.*": ("bridge.api.*", "bridge.cli.*", "bridge.__main__")}

# Functions of values: no row, no clock, no chance. Of the standard library they see this and nothing else.
VALUES_ONLY = ("statemachines.*", "bridge.transfers.core.*", "bridge.positions", "bridge.evidence", "bridge.ports")
VALUE_MODULES = {"__future__", "collections", "dataclasses", "enum", "functools", "itertools", "typing"}

WEB = ("wsgi", "bridge.app", "bridge.api.*", "bridge.dashboard.*")
ROWS = ("bridge.audit.*", "bridge.db", "bridge.sqlite", "bridge.stroke", "bridge.migrations.*", "bridge.models.*",
        "bridge.runtime",
        "bridge.ledger", "bridge.idempotency", "bridge.cases", "bridge.breaker", "bridge.transfers.*", "bridge.cashier",
        "bridge.players", "bridge.keys", "bridge.verify", "bridge.doctor", "bridge.readiness", "bridge.gates",
        "bridge.lineage", "bridge.inbox", "bridge.breaks", "bridge.clocks", "bridge.outbox", "bridge.events",
        "bridge.identity", "bridge.endpoints", "bridge.deliveries", "bridge.replays", "bridge.tallies", "bridge.gauges",
        "bridge.metrics", "bridge.misdated", "bridge.guards", "bridge.views.*", "bridge.desk.*", "bridge.board",
        "bridge.checks", "bridge.watch", "bridge.alerts.*", "bridge.troubles", "bridge.withdrawals",
        "bridge.denominations", "bridge.parts", "bridge.relations")  # fmt: skip
PEERS = ("benchmarks.apps.*",)  # programs that run in .venv-bench, on benchmarks/requirements-peers.txt
PACKAGE_HOMES: dict[str, tuple[str, ...]] = {
    "aiohttp": PEERS,
    "alembic": ("bridge.db", "bridge.migrations.*"),
    "apscheduler": ("jobs.*",),
    "argon2": ("bridge.desk.passwords",),
    "cryptography": ("bridge.desk.keyring", "bridge.audit.signing"),
    "dbos": PEERS,
    "flask": WEB,
    "flask_bootstrap": ("bridge.dashboard.frame",),
    "flask_openapi": ("wsgi", "bridge.app", "bridge.api.*"),
    "granian": ("bridge.up",),
    "orjson": ("bridge.log", "bridge.problems", "bridge.app", "bridge.api.*", "bridge.idempotency",
               "bridge.events", "bridge.audit.*", "bridge.alerts.wording", *PEERS),
    "opentelemetry": ("bridge.traces",),
    "procrastinate": PEERS,
    "prometheus_client": ("bridge.metrics",),
    "psycopg": ("bridge.db", "bridge.stroke", "benchmarks.*"),
    "psycopg_pool": PEERS,
    "pydantic": ("bridge.config", "bridge.sections", "bridge.api.*"),
    "pydantic_settings": ("bridge.config",),
    "pyotp": ("bridge.desk.codes", "benchmarks.desk.people"),
    "requests": ("bridge.outbound",),
    "restate": PEERS,
    "click": ("bridge.cli.*",),
    "rich": ("bridge.cli.*", "bridge.demo.*", "bridge.up", "benchmarks.__main__", "benchmarks.desk.__main__"),
    "sqlalchemy": (*ROWS, "benchmarks.*"),
    "sqlmodel": ROWS,
    "structlog": ("bridge.log",),
    "tenacity": ("bridge.outbound",),
    "transitions": ("statemachines.engine",),
    "webauthn": ("bridge.desk.passkeys",),
    "urllib3": ("bridge.outbound", *PEERS),
    "uuid_utils": ("bridge.runtime",),
    "werkzeug": WEB,
}

# A parameter that nobody reads needs one of these reasons; `module:function` or `module:Class` and all in it.
UNREAD_ON_PURPOSE: dict[str, str] = {
    "bridge.api.events:enable_endpoint": "the signature says that a body may only be empty",
    "bridge.api.events:replay_event": "as above",
    "bridge.api.events:rotate_secret": "as above",
    "bridge.config:Config.settings_customise_sources": "pydantic-settings calls it and fixes the parameters",
    "bridge.ports:Provider": "a port is its signatures",
    "bridge.providers.qtech:QTech.heard": "the port's signature; QTech calls nobody back",
    "bridge.providers.qtech:QTech.kick": "the port's signature; the manual knows no such call",
    "bridge.transfers.advance:Questions": "a port is its signatures",
    "bridge.runtime:Clock": "a port is its signatures",
    "bridge.runtime:Crew": "a port is its signatures",
    "bridge.simulator.provider:Provider": "a port is its signatures",
}

LONGEST_FUNCTION = 60
LONGEST_FILE = 400
LONGEST_TEST_FILE = 700  # tables of cases are long

IMPORT_FUNCTIONS = ("import_module", "__import__")
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(frozen=True)
class Module:
    """One source file, and what it is called when it is imported."""

    name: str
    tree: ast.Module
    lines: int
    is_package: bool

    @property
    def is_test(self) -> bool:
        return covers("tests.*", self.name)


Modules = dict[str, Module]
Rule = Callable[[Modules], Iterator[str]]


def read(root: Path) -> Modules:
    """Every Python file below `root`, hidden folders left out: a file in a new place is found as well."""
    found: Modules = {}
    for folder, below, files in os.walk(root):
        below[:] = [name for name in below if not name.startswith(".") and name != "__pycache__"]
        for path in (Path(folder, file) for file in files if file.endswith(".py")):
            parts = path.relative_to(root).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            source = path.read_text(encoding="utf-8")
            found[name] = Module(name, ast.parse(source), len(source.splitlines()), is_package)
    return dict(sorted(found.items()))


def covers(pattern: str, name: str) -> bool:
    """Whether `name` is the module, or in the package, that `pattern` names."""
    package = pattern.removesuffix(".*")
    return name == package or (pattern != package and name.startswith(package + "."))


def among(patterns: tuple[str, ...], name: str) -> bool:
    """Whether one of the patterns covers `name`."""
    return any(covers(pattern, name) for pattern in patterns)


def line_of(name: str) -> int | None:
    """The line of LAYERS that a module stands on: its own name first, then the narrowest package."""
    spots = [
        (pattern == name, len(pattern), line)
        for line, patterns in enumerate(LAYERS)
        for pattern in patterns
        if covers(pattern, name)
    ]
    return max(spots)[2] if spots else None


def family(name: str) -> str:
    """The package inside which modules of one line may see each other; `bridge` itself is none."""
    first, *rest = name.split(".")
    return ".".join([first, *rest[:1]]) if first == "bridge" else first


def imported(module: Module) -> Iterator[tuple[str, ...]]:
    """What a module imports, wherever the statement stands; for `from a import b`, both `a.b` and `a`."""
    here = module.name.split(".")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name,) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = len(here) - node.level + module.is_package
            base = ".".join([*here[:up], *filter(None, [node.module])]) if node.level else node.module or ""
            yield from ((f"{base}.{alias.name}", base) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in IMPORT_FUNCTIONS:
            name = node.args[0] if node.args else None
            yield (str(name.value) if isinstance(name, ast.Constant) else "?",)


def seen(modules: Modules, module: Module) -> set[str]:
    """The modules of ours that one imports; a name that is no file stays as it was written."""
    ours = [names for names in imported(module) if names[0].split(".")[0] in OURS]
    found = {next((name for name in names if name in modules), names[-1]) for names in ours}
    return found - {module.name}


def product(modules: Modules) -> list[Module]:
    """All but the tests."""
    return [module for module in modules.values() if not module.is_test]


def functions(module: Module) -> Iterator[tuple[str, Function]]:
    """Every function with its dotted name inside the module."""

    def within(node: ast.AST, path: str) -> Iterator[tuple[str, Function]]:
        for child in ast.iter_child_nodes(node):
            name = f"{path}.{getattr(child, 'name', 'lambda')}".lstrip(".")
            if isinstance(child, Function):
                yield name, child
            yield from within(child, name if isinstance(child, Function | ast.ClassDef) else path)

    return within(module.tree, "")


def statements(module: Module) -> list[ast.stmt]:
    """What a module does: its statements, without its docstring and without `from __future__`."""
    body = module.tree.body[1:] if ast.get_docstring(module.tree) else module.tree.body
    return [node for node in body if not (isinstance(node, ast.ImportFrom) and node.module == "__future__")]


# --- the rules --------------------------------------------------------------------------------------------


def every_file_is_placed(modules: Modules) -> Iterator[str]:
    """A file that stands on no line, and not apart, is not placed."""
    for module in product(modules):
        if line_of(module.name) is None and not among(APART, module.name):
            yield f"{module.name} is not placed"


def imports_go_downwards(modules: Modules) -> Iterator[str]:
    """A file imports from lines below its own, or from its own package."""
    for module in product(modules):
        here = line_of(module.name)
        for target in sorted(seen(modules, module)):
            there = line_of(target)
            if here is None or there is None or among(APART, target):
                continue
            if there < here:
                yield f"{module.name} imports upwards: {target}"
            elif there == here and family(module.name) != family(target):
                yield f"{module.name} imports its neighbour {target}"


def what_is_apart_stays_apart(modules: Modules) -> Iterator[str]:
    """Nothing crosses the border of what stands apart, in either direction."""
    for module in product(modules):
        for target in sorted(seen(modules, module)):
            for pattern in APART:
                if covers(pattern, module.name) != covers(pattern, target):
                    yield f"{module.name} imports {target}, but {pattern} stands apart"


def narrow_modules_see_only_what_they_may(modules: Modules) -> Iterator[str]:
    """MAY_SEE and NEVER_SEE hold, beside the lines."""
    for module in product(modules):
        for target in sorted(seen(modules, module)):
            for pattern, allowed in MAY_SEE.items():
                if covers(pattern, module.name) and not among(allowed, target):
                    yield f"{module.name} may not see {target}"
            for pattern, forbidden in NEVER_SEE.items():
                if covers(pattern, module.name) and among(forbidden, target):
                    yield f"{module.name} may never see {target}"


def nobody_imports_a_test(modules: Modules) -> Iterator[str]:
    """The product does not know its tests; the benchmarks, which are no part of it, measure on their server."""
    for module in (each for each in product(modules) if not covers("benchmarks.*", each.name)):
        tests = sorted(name for name in seen(modules, module) if covers("tests.*", name))
        yield from (f"{module.name} imports {name}" for name in tests)


def what_is_imported_exists(modules: Modules) -> Iterator[str]:
    """An import of ours names a file of ours, so that no rule looks past it."""
    for module in product(modules):
        for name in sorted(seen(modules, module)):
            if name not in modules and not covers("tests.*", name):
                yield f"{module.name} imports {name}, which is not there"
        if ("?",) in imported(module):
            yield f"{module.name} imports a module whose name is computed"


def there_is_no_cycle(modules: Modules) -> Iterator[str]:
    """No file imports itself by way of others; inside a package no line would forbid it."""
    try:
        TopologicalSorter({m.name: sorted(seen(modules, m)) for m in modules.values()}).prepare()
    except CycleError as error:
        yield "cycle: " + " → ".join(reversed(error.args[1]))


def every_module_has_a_docstring_and_a_body(modules: Modules) -> Iterator[str]:
    """Each file says what it is for, and does something."""
    for module in modules.values():
        if not ast.get_docstring(module.tree):
            yield f"{module.name} has no docstring"
        if not statements(module) and not module.is_package:
            yield f"{module.name} is empty"


def every_parameter_is_read(modules: Modules) -> Iterator[str]:
    """What a function is given, it reads."""
    for module in product(modules):
        for name, function in functions(module):
            reasons = [key for key in UNREAD_ON_PURPOSE if covers(f"{key}.*", f"{module.name}:{name}")]
            if not reasons:
                yield from (f"{module.name}:{name} never reads '{each}'" for each in unread(function))


def given(arguments: ast.arguments) -> list[ast.arg]:
    """All parameters, without those of a lambda that is somebody's default."""
    named = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    return [*named, *filter(None, (arguments.vararg, arguments.kwarg))]


def unread(function: Function) -> list[str]:
    """The parameters that a function never reads; `self`, `cls` and names with an underscore are exempt."""
    names = [node.arg for node in given(function.args)]
    body = function.body if isinstance(function.body, list) else [function.body]
    nodes = [node for part in body for node in ast.walk(part) if isinstance(node, ast.Name)]
    exempt = {node.id for node in nodes if isinstance(node.ctx, ast.Load)} | {"self", "cls"}
    return [name for name in names if name not in exempt and not name.startswith("_")]


def nothing_is_too_long(modules: Modules) -> Iterator[str]:
    """Files and functions end."""
    for module in modules.values():
        limit = LONGEST_TEST_FILE if module.is_test else LONGEST_FILE
        if module.lines > limit:
            yield f"{module.name} has {module.lines} lines, more than {limit}"
        for name, function in functions(module):
            lines = (function.end_lineno or function.lineno) - function.lineno + 1
            if lines > LONGEST_FUNCTION:
                yield f"{module.name}:{name} has {lines} lines, more than {LONGEST_FUNCTION}"


def each_package_stays_at_home(modules: Modules) -> Iterator[str]:
    """PACKAGE_HOMES holds, and values are made of values."""
    for module in product(modules):
        for package in sorted({names[0].split(".")[0] for names in imported(module)} - {"?", *OURS}):
            if package in sys.stdlib_module_names:
                if among(VALUES_ONLY, module.name) and package not in VALUE_MODULES:
                    yield f"{module.name} is made of values: it may not import {package}"
            elif package not in PACKAGE_HOMES:
                yield f"{module.name} imports {package}, which has no home"
            elif not among(PACKAGE_HOMES[package], module.name):
                yield f"{module.name} imports {package} outside its home"


RULES: list[Rule] = [
    every_file_is_placed,
    imports_go_downwards,
    what_is_apart_stays_apart,
    narrow_modules_see_only_what_they_may,
    nobody_imports_a_test,
    what_is_imported_exists,
    there_is_no_cycle,
    every_module_has_a_docstring_and_a_body,
    every_parameter_is_read,
    nothing_is_too_long,
    each_package_stays_at_home,
]


@pytest.fixture(scope="module")
def ours() -> Modules:
    """The project itself, read once."""
    return read(PROJECT)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_project_keeps(rule, ours):
    """Design §9: every file of the project keeps every rule of the architecture."""
    faults = list(rule(ours))
    assert not faults, "\n".join(faults)


def test_the_project_is_really_read(ours):
    """A rule that reads nothing finds nothing: the folders are there, and imports are seen in them."""
    assert {"bridge.models", "bridge.ports", "statemachines.engine", "tests.test_architecture"} <= set(ours)
    assert {"bridge.ports", "statemachines"} <= seen(ours, ours["bridge.models.transfers"])
    assert ("transitions.Machine", "transitions") in set(imported(ours["statemachines.engine"]))


def test_no_name_stands_on_two_lines():
    """Design §9: a file has one place, so each name is written once."""
    names = [name for line in LAYERS for name in line] + list(APART)
    assert sorted(names) == sorted(set(names))


def test_every_exemption_is_still_needed(ours):
    """An exemption whose function is gone, or reads its parameters by now, is taken off the list."""
    needed = {
        key
        for module in product(ours)
        for name, function in functions(module)
        for key in UNREAD_ON_PURPOSE
        if covers(f"{key}.*", f"{module.name}:{name}") and unread(function)
    }
    assert needed == set(UNREAD_ON_PURPOSE)


def test_every_package_at_home_is_installed_by_our_requirements():
    """A home for a package that nobody pins would hide a missing requirement."""
    files = ("requirements.txt", "constraints.txt", "benchmarks/requirements-peers.txt")
    pinned = "".join((PROJECT / name).read_text(encoding="utf-8") for name in files)
    names = {line.split("==")[0].split("[")[0].lower().replace("-", "_") for line in pinned.splitlines()}
    # What restate-sdk installs is imported as restate, argon2-cffi as argon2, bootstrap-flask as flask_bootstrap.
    names |= {name.removesuffix("_sdk").removesuffix("_cffi") for name in names}
    names |= {f"flask_{name.removesuffix('_flask')}" for name in names}
    assert sorted(set(PACKAGE_HOMES) - names) == []


# --- each rule can fail -----------------------------------------------------------------------------------

LONG = "def long() -> None:\n" + "    print()\n" * 60

VIOLATIONS = {
    "an unplaced file": (
        {"bridge/stray.py": "X = 1"}, "bridge.stray is not placed"),
    "an unplaced file in a new folder": (
        {"tools/stray.py": "X = 1"}, "tools.stray is not placed"),
    "an unplaced file in a package whose files are named one by one": (
        {"bridge/transfers/stray.py": "X = 1"}, "bridge.transfers.stray is not placed"),
    "an upward import": (
        {"bridge/money.py": "from bridge import ledger", "bridge/ledger.py": "X = 1"},
        "bridge.money imports upwards: bridge.ledger"),
    "an upward import inside a function": (
        {"bridge/money.py": "def f() -> None:\n    import bridge.ledger", "bridge/ledger.py": "X = 1"},
        "bridge.money imports upwards: bridge.ledger"),
    "an upward import for types only": (
        {"bridge/money.py": "if TYPE_CHECKING:\n    import bridge.ledger", "bridge/ledger.py": "X = 1"},
        "bridge.money imports upwards: bridge.ledger"),
    "an upward relative import": (
        {"bridge/money.py": "from .ledger import X", "bridge/ledger.py": "X = 1"},
        "bridge.money imports upwards: bridge.ledger"),
    "an upward import by name": (
        {"bridge/money.py": "importlib.import_module('bridge.ledger')", "bridge/ledger.py": "X = 1"},
        "bridge.money imports upwards: bridge.ledger"),
    "an import by a computed name": (
        {"bridge/money.py": "importlib.import_module('bridge.' + 'ledger')", "bridge/ledger.py": "X = 1"},
        "bridge.money imports a module whose name is computed"),
    "an import of a neighbour": (
        {"bridge/ledger.py": "import bridge.cases", "bridge/cases.py": "X = 1"},
        "bridge.ledger imports its neighbour bridge.cases"),
    "an import of what is not there": (
        {"bridge/ledger.py": "import bridge.nowhere"},
        "bridge.ledger imports bridge.nowhere, which is not there"),
    "the bridge importing a job": (
        {"bridge/cli.py": "from jobs.resolve import X", "jobs/resolve.py": "X = 1"},
        "bridge.cli imports upwards: jobs.resolve"),
    "a job importing the edge": (
        {"jobs/resolve.py": "import bridge.api.transfers", "bridge/api/transfers.py": "X = 1"},
        "jobs.resolve may never see bridge.api.transfers"),
    "a migration importing today's models": (
        {"bridge/migrations/versions/0001.py": "import bridge.models", "bridge/models.py": "X = 1"},
        "bridge.migrations.versions.0001 imports upwards: bridge.models"),
    "a machine importing ours": (
        {"statemachines/leg.py": "import bridge.money", "bridge/money.py": "X = 1"},
        "statemachines.leg imports upwards: bridge.money"),
    "an adapter importing a service": (
        {"bridge/providers/a.py": "import bridge.ledger", "bridge/ledger.py": "X = 1"},
        "bridge.providers.a imports upwards: bridge.ledger; bridge.providers.a may not see bridge.ledger"),
    "an adapter importing rows": (
        {"bridge/providers/one.py": "import bridge.models", "bridge/models.py": "X = 1"},
        "bridge.providers.one may not see bridge.models"),
    "the pure core importing rows": (
        {"bridge/transfers/core/fold.py": "import bridge.db", "bridge/db.py": "X = 1"},
        "bridge.transfers.core.fold may not see bridge.db"),
    "the pure core importing a clock": (
        {"bridge/transfers/core/contract.py": "import time"},
        "bridge.transfers.core.contract is made of values: it may not import time"),
    "the simulator importing ours": (
        {"bridge/simulator/qtech.py": "import bridge.money", "bridge/money.py": "X = 1"},
        "bridge.simulator.qtech imports bridge.money, but bridge.simulator.* stands apart"),
    "ours importing the simulator": (
        {"bridge/cli.py": "import bridge.simulator.qtech", "bridge/simulator/qtech.py": "X = 1"},
        "bridge.cli imports bridge.simulator.qtech, but bridge.simulator.* stands apart"),
    "ours importing a test": (
        {"bridge/money.py": "from tests.stage import X", "tests/stage.py": "X = 1"},
        "bridge.money imports tests.stage"),
    "a cycle inside a package": (
        {"bridge/api/a.py": "import bridge.api.b", "bridge/api/b.py": "import bridge.api.c",
         "bridge/api/c.py": "import bridge.api.a"},
        "cycle: bridge.api.a → bridge.api.b → bridge.api.c → bridge.api.a"),
    "an empty module": (
        {"bridge/money.py": "from __future__ import annotations"}, "bridge.money is empty"),
    "an unread parameter": (
        {"bridge/money.py": "def f(a: int, b: int) -> int:\n    return a"}, "bridge.money:f never reads 'b'"),
    "an unread parameter of a method": (
        {"bridge/money.py": "class C:\n    def f(self, *a: int, **more: int) -> int:\n        return a[0]"},
        "bridge.money:C.f never reads 'more'"),
    "an unread parameter of a nested function and of a lambda": (
        {"bridge/money.py": "def f() -> object:\n    return lambda each: 1"},
        "bridge.money:f.lambda never reads 'each'"),
    "a parameter that is only written": (
        {"bridge/money.py": "def f(a: int) -> None:\n    a = 1"}, "bridge.money:f never reads 'a'"),
    "a long function": (
        {"bridge/money.py": LONG}, "bridge.money:long has 61 lines, more than 60"),
    "a long function in a test": (
        {"tests/test_money.py": LONG}, "tests.test_money:long has 61 lines, more than 60"),
    "a long file": (
        {"bridge/money.py": "X = 1\n" * 400}, "bridge.money has 401 lines, more than 400"),
    "a long test file": (
        {"tests/test_money.py": "X = 1\n" * 700}, "tests.test_money has 701 lines, more than 700"),
    "a package outside its home": (
        {"bridge/cashier.py": "import requests"}, "bridge.cashier imports requests outside its home"),
    "a part of a package outside its home": (
        {"statemachines/leg.py": "from transitions.core import Machine"},
        "statemachines.leg imports transitions outside its home"),
    "a package without a home": (
        {"bridge/cashier.py": "from numpy import array"}, "bridge.cashier imports numpy, which has no home"),
}  # fmt: skip


def plant(root: Path, files: dict[str, str], docstring: str = '"""Planted."""\n') -> list[str]:
    """Write a small tree and ask every rule what is wrong with it."""
    for name, source in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(docstring + source, encoding="utf-8")
    modules = read(root)
    return [fault for rule in RULES for fault in rule(modules)]


@pytest.mark.parametrize(("files", "faults"), VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_each_violation_is_named(files, faults, tmp_path):
    """A planted violation is found, by its own rule, and nothing else is found beside it."""
    assert "; ".join(plant(tmp_path, files)) == faults


def test_a_file_without_a_docstring_is_named(tmp_path):
    """A room without a sign is found, a test's and an empty package's included."""
    files = {"bridge/money.py": "X = 1", "tests/test_money.py": "X = 1", "bridge/__init__.py": ""}
    assert plant(tmp_path, files, docstring="") == [
        "bridge has no docstring",
        "bridge.money has no docstring",
        "tests.test_money has no docstring",
    ]


def test_a_tree_that_keeps_the_rules_has_no_fault(tmp_path):
    """Downward imports, packages at home, read and underscored parameters: nothing of it is a fault."""
    files = {
        "wsgi.py": "from bridge.app import create_app",
        "bridge/__init__.py": "",
        "bridge/app.py": "import flask\nfrom bridge import ledger\nfrom bridge.api import views",
        "bridge/api/__init__.py": "from bridge.api.views import X",
        "bridge/api/views.py": "from . import pages\nfrom .pages import X",
        "bridge/api/pages.py": "async def f(a, _b, c=lambda x: x):\n    return (lambda: a + c)()",
        "bridge/ledger.py": "import time\nfrom sqlalchemy import select",
        "bridge/transfers/drive.py": "import bridge.transfers.advance",
        "bridge/transfers/advance.py": "from bridge.transfers.core.fold import X",
        "bridge/transfers/core/fold.py": "from statemachines import X",
        "bridge/simulator/server.py": "from bridge.simulator import books\nimport http.server",
        "bridge/simulator/books.py": "X = 1",
        "jobs/__main__.py": "import apscheduler.schedulers.blocking\nfrom jobs import resolve",
        "jobs/resolve.py": "from bridge.transfers import drive",
        "statemachines/__init__.py": "from statemachines.leg import X",
        "statemachines/leg.py": "from statemachines.engine import X",
        "statemachines/engine.py": "import transitions\nX = 1",
        "tests/test_ledger.py": "import numpy\nimport bridge.simulator.books\ndef test_it(unread): pass",
        ".venv/lib/stranger.py": "import anything",
    }
    assert plant(tmp_path, files) == []

"""The document tells the truth: schemathesis sends what it allows and what it forbids, to every operation,
on both databases, and every answer is one that the document names. Nothing is answered with 5xx.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi import checks as openapi_checks

from bridge import errors, keys
from bridge.api.answers import trouble
from bridge.app import compose, create_app
from bridge.config import Config
from bridge.sections import DatabaseSection
from bridge.transfers.core import facts
from bridge.views import words
from tests.api.test_access import made
from tests.harness import OPERATOR, PROVIDER, ROOT

OPERATIONS = [
    ("PUT", "/v1/players/{player_id}"),
    ("GET", "/v1/players/{player_id}/funds"),
    ("POST", "/v1/players/{player_id}/deposits"),
    ("POST", "/v1/players/{player_id}/withdrawals"),
    ("POST", "/v1/transfers"),
    ("GET", "/v1/transfers"),
    ("GET", "/v1/transfers/{transfer_id}"),
    ("GET", "/v1/transfers/{transfer_id}/history"),
    ("POST", "/v1/transfers/{transfer_id}/cancel"),
    ("POST", "/v1/players/{player_id}/recall"),
    ("POST", "/v1/webhook-endpoints"),
    ("GET", "/v1/webhook-endpoints"),
    ("DELETE", "/v1/webhook-endpoints/{endpoint_id}"),
    ("POST", "/v1/webhook-endpoints/{endpoint_id}/rotate-secret"),
    ("POST", "/v1/webhook-endpoints/{endpoint_id}/enable"),
    ("POST", "/v1/webhook-endpoints/{endpoint_id}/replay"),
    ("GET", "/v1/webhook-endpoints/{endpoint_id}/deliveries"),
    ("GET", "/v1/events"),
    ("POST", "/v1/events/{event_id}/replay"),
]
"""Every operation that takes something; that nothing is missing here is tested below."""

CALLBACK = ("POST", "/v1/providers/{provider}/callbacks")
"""Takes a signature instead of a key: asked by test_callbacks."""

EXAMPLES = 60
"""Requests of each operation, of each kind (allowed, forbidden), on each database: 19 × 2 × 2 × 60 = 4560."""

AT_LEAST = 2000

OUTSIDE_THE_DOCUMENT = {"/openapi.json", "/docs", "/docs/page.js", "/docs/problems", "/docs/<asset>"}



def is_outside(rule: str) -> bool:
    """The documentation itself, and the desk: its pages are for people (tests/dashboard/test_rights.py)."""
    return rule in OUTSIDE_THE_DOCUMENT or rule == "/ops" or rule.startswith("/ops/")


TOLD = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.unsupported_method,
    openapi_checks.allow_header_conformance,
]
REJECTED = [*TOLD, openapi_checks.negative_data_rejection, openapi_checks.missing_required_header]


class Counted:
    """A WSGI application that counts its requests and keeps their statuses."""

    def __init__(self, app: Any) -> None:
        self._app, self.statuses = app, list[int]()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        def started(status: str, *rest: Any) -> Any:
            self.statuses.append(int(status[:3]))
            return start_response(status, *rest)

        return self._app(environ, started)


@pytest.fixture
def documented(house) -> Any:
    """(house, its counted application, the document as schemathesis reads it)."""
    app = create_app(house.runtime)
    counted = Counted(app.wsgi_app)
    app.wsgi_app = counted
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app)
    counted.statuses.clear()
    return house, counted, schema


def make_known(case: Any, house: Any, ids: dict[str, str], number: int) -> None:
    """Every other request is about things that are there, so that it reaches the money."""
    if number % 2:
        return
    known: dict[str, Any] = {"player_id": house.player, **ids}
    for name in case.path_parameters or {}:
        case.path_parameters[name] = known[name]
    if isinstance(case.body, dict):
        known |= {"provider": PROVIDER, "currency": "EUR", "amount": f"{1 + number % 7}.00", "currencies": ["EUR"]}
        known |= {"url": "https://casino.example/", "first": 1, "last": 1}
        case.body.update({name: value for name, value in known.items() if name in case.body})


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda word: word.replace("/v1/", ""))
def test_every_answer_is_as_documented(documented, method, path, mode):
    """Issue 2: whatever is sent, allowed or forbidden, the answer is one of the document's, and never a 5xx."""
    house, counted, schema = documented
    ids, chief = made(house, "known"), keys.create(house.runtime, OPERATOR, ["admin"], "chief")[1]
    counted.statuses.clear()
    numbers = iter(range(10**6))
    is_allowed = mode is GenerationMode.POSITIVE

    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def sends(case: Any) -> None:
        if is_allowed:
            make_known(case, house, ids, next(numbers))
        answer = case.call(headers={"Authorization": f"Bearer {chief}"})
        case.validate_response(answer, checks=TOLD if is_allowed else REJECTED)

    sends()
    assert len(counted.statuses) >= EXAMPLES
    assert not [status for status in counted.statuses if status >= 500]
    if is_allowed:
        assert [status for status in counted.statuses if status < 300], "no request was answered with success"
    house.audit()


def test_enough_requests_are_sent():
    """Issue 2: at least 2,000 requests; each test above counts and asserts its own share."""
    assert len(OPERATIONS) * len(GenerationMode) * len(("sqlite", "postgresql")) * EXAMPLES >= AT_LEAST


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_as_documented(documented, path):
    """Design §8: the health routes need no key and answer what the document says."""
    house, _counted, schema = documented
    house.job_ran()

    @given(case=schema[path]["GET"].as_strategy())
    @settings(max_examples=1, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def sends(case: Any) -> None:
        case.call_and_validate(checks=TOLD)

    sends()


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda word: word.replace("/v1/", ""))
def test_nothing_is_open_without_a_key(documented, method, path):
    """API5:2023: every operation says in the document that it needs a key, and it does."""
    _house, counted, schema = documented
    operation = schema[path][method]
    assert operation.definition.raw["security"] == [{"bearer": []}]

    @given(case=operation.as_strategy())
    @settings(max_examples=3, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def sends(case: Any) -> None:
        for secret in (None, "bk_wrong"):
            answer = case.call(headers={} if secret is None else {"Authorization": f"Bearer {secret}"})
            assert answer.status_code == 401
            case.validate_response(answer, checks=TOLD[:-2])

    sends()
    assert set(counted.statuses) == {401}


@pytest.fixture(scope="module")
def app() -> Iterator[Any]:
    """The application alone: the document needs no row."""
    runtime = compose(Config(database=DatabaseSection(url="sqlite:///unopened.db")))
    yield create_app(runtime)
    runtime.engine.dispose()


def test_routes_and_document_are_the_same(app):
    """API9:2023: what is served is documented and what is documented is served, method by method."""
    document = app.test_client().get("/openapi.json").json
    documented = {(verb.upper(), path) for path, item in document["paths"].items() for verb in item}
    rules = [rule for rule in app.url_map.iter_rules() if not is_outside(rule.rule)]
    served = {(m, re.sub(r"<(\w+)>", r"{\1}", r.rule)) for r in rules for m in r.methods - {"HEAD", "OPTIONS"}}
    assert served == documented
    assert documented == {*OPERATIONS, CALLBACK, ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")}
    assert {rule.rule for rule in app.url_map.iter_rules()} >= OUTSIDE_THE_DOCUMENT


def test_the_document_is_openapi_3_1(app):
    """Design §8: OpenAPI 3.1, every reference resolves, every operation has an id of its own and its problems."""
    document = app.test_client().get("/openapi.json").json
    assert document["openapi"] == "3.1.0"
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(re.findall(r"#/components/schemas/\w+", str(document))) <= known
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for operation in operations[:-3]:
        assert {"401", "403", "422", "500", "503"} <= set(operation["responses"])
        assert "application/problem+json" in operation["responses"]["422"]["content"]


def test_the_docs_page_loads_nothing_from_outside(app):
    """Design §8: a docs page without any CDN: its HTML and script name no other host, and every file is here."""
    client = app.test_client()
    page = client.get("/docs")
    assert page.status_code == 200
    sources = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert {"/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js", "/docs/page.js"} <= set(sources)
    for source in sources:
        assert source.startswith(("/docs/", "data:,")), source
        if source.startswith("/"):
            assert client.get(source).status_code == 200
    for text in (page.text, client.get("/docs/page.js").text, client.get("/docs/problems").text):
        assert not re.search(r"https?://|(?:src|href)=\"//", text)
    styles = client.get("/docs/swagger-ui.css").text
    assert "@import" not in styles
    drawn = re.findall(r"url\(([^)]*)", styles)
    assert drawn
    assert all(address.strip("\"' ").startswith(("data:", "#")) for address in drawn)
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self'")
    assert "http" not in policy


def codes_raised() -> set[str]:
    """Every `code="…"` given to a refusal anywhere in the bridge, read from the source."""
    found = set()
    for path in (ROOT / "bridge").rglob("*.py"):
        if {"simulator", "dashboard", "desk"} & set(path.parts):
            continue  # the desk answers in pages
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in REFUSALS:
                given = [word.value for word in call.keywords if word.arg == "code"]
                found |= {str(value.value) for value in given if isinstance(value, ast.Constant)}
    return found


def below(top: type) -> set[str]:
    """The names of a class and of everything that inherits from it."""
    return {top.__name__}.union(*(below(kind) for kind in top.__subclasses__()))


REFUSALS = below(errors.Refusal)


def test_every_code_is_listed(app):
    """Design §8: each code that is raised stands in the catalogue, in docs/api.md with status and retry, and at
    the address that a problem's `type` names."""
    catalogue = trouble.catalogue()
    codes = [one.code for one in catalogue]
    assert len(set(codes)) == len(codes)
    raised = codes_raised()
    assert {"insufficient_funds", "provider_unavailable", "json_broken"} <= raised <= set(codes)
    written = Path(ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \| `(\w+)` \|", written, re.MULTILINE)
    assert rows == [(one.code, str(one.status), one.retry.value) for one in catalogue]
    page = app.test_client().get("/docs/problems").text
    assert all(f'id="{code}"' in page for code in codes)


def reasons_given() -> set[str]:
    """Every code that the core gives a transfer for a reason, read from the source: each word in what says them that is
    compared with nothing, and each constant of the facts that is a word."""
    core = ROOT / "bridge" / "transfers" / "core"
    whole, of_sweeps = (ast.parse((core / name).read_text(encoding="utf-8")) for name in ("reasons.py", "sweep.py"))
    told = [whole, *(each for each in of_sweeps.body if getattr(each, "name", "") == "reason")]
    nodes = [node for tree in told for node in ast.walk(tree)]
    compared = {id(part) for node in nodes if isinstance(node, ast.Compare) for part in (node.left, *node.comparators)}
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and id(node) not in compared]
    texts += [getattr(facts, node.id, None) for node in nodes if isinstance(node, ast.Name)]
    return {text for text in texts if isinstance(text, str) and re.fullmatch(r"[a-z]+(_[a-z]+)*", text)}


def test_every_reason_is_listed():
    """Platforms branch on the code of a reason: each that a transfer may have stands in docs/api.md, no other does, and
    the desk has words for each."""
    written = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    section = written.split("\n## Reasons\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    given = reasons_given()
    assert {"unproved", "wallet_spent", "player_in_game"} <= given
    assert sorted(rows) == sorted(given)
    assert set(words.REASONS) == given

"""`/metrics`: what it shows, to whom, and that it is the same whichever process is asked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from threading import Event
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from bridge import db, metrics, tallies
from jobs import outbox
from tests.harness import OPERATOR, ROOT

TOKEN = "for tests alone, and long enough for them"
Kind = frozenset[tuple[str, str]]
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def shown(house: Any) -> Any:
    """Reads the figures of a house: {name: {labels in their order: value}}."""
    open_to_us = house.runtime.config.metrics.model_copy(update={"token_file": None, "token": SecretStr(TOKEN)})
    object.__setattr__(house.runtime.config, "metrics", open_to_us)

    def read() -> dict[str, dict[Kind, float]]:
        answer = house.ann.client.get("/metrics", headers=BEARER)
        assert answer.status_code == 200
        return parsed(answer.text)

    return read


def parsed(text: str) -> dict[str, dict[Kind, float]]:
    """Prometheus's own parser reads what we wrote."""
    found: dict[str, dict[Kind, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            kind = frozenset(sample.labels.items())
            assert kind not in found.setdefault(sample.name, {})
            found[sample.name][kind] = sample.value
    return found


def kind(**labels: str) -> Kind:
    """A series by its labels."""
    return frozenset(labels.items())


def number(house: Any) -> None:
    """What the job does at its next tick."""
    outbox.run_once(house.runtime, house.runtime.clock.now(), 100, Event())


def test_moves_are_counted_once(house: Any, shown: Any) -> None:
    """Each move that has its number is one of the histogram, with its value, and stays so when it is asked again."""
    first = house.transfer("k-1", amount="12.50").json
    house.transfer("k-2", amount="1.00")
    assert "bridge_certainty_seconds_count" not in shown() or not shown()["bridge_certainty_seconds_count"]
    number(house)
    words = {"operator": OPERATOR, "provider": first["provider"], "currency": "EUR", "direction": "in"}
    ended = kind(**words, state="confirmed")
    for _ in range(2):
        figures = shown()
        assert figures["bridge_certainty_seconds_count"] == {ended: 2}
        assert figures["bridge_moved_units_total"] == {ended: 1350}
        buckets = figures["bridge_certainty_seconds_bucket"]
        assert buckets[kind(**words, state="confirmed", le="+Inf")] == 2
        assert len(buckets) == len(tallies.BOUNDS_SECONDS) + 1
        number(house)


def test_value_that_no_column_of_a_database_holds(house: Any, shown: Any) -> None:
    """Ten times the most that a provider can be told is summed up all the same."""
    for name in range(10):
        house.transfer(f"k-{name}", amount="1.00", Prefer="respond-async")
    with db.writing(house.runtime.engine) as connection:
        connection.exec_driver_sql("UPDATE transfer SET amount = 1000000000000000000")
    assert sum(shown()["bridge_unresolved_units"].values()) == 10**19


def test_what_is_unresolved_is_shown_with_its_value_and_age(house: Any, shown: Any) -> None:
    """Value and number by stage; what has ended is not among it."""
    waits = house.transfer("k-1", amount="3.00", Prefer="respond-async").json
    figures = shown()
    words = {"operator": OPERATOR, "provider": waits["provider"], "currency": "EUR", "direction": "in"}
    goes_on = kind(**words, stage="pending")
    assert figures["bridge_unresolved_transfers"] == {goes_on: 1}
    assert figures["bridge_unresolved_units"] == {goes_on: 300}
    house.write("UPDATE leg SET unknown_since = 1 WHERE ordinal = 1")
    house.write("UPDATE transfer SET created_at = created_at - 90000000")
    figures = shown()
    lost = kind(**words, stage="unknown")
    assert figures["bridge_unresolved_transfers"] == {lost: 1}
    assert 90 <= figures["bridge_unresolved_oldest_seconds"][lost] < 120
    assert figures["bridge_waiting"][kind(queue="outbox")] == 0


def test_no_client_makes_series(house: Any, shown: Any) -> None:
    """A method that somebody makes up is counted as `other`."""
    for place in range(3):
        assert house.ann.ask(f"MADEUP{place}", "/v1/transfers").status_code == 405
    methods = {dict(each)["method"] for each in shown()["bridge_http_request_seconds_count"]}
    assert not [method for method in methods if method.startswith("MADEUP")]
    assert "other" in methods


def test_a_request_that_cannot_be_counted_is_answered(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Money has moved by then: what is wrong with the counting changes no answer."""

    def fails(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(metrics, "request_ended", fails)
    assert house.transfer("k-1", amount="1.00").json["state"] == "confirmed"


def test_requests_are_counted_by_their_route(house: Any, shown: Any) -> None:
    """An address that somebody makes up makes no series of its own."""
    before = shown().get("bridge_http_request_seconds_count", {})
    for place in range(3):
        assert house.ann.get(f"/v1/made-up/{place}").status_code == 404
    house.ann.get("/v1/transfers")
    after = shown()["bridge_http_request_seconds_count"]
    more = {each: after[each] - before.get(each, 0) for each in after if after[each] != before.get(each, 0)}
    assert more.pop(kind(method="GET", route="/metrics", status="200")) >= 1
    unknown = kind(method="GET", route="unknown", status="404")
    assert more == {unknown: 3, kind(method="GET", route="/v1/transfers", status="200"): 1}


@pytest.mark.parametrize("given", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}])
def test_nobody_sees_figures_without_the_token(house: Any, shown: Any, given: dict[str, str]) -> None:
    """They are about all operators: a key of one of them opens nothing."""
    client = house.ann.client
    assert client.get("/metrics", headers=given).status_code == 401
    assert client.get("/metrics", headers={"Authorization": f"Bearer {house.ann.secret}"}).status_code == 401


def test_without_a_token_there_are_no_figures(house: Any) -> None:
    """404 as long as none is configured, whatever is sent."""
    for given in ({}, BEARER, {"Authorization": "Bearer None"}):
        assert house.ann.client.get("/metrics", headers=given).status_code == 404


def test_several_processes_are_added_up(tmp_path: Any) -> None:
    """Where one server has several processes, each tells what all have counted, also those that are gone."""
    program = """
import sys
from bridge import metrics
from bridge.app import compose
from bridge.config import Config
from bridge.sections import DatabaseSection
from bridge import db
url = "sqlite:///" + sys.argv[1]
db.migrate(url)
metrics.request_ended("GET", "/v1/x", 200, 0.01)
print(metrics.exposition(compose(Config(database=DatabaseSection(url=url)))).decode())
"""
    folder = tmp_path / "several"
    folder.mkdir()
    told = ""
    for _ in range(3):
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
        command = [sys.executable, "-c", program, str(tmp_path / "one.db")]
        told = subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert parsed(told)["bridge_http_request_seconds_count"] == {kind(method="GET", route="/v1/x", status="200"): 3}


def test_the_dashboard_asks_for_figures_that_there_are(house: Any, shown: Any) -> None:
    """Each name in docs/grafana.json, and in docs/metrics.md, is one that is shown, and none is left out there."""
    house.transfer("k-1", amount="1.00")
    house.job_ran()
    number(house)
    text = house.ann.client.get("/metrics", headers=BEARER).text
    names = set(re.findall(r"^# TYPE (bridge_\w+)", text, re.MULTILINE))
    names = {name for name in names if not name.endswith("_created")}
    dashboard = (ROOT / "docs" / "grafana.json").read_text(encoding="utf-8")
    asked = set(re.findall(r"bridge_\w+?(?=_total|_bucket|_count|_sum|[^\w])", json.dumps(json.loads(dashboard))))
    assert asked - {name.removesuffix("_total") for name in names} == set()
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(bridge_\w+)`", page, re.MULTILINE)) == names

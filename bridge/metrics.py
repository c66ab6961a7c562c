"""Metrics in the words of Prometheus, and the only home of its client.

What is about money is read from the rows when it is asked for: the same from every process and every machine, and
nothing of it is lost with a process. What is about requests is counted by the process that answers them; where one
server has several, `PROMETHEUS_MULTIPROC_DIR` names the folder in which the client adds them up.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import Connection, RowMapping

from bridge import checks, clocks, db, gauges, tallies
from bridge.ports import SECOND
from bridge.runtime import Runtime

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SEVERAL_PROCESSES = "PROMETHEUS_MULTIPROC_DIR"

_requests = CollectorRegistry()
_REQUEST = Histogram(
    "bridge_http_request_seconds",
    "Time from a request's arrival at the application to its answer.",
    ("method", "route", "status"),
    registry=_requests,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60),
)


def request_ended(method: str, route: str, status: int, seconds: float) -> None:
    """A request was answered. `route`: as it is declared, for an address that is made up must not make a series."""
    _REQUEST.labels(method, route, str(status)).observe(seconds)


def exposition(runtime: Runtime) -> bytes:
    """Everything, in Prometheus's text format."""
    registry = _requests
    if os.environ.get(SEVERAL_PROCESSES):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # as the client has it
    of_rows = CollectorRegistry()
    of_rows.register(_OfRows(runtime))
    return generate_latest(of_rows) + generate_latest(registry)


class _OfRows(Collector):
    """What the database knows, from one snapshot."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def describe(self) -> list[Metric]:
        """Nothing is asked of the database when this is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """As Collector."""
        runtime = self._runtime
        with db.reading(runtime.engine) as connection:
            names = {row.id: row.name for row in connection.execute(gauges.OPERATORS)}
            yield from _moves(tallies.read(connection), names)
            yield from _unresolved(connection, runtime, names)
            yield from _providers(connection, runtime)
            yield from _upkeep(connection, runtime)
            yield from _jobs(connection, runtime)
            yield from _alerts(connection, runtime)


def _moves(rows: Iterable[RowMapping], operators: Mapping[int, str]) -> Iterator[Metric]:
    words = ("operator", "provider", "currency", "direction", "state")
    value = CounterMetricFamily(
        "bridge_moved_units", "Value of the moves of transfers, in minor units of the currency.", labels=words
    )
    certainty = HistogramMetricFamily(
        "bridge_certainty_seconds", "Time from a transfer's begin to each of its moves; by the state that it moved to.",
        labels=words,
    )  # fmt: skip
    kinds: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        kind = (operators.get(row["operator_id"], ""), *(row[word] for word in words[1:]))
        found = kinds.setdefault(kind, {"buckets": {}, "units": 0, "millis": 0})
        found["buckets"][row["bucket"]] = row["moves"]
        found["units"] += row["giga_units"] * tallies.GIGA + row["units"]
        found["millis"] += row["millis"]
    for kind, found in sorted(kinds.items()):
        value.add_metric(kind, found["units"])
        certainty.add_metric(kind, list(tallies.cumulative(found["buckets"])), found["millis"] / tallies.MILLI)
    yield value
    yield certainty


def _unresolved(connection: Connection, runtime: Runtime, operators: Mapping[int, str]) -> Iterator[Metric]:
    words = ("operator", "provider", "currency", "direction", "stage")
    transfers = GaugeMetricFamily("bridge_unresolved_transfers", "Transfers that have not ended.", labels=words)
    units = GaugeMetricFamily("bridge_unresolved_units", "Their value in minor units.", labels=words)
    oldest = GaugeMetricFamily("bridge_unresolved_oldest_seconds", "The age of the oldest of them.", labels=words)
    now = runtime.clock.now()
    for each in gauges.unresolved(connection):
        kind = (operators.get(each.operator_id, ""), each.provider, each.currency, each.direction, each.stage)
        transfers.add_metric(kind, each.transfers)
        units.add_metric(kind, each.units)
        oldest.add_metric(kind, max(0, now - each.oldest) / SECOND)
    yield from (transfers, units, oldest)


def _providers(connection: Connection, runtime: Runtime) -> Iterator[Metric]:
    answers = GaugeMetricFamily(
        "bridge_provider_answers", f"What providers have said within {gauges.ANSWERS_SECONDS} s, by what it proves.",
        labels=("provider", "source", "answer"),
    )  # fmt: skip
    for provider, source, answer, number in gauges.answers(connection, runtime):
        answers.add_metric((provider, source, answer), number)
    yield answers
    states = (
        ("bridge_breaker_open", "1 while no money is sent in, for it answers too little.", gauges.open_breakers),
        ("bridge_provider_closed", "1 while people, or a restored backup, have closed it.", gauges.closed),
    )
    for name, meaning, ask in states:
        state = GaugeMetricFamily(name, meaning, labels=("provider",))
        found = ask(connection)
        for provider in sorted(runtime.config.providers):
            state.add_metric((provider,), float(provider in found))
        yield state
    cases = GaugeMetricFamily("bridge_cases", "Cases that are not closed.", labels=("provider", "state"))
    for provider, case_state, number in gauges.open_cases(connection):
        cases.add_metric((provider, case_state), number)
    yield cases
    breaks = GaugeMetricFamily(
        "bridge_balances_that_differ", "Balances that a provider tells otherwise than we do.",
        labels=("provider", "currency"),
    )  # fmt: skip
    for provider, currency, number in gauges.balances_that_differ(connection):
        breaks.add_metric((provider, currency), number)
    yield breaks


def _upkeep(connection: Connection, runtime: Runtime) -> Iterator[Metric]:
    now = runtime.clock.now()
    waiting = GaugeMetricFamily("bridge_waiting", "Rows that jobs have still to deal with.", labels=("queue",))
    late = GaugeMetricFamily("bridge_waiting_oldest_seconds", "How long the first of them is due.", labels=("queue",))
    for queue, found in gauges.waiting(connection).items():
        waiting.add_metric((queue,), found.number)
        late.add_metric((queue,), 0.0 if found.oldest is None else max(0, now - found.oldest) / SECOND)
    yield from (waiting, late)
    verified = checks.last(connection, runtime, checks.VERIFY)
    if verified is not None:
        held = float(not verified.failed)
        yield GaugeMetricFamily("bridge_verified", "1 where every invariant held when all were asked.", held)
        age = max(0, now - verified.at) / SECOND
        yield GaugeMetricFamily("bridge_verified_age_seconds", "How long ago that was.", age)
    yield from _audit(connection, runtime)
    apart = clocks.apart(runtime, connection) / SECOND
    yield GaugeMetricFamily("bridge_clock_apart_seconds", "This process's clock and the database's.", apart)


def _jobs(connection: Connection, runtime: Runtime) -> Iterator[Metric]:
    now = runtime.clock.now()
    age = GaugeMetricFamily("bridge_job_age_seconds", "Since a run of a job was last noted.", labels=("job",))
    failing = GaugeMetricFamily("bridge_job_failing_seconds", "For how long a job has failed; else 0.", labels=("job",))
    paused = GaugeMetricFamily("bridge_job_paused", "1 while people have paused a job.", labels=("job",))
    for each in gauges.jobs(connection, now):
        if each.age is not None:
            age.add_metric((each.job,), each.age)
        failing.add_metric((each.job,), each.failing)
        paused.add_metric((each.job,), float(each.paused))
    yield from (age, failing, paused)
    live = float(gauges.job_processes(connection, now))
    yield GaugeMetricFamily("bridge_job_processes", "Processes that run the jobs.", live)


def _alerts(connection: Connection, runtime: Runtime) -> Iterator[Metric]:
    found = GaugeMetricFamily("bridge_alerts", "What is wrong now, and people are told.", labels=("kind",))
    for kind, number in gauges.open_alerts(connection):
        found.add_metric((kind,), number)
    unsent = GaugeMetricFamily("bridge_alerts_unsent", "Messages about alerts that wait to be taken.", labels=("sink",))
    oldest = GaugeMetricFamily("bridge_alerts_unsent_oldest_seconds", "The age of the first.", labels=("sink",))
    for each in gauges.unsent_alerts(connection):
        unsent.add_metric((each.sink,), each.number)
        oldest.add_metric((each.sink,), max(0, runtime.clock.now() - each.oldest) / SECOND)
    yield from (found, unsent, oldest)


def _audit(connection: Connection, runtime: Runtime) -> Iterator[GaugeMetricFamily]:
    """Of the audit: what is not known yet is a figure without a value."""
    inspected, stood = checks.last(connection, runtime, checks.INSPECT), checks.standing(connection)
    sound = None if inspected is None else float(not inspected.failed)
    late = None if stood is None else float(stood["again"])
    found = (
        ("bridge_inspected", "1 where the last inspection found nothing.", sound),
        ("bridge_inspected_age_seconds", "How long ago one has ended.", checks.inspected_age(connection, runtime)),
        ("bridge_sealing_late_seconds", "Rows wait, and nothing is sealed, for so long.", late),
    )
    for name, told, value in found:
        gauge = GaugeMetricFamily(name, told, labels=())
        if value is not None:
            gauge.add_metric((), value)
        yield gauge

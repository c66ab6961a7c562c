"""One trace for a transfer's whole life: in the log always, by OpenTelemetry where it is switched on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from pydantic import ValidationError

from bridge import doctor, endpoints, log, traces
from bridge.sections import TracesSection
from bridge.transfers import resolve
from jobs import deliver, outbox
from jobs.schedule import SCHEDULE
from jobs.shift import run
from tests.api.conftest import House, build
from tests.harness import PROVIDER, ROOT, Bench, Hands, Simulator, bench, simulator
from tests.providers import ScriptedServer, http, silence

STRANGER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def collector() -> Iterator[ScriptedServer]:
    """A collector on loopback that takes OTLP over HTTP."""
    with ScriptedServer() as started:
        started.routes["/v1/traces"] = http(200, b"", "application/x-protobuf")
        yield started


@pytest.fixture
def switched(collector: ScriptedServer) -> Iterator[ScriptedServer]:
    """Traces are on in this process; what is left is sent at the end of the test."""
    traces.start(TracesSection(endpoint=f"{collector.url}/v1/traces"), "tests/1")
    yield collector
    traces.stop()


@pytest.fixture(scope="session")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """The provider."""
    with simulator(tmp_path_factory.mktemp("provider"), "--seed", "1", "--expiry", "3") as started:
        yield started


@pytest.fixture
def house(migrated_url: str, there: Simulator) -> Iterator[House]:
    """The whole bridge behind its API."""
    made = build(migrated_url, there)
    yield made
    made.runtime.engine.dispose()


def spans(collector: ScriptedServer) -> list[dict[str, Any]]:
    """What the collector got, decoded by the protocol's own messages; traces are switched off by that."""
    traces.stop()
    found = []
    for request in collector.requests("/v1/traces"):
        message = ExportTraceServiceRequest.FromString(request.body)
        for of_resource in message.resource_spans:
            named = {each.key: each.value.string_value for each in of_resource.resource.attributes}
            assert named["service.name"] == traces.SERVICE
            for scope in of_resource.scope_spans:
                found += [decoded(span) for span in scope.spans]
    return found


def decoded(span: Any) -> dict[str, Any]:
    """A span as plain values."""
    told = MessageToDict(span)["attributes"] if span.attributes else []
    return {
        "name": span.name,
        "trace": span.trace_id.hex(),
        "id": span.span_id.hex(),
        "parent": span.parent_span_id.hex(),
        "links": [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        "told": {each["key"]: next(iter(each["value"].values())) for each in told},
        "kind": span.kind,
        "error": span.status.code == 2,
    }


def of(found: list[dict[str, Any]], trace: str | None) -> list[dict[str, Any]]:
    """The spans of one trace."""
    return [span for span in found if span["trace"] == trace]


# --- the log ------------------------------------------------------------------------------------------


def lines(told: str) -> list[dict[str, Any]]:
    """The log, line by line."""
    found = []
    for text in told.splitlines():
        with suppress(ValueError):
            found.append(json.loads(text))
    return [line for line in found if isinstance(line, dict)]


def test_every_line_about_a_transfer_carries_its_trace(house, capfd):
    """Features N: one trace id for its whole life: API, wire, moves, the job that numbers and delivers, and a process
    that was started later."""
    log.configure()
    with ScriptedServer() as receiver:
        receiver.routes["/events"] = http(204)
        endpoints.register(house.runtime, house.rows("SELECT id FROM operator ORDER BY id")[0]["id"],
                           receiver.url + "/events", "x")  # fmt: skip
        capfd.readouterr()
        transfer = house.transfer("k-1").json["id"]
        now = house.runtime.clock.now()
        outbox.run_once(house.runtime, now, 10, Event())
        deliver.run_once(house.runtime, now, 10, Event())
    told = lines(capfd.readouterr().err)
    trace = transfer.removeprefix("tr_")
    about = [line for line in told if line.get("trace_id") == trace]
    assert {line["event"] for line in about} == {"exchange", "provider answered", "transfer moved"}
    # Prepare and complete at the provider (its token may be known already), and the delivery.
    assert len([line for line in about if line["event"] == "exchange"]) >= 3
    assert {line["path"] for line in about if line["event"] == "exchange"} >= {endpoint_id(house)}
    assert [line for line in told if line.get("transfer") == transfer and line.get("trace_id") != trace] == []


def endpoint_id(house: House) -> str:
    """The one endpoint."""
    return str(house.rows("SELECT id FROM webhook_endpoint")[0]["id"])


def test_an_error_in_a_request_is_about_its_transfer(house, capfd, monkeypatch):
    """Also the line of an error that nobody expected; and the next request on this thread is about none."""
    log.configure()
    first = house.transfer("k-1").json["id"]
    capfd.readouterr()
    with monkeypatch.context() as broken:
        broken.setattr("bridge.api.transfers.stories.one", lambda *_: 1 // 0)
        assert house.ann.get(f"/v1/transfers/{first}").status_code == 500
    (line,) = [line for line in lines(capfd.readouterr().err) if line["event"] == "request failed"]
    assert line["trace_id"] == first.removeprefix("tr_")
    with monkeypatch.context() as broken:
        broken.setattr("bridge.api.transfers.stories.page", lambda *_, **__: 1 // 0)
        assert house.ann.get("/v1/transfers").status_code == 500
    (line,) = [line for line in lines(capfd.readouterr().err) if line["event"] == "request failed"]
    assert "trace_id" not in line


@pytest.mark.parametrize("made_up", ["tr_", "tr_0", "x" * 35, "tr_" + "g" * 32, "tr_" + "0" * 33, None])
def test_what_is_no_id_has_no_trace(made_up):
    """Nothing that a client types becomes a trace."""
    assert log.trace_of(made_up) is None


# --- OpenTelemetry ------------------------------------------------------------------------------------


def test_a_transfer_is_one_trace(house, switched):
    """Request, begin, calls, moves and delivery: one trace whose id is the transfer's, the request linked with it, and
    a stranger's `traceparent` linked and not adopted."""
    answer = house.transfer("k-1", traceparent=STRANGER)
    transfer = answer.json["id"]
    outbox.run_once(house.runtime, house.runtime.clock.now(), 10, Event())
    found = spans(switched)
    trace = log.trace_of(transfer)
    mine = of(found, trace)
    names = [span["name"] for span in mine]
    assert names.count("transfer") == 1
    assert {"transfer", "provider prepare", "provider complete", "advance"} == set(names)
    (first,) = [span for span in mine if span["name"] == "transfer"]
    assert (first["parent"], first["told"]["bridge.transfer"]) == ("", transfer)
    ids = {span["id"] for span in mine}
    assert all(span["parent"] in ids for span in mine if span is not first)
    moved = [span["told"].get("bridge.to") for span in mine if span["name"] == "advance"]
    assert "confirmed" in moved
    calls = [span for span in mine if span["name"].startswith("provider ")]
    assert {span["told"]["bridge.provider"] for span in calls} == {PROVIDER}
    assert {span["told"]["bridge.answer"] for span in calls} == {"reserved", "applied"}
    (request,) = [span for span in found if span["name"] == "POST /v1/transfers"]
    assert request["trace"] not in (trace, STRANGER.split("-")[1])
    assert request["links"] == [(STRANGER.split("-")[1], STRANGER.split("-")[2]), (trace, first["id"])]
    assert request["told"]["http.response.status_code"] == "201"


def test_what_happens_later_belongs_to_the_same_trace(house, switched):
    """A resolver in another process, after a restart, knows nothing but the row: its spans are of the same trace, under
    the same first span; and so is the delivery of its event."""
    with ScriptedServer() as receiver:
        receiver.routes["/events"] = http(204)
        endpoints.register(house.runtime, house.rows("SELECT id FROM operator ORDER BY id")[0]["id"],
                           receiver.url + "/events", "x")  # fmt: skip
        transfer = house.transfer("k-1", Prefer="respond-async").json["id"]
        traces.stop()
        traces.start(TracesSection(endpoint=f"{switched.url}/v1/traces"), "tests/2")
        resolve_all = next(job for job in SCHEDULE if job.name == "resolve")
        for job in (resolve_all, *(job for job in SCHEDULE if job.name in ("outbox", "deliver"))):
            run(house.runtime, job, Event())
    found = spans(switched)
    mine = of(found, log.trace_of(transfer))
    assert {"transfer", "provider prepare", "provider complete", "advance", "delivery"} == {
        span["name"] for span in mine
    }
    (first,) = [span for span in mine if span["name"] == "transfer"]
    ids = {span["id"] for span in mine}
    assert {span["parent"] for span in mine if span is not first} <= ids
    jobs = {span["told"]["bridge.job"]: span for span in found if span["name"] == "job"}
    assert {"resolve", "outbox", "deliver"} == set(jobs)
    (delivery,) = [span for span in mine if span["name"] == "delivery"]
    assert delivery["told"]["bridge.status"] == "204"
    assert "ann" not in json.dumps(found)
    assert house.player not in json.dumps(found)


def test_providers_are_sent_a_traceparent_only_while_traces_are_on(migrated_url, collector):
    """Off: not a byte more on the wire. On: the call's own span, under the transfer's trace; nobody else gets it."""
    with ScriptedServer() as provider, bench(migrated_url, provider.url, protocol="generic") as made:
        provider.answers = [http(500), http(500)]
        made.begin("in", "1.00", queued=True)
        drive_once(made)
        assert "traceparent" not in provider.received[-1].headers
        traces.start(TracesSection(endpoint=f"{collector.url}/v1/traces"), "tests/1")
        try:
            transfer = made.begin("in", "2.00", queued=True).transfer_id
            drive_once(made)
        finally:
            found = spans(collector)
        (call,) = [span for span in of(found, log.trace_of(transfer)) if span["name"] == "provider transfer"]
        # The first transfer may be due again by now: its own requests carry its own trace.
        carried = [request.headers["traceparent"] for request in provider.received if "traceparent" in request.headers]
        assert [each for each in carried if call["trace"] in each] == [f"00-{call['trace']}-{call['id']}-01"]
        assert not [request for request in collector.received if "traceparent" in request.headers]


def drive_once(made: Bench) -> None:
    """What is due is driven by one request."""
    for claim in resolve.claim_due(made.runtime, 10):
        with suppress(Exception):
            resolve.resolve(made.runtime, claim, ask_until=0)


def test_what_raises_is_an_error_of_its_span_without_its_text(switched):
    """The kind of the error, never what it says."""
    with pytest.raises(ValueError), traces.span("job", job="x"):
        raise ValueError("a secret")
    (span,) = spans(switched)
    assert span["error"]
    assert b"a secret" not in b"".join(request.body for request in switched.received)
    assert b"ValueError" in b"".join(request.body for request in switched.received)


@pytest.mark.parametrize(("share", "least", "most"), [(0, 0, 0), (0.5, 400, 600), (1, 1000, 1000)])
def test_a_share_of_traces_is_kept_whole(collector, share, least, most):
    """By the hash of the id: ids that sort by time have low bits that are not by chance."""
    traces.start(TracesSection(endpoint=f"{collector.url}/v1/traces", sample=share), "tests/1")
    ids = [f"tr_{0x0192F3AABBCC << 80 | 0x7 << 76 | 0b10 << 62 | number * 7919:032x}" for number in range(1000)]
    for transfer in ids:
        traces.root(transfer)
        with traces.span("advance", transfer=transfer):
            pass
    found = spans(collector)
    kept = {span["trace"] for span in found}
    assert least <= len(kept) <= most
    assert all(len(of(found, trace)) == 2 for trace in list(kept)[:20])


def test_a_collector_that_hangs_stops_nothing(migrated_url):
    """Money moves as ever; what the collector does not take is dropped, and the process ends."""
    with ScriptedServer() as hangs, bench(migrated_url, clock=Hands(), protocol="qtech") as made:
        hangs.routes["/v1/traces"] = silence
        traces.start(TracesSection(endpoint=f"{hangs.url}/v1/traces"), "tests/1")
        began = time.monotonic()
        made.run("in", "1.00")
        assert time.monotonic() - began < 5
        traces.stop()
        assert time.monotonic() - began < 30


def test_off_is_off() -> None:
    """Nothing of the packages is loaded, and a span is the same nothing every time."""
    program = (
        "import sys, bridge.api.application, jobs.__main__\nfrom bridge import traces\n"
        "assert traces.span('x', transfer='tr_' + '0' * 32) is traces.call('y', transfer='z')\n"
        "assert traces.carried() == {}\nassert traces.request('x', '') is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"


def test_switched_on_without_the_packages_is_one_sentence(tmp_path: Path) -> None:
    """Exit code 2 and what to do, for whatever needs the bridge; off, nothing is missed."""
    (tmp_path / "hidden").mkdir()
    hide = (
        "import sys\nclass Hide:\n    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'opentelemetry':\n            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hide())\n"
    )
    (tmp_path / "hidden" / "sitecustomize.py").write_text(hide)
    (tmp_path / "bridge.toml").write_text(
        f'[database]\nurl = "sqlite:///{tmp_path / "x.db"}"\n[traces]\nendpoint = "http://127.0.0.1:4318/v1/traces"\n'
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
    environment = {**kept, "PYTHONPATH": f"{tmp_path / 'hidden'}{os.pathsep}{ROOT}"}
    for command in (["jobs"], ["bridge", "doctor"]):
        ended = subprocess.run(
            [sys.executable, "-m", *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )  # fmt: skip
        assert ended.returncode == 2, ended.stderr
        told = "traces.endpoint is set and OpenTelemetry is not installed: install requirements-traces.txt"
        assert ended.stderr == f"The configuration cannot be used: {told}, or remove it.\n"


@pytest.mark.parametrize(
    "given",
    [{"endpoint": "127.0.0.1:4318"}, {"endpoint": "http://u:p@x/v1/traces"}, {"endpoint": "http://x"}, {"sample": 2}],
)
def test_settings_that_make_no_sense_are_refused(given):
    """By name; a collector's address has a path, and no credentials stand in it."""
    with pytest.raises(ValidationError, match=next(iter(given))):
        TracesSection(**given)


def test_an_entry_point_switches_traces_on(migrated_url, collector, monkeypatch, tmp_path):
    """What `python -m jobs` and the web processes begin with does it."""
    file = tmp_path / "bridge.toml"
    file.write_text(
        f'[database]\nurl = "{migrated_url}"\n[traces]\nendpoint = "{collector.url}/v1/traces"\nsample = 1.0\n'
    )
    monkeypatch.setenv("BRIDGE_CONFIG", str(file))
    runtime = doctor.bridge_or_exit()
    with traces.span("job", job="x"):
        pass
    (span,) = spans(collector)
    assert span["name"] == "job"
    runtime.engine.dispose()

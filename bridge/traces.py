"""Traces by OpenTelemetry, where `[traces]` switches them on; and the only home of its packages, loaded only then.

Everything that happens to a transfer, in whatever process and however much later, belongs to one trace: its id is the
transfer's own, as in the log. A request of a client has a trace of its own that is linked with it, and a `traceparent`
that comes from outside is linked too, never adopted: nobody else decides what a transfer's trace is called.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import wraps
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from bridge import log
from bridge.sections import TracesSection

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.trace import Link, Span, SpanContext, Tracer

Given = ParamSpec("Given")
Done = TypeVar("Done")

SERVICE = "transfer-wallet-bridge"
EXPORT_SECONDS = 5.0
"""How long a collector has for one batch; what it does not take is dropped, and nothing else waits for it."""

PACKAGES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")

_NOTHING = nullcontext()
_tracer: Tracer | None = None
_provider: TracerProvider | None = None
_carries: ContextVar[bool] = ContextVar("bridge_carries_trace", default=False)
_root: ContextVar[tuple[int, int] | None] = ContextVar("bridge_root_span", default=None)
_log = log.get("traces")


class NotInstalled(Exception):
    """Traces are switched on, and the packages that they need are not there; the text says which file names them."""


def require(settings: TracesSection) -> None:
    """Raise NotInstalled where traces are switched on and cannot be made."""
    if settings.endpoint is None:
        return
    try:
        missing = [name for name in PACKAGES if find_spec(name) is None]
    except ModuleNotFoundError:  # a parent of it
        missing = list(PACKAGES)
    if missing:
        raise NotInstalled(
            "traces.endpoint is set and OpenTelemetry is not installed: install requirements-traces.txt, or remove it"
        )


def start(settings: TracesSection, worker: str) -> None:
    """Switch traces on in this process, if they are configured. Raises NotInstalled."""
    global _tracer, _provider  # noqa: PLW0603 - one for a process, as its log
    require(settings)
    if settings.endpoint is None:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    _hear_its_log()
    resource = Resource.create({"service.name": SERVICE, "service.instance.id": worker})
    _provider = TracerProvider(sampler=_sampler(settings.sample), resource=resource, id_generator=_ids())
    exporter = OTLPSpanExporter(endpoint=settings.endpoint, timeout=EXPORT_SECONDS)
    _provider.add_span_processor(BatchSpanProcessor(exporter, export_timeout_millis=EXPORT_SECONDS * 1000))
    _tracer = _provider.get_tracer(SERVICE)


def stop() -> None:
    """Send what is left, and switch traces off."""
    global _tracer, _provider
    ended, _tracer, _provider = _provider, None, None
    if ended is not None:
        ended.shutdown()


# --- spans --------------------------------------------------------------------------------------------


def span(name: str, *, transfer: str | None = None, **told: Any) -> AbstractContextManager[Any]:
    """What is done inside takes so long; `told` are its attributes, never a secret and nothing of a player's. With
    `transfer` it belongs to that transfer's trace."""
    return _NOTHING if _tracer is None else _begun(name, transfer, told, outwards=False)


def spanned(name: str) -> Callable[[Callable[Given, Done]], Callable[Given, Done]]:
    """As :func:`span`, around a function whose second argument is the id of the transfer that it is about."""

    def around(function: Callable[Given, Done]) -> Callable[Given, Done]:
        @wraps(function)
        def within(*given: Given.args, **named: Given.kwargs) -> Done:
            with span(name, transfer=str(given[1])):
                return function(*given, **named)

        return within

    return around


def call(name: str, *, transfer: str, **told: Any) -> AbstractContextManager[Any]:
    """As :func:`span`, around a request to a provider, which carries the trace."""
    return _NOTHING if _tracer is None else _begun(name, transfer, told, outwards=True)


def tell(**told: Any) -> None:
    """More attributes of the present span."""
    if _tracer is not None:
        from opentelemetry import trace

        trace.get_current_span().set_attributes(_named(told))


def root(transfer: str, **told: Any) -> None:
    """A transfer exists: the first span of its trace, under which all others stand."""
    if _tracer is None or (place := _place(transfer)) is None:
        return
    from opentelemetry.context import Context

    token = _root.set((place.trace_id, place.span_id))
    try:
        _tracer.start_span("transfer", Context(), attributes=_named({**told, "transfer": transfer})).end()
    finally:
        _root.reset(token)


def link(transfer: str) -> None:
    """The present span, of another trace, is about a transfer."""
    if _tracer is None or (place := _place(transfer)) is None:
        return
    from opentelemetry import trace

    present = trace.get_current_span()
    if present.get_span_context().trace_id != place.trace_id:
        present.add_link(place)
        present.set_attributes(_named({"transfer": transfer}))


def carried() -> Mapping[str, str]:
    """The headers that a request to a provider carries: its `traceparent`, where traces are on."""
    if _tracer is None or not _carries.get():
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers)
    return {"traceparent": headers["traceparent"]} if "traceparent" in headers else {}


class Request:
    """The span of one request of a client, from its arrival to its answer."""

    def __init__(self, name: str, traceparent: str, **told: Any) -> None:
        from opentelemetry import context, trace
        from opentelemetry.context import Context

        assert _tracer is not None
        self._span: Span = _tracer.start_span(
            name, Context(), kind=trace.SpanKind.SERVER, attributes=_named(told), links=_links(traceparent)
        )
        self._context, self._token = context, context.attach(trace.set_span_in_context(self._span))

    def end(self, **told: Any) -> None:
        """The answer leaves."""
        self._span.set_attributes(_named(told))
        self._span.end()
        self._context.detach(self._token)


def request(name: str, traceparent: str, **told: Any) -> Request | None:
    """The span of a request that has arrived with this `traceparent` header, empty for none; None where traces are
    off."""
    return None if _tracer is None else Request(name, traceparent, **told)


# --- how they are made --------------------------------------------------------------------------------


@contextmanager
def _begun(name: str, transfer: str | None, told: Mapping[str, Any], *, outwards: bool) -> Iterator[Any]:
    from opentelemetry import trace

    assert _tracer is not None
    context, links = _where(transfer)
    kind = trace.SpanKind.CLIENT if outwards else trace.SpanKind.INTERNAL
    named = _named(told if transfer is None else {**told, "transfer": transfer})
    token = _carries.set(outwards)
    try:
        # What is raised is in the log; its text may hold what a provider or a database said.
        with _tracer.start_as_current_span(
            name,
            context,
            kind=kind,
            attributes=named,
            links=links,
            record_exception=False,
            set_status_on_exception=False,
        ) as made:
            try:
                yield made
            except BaseException as error:
                made.set_status(trace.StatusCode.ERROR, type(error).__name__)
                raise
    finally:
        _carries.reset(token)


def _where(transfer: str | None) -> tuple[Context | None, list[Link]]:
    """The context in which a span about a transfer begins: under what is present where that is the same trace, else
    under the transfer's first span, linked with what is present."""
    from opentelemetry import trace
    from opentelemetry.context import Context

    place = None if transfer is None else _place(transfer)
    present = trace.get_current_span().get_span_context()
    if place is None or present.trace_id == place.trace_id:
        return None, []
    above = trace.set_span_in_context(trace.NonRecordingSpan(place), Context())
    return above, [trace.Link(present)] if present.is_valid else []


def _place(transfer: str) -> SpanContext | None:
    """The first span of a transfer's trace, worked out from its id alone; None for what is no id of a transfer."""
    from opentelemetry.trace import SpanContext, TraceFlags

    trace_id = log.trace_of(transfer)
    if trace_id is None:
        return None
    first = int.from_bytes(hashlib.sha256(bytes.fromhex(trace_id)).digest()[:8], "big") or 1
    return SpanContext(int(trace_id, 16), first, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _links(traceparent: str) -> list[Link]:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    told = TraceContextTextMapPropagator().extract({"traceparent": traceparent}, Context())
    theirs = trace.get_current_span(told).get_span_context()
    return [trace.Link(theirs)] if theirs.is_valid else []


def _named(told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name if "." in name else f"bridge.{name}": value if isinstance(value, bool | int | float) else str(value)
        for name, value in told.items()
    }


def _sampler(share: float) -> Sampler:
    """Whether a trace is kept is decided by its id alone, hashed: the same in every process, and a transfer's is kept
    whole or not at all. (The packages' own takes the low bits, which are not by chance in ids that sort by time.)"""
    from opentelemetry.sdk.trace.sampling import Sampler, SamplingResult, TraceIdRatioBased

    by_low_bits = TraceIdRatioBased(share)

    class ByHash(Sampler):
        def should_sample(self, parent_context: Any, trace_id: int, *more: Any, **told: Any) -> SamplingResult:
            digest = hashlib.sha256(trace_id.to_bytes(16, "big")).digest()
            return by_low_bits.should_sample(parent_context, int.from_bytes(digest[:16], "big"), *more, **told)

        def get_description(self) -> str:
            return f"ByHash{{{share:g}}}"

    return ByHash()


def _ids() -> IdGenerator:
    """Ids by chance, but for the first span of a transfer."""
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class OfTransfers(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            chosen = _root.get()
            return super().generate_trace_id() if chosen is None else chosen[0]

        def generate_span_id(self) -> int:
            chosen = _root.get()
            return super().generate_span_id() if chosen is None else chosen[1]

    return OfTransfers()


class _Heard(logging.Handler):
    """What the packages say, in our own log."""

    def emit(self, record: logging.LogRecord) -> None:
        _log.warning("traces", said=record.getMessage()[:500])


def _hear_its_log() -> None:
    theirs = logging.getLogger("opentelemetry")
    theirs.propagate = False
    theirs.handlers = [_Heard(logging.WARNING)]

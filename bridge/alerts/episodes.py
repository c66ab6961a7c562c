"""Episodes: what is wrong becomes a row, with a notice for each sink, in one commit; so does its end.

Any number of processes look at once. Whoever finds something new takes the turn, looks again under it, and writes;
the others then find nothing new. Notices are sent afterwards, by whoever comes first (`sending.py`). Processes need not
have the same ways to people: what was begun to be told by a way goes on by it, and whoever has a way by which something
was never told tells it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, insert, select, update

from bridge import checks, clocks, db, log, models
from bridge.alerts import conditions, orphans, wording
from bridge.alerts.conditions import Condition, Kind
from bridge.alerts.wording import Said
from bridge.models.alerts import NoticeState, Phase, Sink
from bridge.ports import SECOND
from bridge.runtime import Runtime

_alert: Table = models.metadata.tables["alert"]
_notice: Table = models.metadata.tables["alert_notice"]
_turn: Table = models.metadata.tables["alert_turn"]
_lineage: Table = models.metadata.tables["lineage"]
_operator: Table = models.metadata.tables["operator"]

EVERYTHING = tuple(Kind)
SEEN_SECONDS = 15
"""That something is still wrong is written this often."""

OVER_SECONDS = 30
"""It is over when it has not been seen for so long: what comes and goes is one thing."""

FRESH_SECONDS = 20
"""What others look at was seen so lately, or it may be over: they write it every SEEN_SECONDS, at their next tick."""

HAD_SECONDS = 3600
"""By a way that no process has said to have for so long nothing is told again: every few hours nobody would send it."""

NONE_LEFT = "No transfer of this operator is orphaned any more."

_log = log.get("alerts")


def sinks(runtime: Runtime) -> tuple[Sink, ...]:
    """The ways to people that are configured."""
    settings = runtime.config.alerts
    return (
        *((Sink.WEBHOOK,) if settings.webhook_url is not None else ()),
        *((Sink.EMAIL,) if settings.smtp_host is not None else ()),
    )


def look(runtime: Runtime, kinds: tuple[Kind, ...] = EVERYTHING) -> int:
    """Write what is new of these kinds: begun, more, again, or over; how many alerts that concerned. Of other kinds,
    which other processes look at, what lasts is told by our ways where it never was.

    Where nothing is new, nothing is written and no lock is taken.
    """
    with db.reading(runtime.engine) as connection:
        if not _Round(connection, runtime, kinds).is_news():
            return 0
    with db.writing(runtime.engine) as connection:
        _take_turn(connection)
        round_ = _Round(connection, runtime, kinds)
        told = round_.write()
    for kind, phase, sentence in told:
        _log.warning("alert", kind=kind, phase=phase, sentence=sentence)
    return len(told)


def _take_turn(connection: Connection) -> None:
    """One at a time, until this transaction ends."""
    db.insert_if_absent(connection, _turn, {"name": "look", "until": 0})
    connection.execute(select(_turn.c.name).where(_turn.c.name == "look").with_for_update())


def listed(connection: Connection, limit: int, operator_id: int | None = None) -> Sequence[RowMapping]:
    """Alerts, what lasts first, then newest first; only an operator's own where one is named."""
    query = select(_alert, _operator.c.name.label("operator")).outerjoin(
        _operator, _operator.c.id == _alert.c.operator_id
    )
    if operator_id is not None:
        query = query.where(_alert.c.operator_id == operator_id)
    order = (_alert.c.ended_at.is_not(None), _alert.c.began_at.desc(), _alert.c.id.desc())
    return connection.execute(query.order_by(*order).limit(limit)).mappings().all()


def notices(connection: Connection, alert_ids: Iterable[str]) -> Sequence[RowMapping]:
    """What was told about these alerts, oldest first, with what became of it."""
    query = select(_notice).where(_notice.c.alert_id.in_(list(alert_ids)))
    return connection.execute(query.order_by(_notice.c.created_at, _notice.c.id)).mappings().all()


def _ways_used(connection: Connection, alert_ids: Sequence[str]) -> dict[str, set[Sink]]:
    """By which ways something was said of each of these alerts."""
    if not alert_ids:
        return {}
    query = select(_notice.c.alert_id, _notice.c.sink).where(_notice.c.alert_id.in_(alert_ids)).distinct()
    used: dict[str, set[Sink]] = {}
    for alert_id, sink in connection.execute(query):
        used.setdefault(alert_id, set()).add(Sink(sink))
    return used


def _ways_had(connection: Connection) -> dict[Sink, int]:
    """Until when (microseconds) each way is taken to be some process's, by what processes have said."""
    names = {_name_of(sink): sink for sink in Sink}
    query = select(_turn.c.name, _turn.c.until).where(_turn.c.name.in_(names))
    return {names[name]: until for name, until in connection.execute(query)}


def _name_of(sink: Sink) -> str:
    return f"way {sink.value}"


class _Round:
    """One look: what is wrong, what is known to be, and what follows from the difference."""

    def __init__(self, connection: Connection, runtime: Runtime, kinds: tuple[Kind, ...]) -> None:
        self._connection, self._runtime, self._kinds = connection, runtime, kinds
        self._now = runtime.clock.now()
        names = [kind.value for kind in kinds]
        query = select(_alert).where(_alert.c.ended_at.is_(None)).order_by(_alert.c.id)
        open_ = {(row["kind"], row["about"]): row for row in connection.execute(query).mappings()}
        self._known = {key: row for key, row in open_.items() if row["kind"] in names}
        # What others look at: it lasts as long as they see it.
        others = {key: row for key, row in open_.items() if key not in self._known}
        self._others = {key: row for key, row in others.items() if not self._is_due(row, FRESH_SECONDS, "seen_at")}
        seen = conditions.find(connection, runtime, kinds)
        self._found = {(each.kind.value, each.about): each for each in seen.conditions}
        self._unread, self._orphans = seen.unread, seen.orphans
        self._ways = _ways_used(connection, [row["id"] for row in open_.values()])
        self._had = _ways_had(connection)
        self._told: list[tuple[str, str, str]] = []

    def is_news(self) -> bool:
        """Whether there is anything to write."""
        if self._orphans.groups or self._orphans.has_ended or self._new():
            return True
        if self._lineage_at() is not None or self._to_say_to_have() or self._to_note():
            return True
        if any(self._untold(row) for row in self._others.values()):
            return True
        return any(
            self._is_due(row, SEEN_SECONDS, "seen_at") or self._untold(row)
            if self._lasts(key, row)
            else self._is_over(row)
            for key, row in self._known.items()
        )

    def write(self) -> list[tuple[str, str, str]]:
        """Write it, in the caller's transaction; (kind, phase, sentence) of what people are told."""
        if self._orphans.has_ended:
            orphans.forget_ended(self._connection)
        self._say_to_have()
        if self._to_note():
            checks.note(self._connection, self._runtime)
        for key, row in self._known.items():
            if self._lasts(key, row):
                self._go_on(key, row)
            elif self._is_over(row):
                self._close(row)
        for key, row in self._others.items():
            untold, still = self._untold(row), self._still(key, row)
            if untold and still is not None:
                self._say(row, Phase.BEGUN, *still, untold)
        for group in self._orphans.groups:  # behind what is known: its beginning is told first
            self._tell_orphans(group)
        for condition in self._new():
            self._open(condition, {})
        remembered = self._lineage_at()
        if remembered is not None:
            self._connection.execute(update(_turn).where(_turn.c.name == "look").values(lineage_at=remembered))
        return self._told

    # --- what follows ---------------------------------------------------------------------------------

    def _new(self) -> list[Condition]:
        return [each for key, each in self._found.items() if key not in self._known and not each.early]

    def _lasts(self, key: tuple[str, str], row: RowMapping) -> bool:
        if row["kind"] in self._unread:
            return True
        if row["kind"] == Kind.ORPHANS:
            return int(row["about"]) in self._orphans.operators
        return key in self._found

    def _is_due(self, row: RowMapping, seconds: float, column: str) -> bool:
        return bool(self._now - row[column] >= seconds * SECOND)

    def _to_say_to_have(self) -> list[Sink]:
        """Our ways of which it is to be said again that a process has them; also where one said so whose clock was
        wrong."""
        long = HAD_SECONDS * SECOND // 2
        return [
            sink for sink in sinks(self._runtime) if not (self._is_had(sink) and self._had[sink] - self._now > long)
        ]

    def _say_to_have(self) -> None:
        until = self._now + HAD_SECONDS * SECOND
        for sink in self._to_say_to_have():
            name = _name_of(sink)
            db.insert_if_absent(self._connection, _turn, {"name": name, "until": until})
            self._connection.execute(update(_turn).where(_turn.c.name == name).values(until=until))
            self._had[sink] = until

    def _to_note(self) -> bool:
        """Whether it is to be noted that the jobs run: nobody else looks at checks."""
        if Kind.CHECK not in self._kinds or Kind.CHECK in self._unread:
            return False
        return not checks.is_noted(self._connection, self._runtime)

    def _is_had(self, sink: Sink) -> bool:
        """Whether any process has this way, as far as is known; whoever said so may have a clock that is ahead."""
        return 0 < self._had.get(sink, 0) - self._now <= HAD_SECONDS * SECOND + clocks.APART_AT_MOST

    def _untold(self, row: RowMapping) -> set[Sink]:
        """Our ways by which nothing was ever said of an alert: another process, which does not have them, saw it first,
        or they are new."""
        return set(sinks(self._runtime)) - self._ways.get(row["id"], set())

    def _is_over(self, row: RowMapping) -> bool:
        return self._is_due(row, OVER_SECONDS, "seen_at")

    def _lineage_at(self) -> int | None:
        """What has to be remembered of which database this is: at the first look, and once a restore was told for long
        enough; else None."""
        if Kind.SET_BACK not in self._kinds or Kind.SET_BACK in self._unread:
            return None
        seen = self._connection.execute(select(_lineage.c.seen_at)).scalar()
        known = self._connection.execute(select(_turn.c.lineage_at).where(_turn.c.name == "look")).scalar()
        told = seen is not None and self._now - seen >= conditions.RESTORE_SECONDS * SECOND
        return seen if seen != known and (known is None or told) else None

    def _open(self, found: Condition, more: Mapping[str, Any]) -> str:
        at = dict.fromkeys(("began_at", "seen_at", "told_at"), self._now)
        row = {"id": self._runtime.ids.new("al"), "kind": found.kind.value, "about": found.about,
               "operator_id": found.operator_id, "sentence": found.sentence, "over": found.over, **at}  # fmt: skip
        self._connection.execute(insert(_alert), row)
        self._say(row, Phase.BEGUN, found.sentence, more)
        return str(row["id"])

    def _go_on(self, key: tuple[str, str], row: RowMapping) -> None:
        hours = self._runtime.config.alerts.again_hours
        grown = row["kind"] == Kind.ORPHANS and any(
            str(group.operator_id) == row["about"] for group in self._orphans.groups
        )
        untold = self._untold(row)
        is_due = untold or (self._is_due(row, hours * 3600, "told_at") and not grown)
        if not is_due and not self._is_due(row, SEEN_SECONDS, "seen_at"):
            return
        still, told = self._still(key, row), {}
        if is_due and still is not None:
            had = {sink for sink in self._ways.get(row["id"], set()) if self._is_had(sink)}
            self._say(row, Phase.BEGUN if untold else Phase.AGAIN, *still, untold or had)
            told = {"told_at": self._now}
        self._keep(row["id"], row["sentence"] if still is None else still[0], **told)

    def _keep(self, alert_id: str, sentence: str, **told: int) -> None:
        """It was seen now, and this is how it stands: what people read has no older figures than what they are told."""
        values = {"seen_at": self._now, "sentence": sentence, **told}
        self._connection.execute(update(_alert).where(_alert.c.id == alert_id).values(**values))

    def _still(self, key: tuple[str, str], row: RowMapping) -> tuple[str, dict[str, Any]] | None:
        """How it stands now, in a sentence and with what is told beside it; None where nothing is left of it."""
        if row["kind"] != Kind.ORPHANS or Kind.ORPHANS in self._unread:
            return (self._found[key].sentence if key in self._found else row["sentence"]), {}
        return self._of_all_orphans(int(row["about"]))

    def _of_all_orphans(self, operator_id: int) -> tuple[str, dict[str, Any]] | None:
        number, units = orphans.standing(self._connection, operator_id)
        return wording.of_orphans(number, units, self._runtime.currencies, (), new=False) if number else None

    def _close(self, row: RowMapping) -> None:
        ended = update(_alert).where(_alert.c.id == row["id"], _alert.c.ended_at.is_(None))
        if self._connection.execute(ended.values(ended_at=self._now)).rowcount == 1:
            lasted = {"lasted_seconds": (self._now - row["began_at"]) // SECOND}
            self._say(row, Phase.OVER, row["over"], lasted, self._ways.get(row["id"], set()))

    def _tell_orphans(self, group: orphans.Group) -> None:
        """All new orphans of an operator in one message; those that are there already were told before, and all of them
        are told again at their time, whatever is new by then."""
        named = group.transfers[: orphans.NAMED]
        currencies, number = self._runtime.currencies, len(group.transfers)
        sentence, more = wording.of_orphans(number, group.units, currencies, named, new=True)
        about = str(group.operator_id)
        row = self._known.get((Kind.ORPHANS.value, about))
        if row is None:
            alert_id = self._open(Condition(Kind.ORPHANS, about, group.operator_id, sentence, NONE_LEFT), more)
        else:
            alert_id = row["id"]
            self._say(row, Phase.MORE, sentence, more)
        still = self._of_all_orphans(group.operator_id)
        self._keep(alert_id, sentence if still is None else still[0])
        orphans.mark_told(self._connection, group, alert_id)

    def _say(
        self, row: Mapping[str, Any] | RowMapping, phase: Phase, sentence: str, more: Mapping[str, Any],
        to: set[Sink] | None = None,
    ) -> None:
        """A notice for each sink, due at once: ours, and those by which this alert was told before, whoever has them
        now, so that who heard of it hears how it goes on; or to those that are named."""
        name = select(_operator.c.name).where(_operator.c.id == row["operator_id"])
        operator = "" if row["operator_id"] is None else str(self._connection.execute(name).scalar())
        desk = self._runtime.config.alerts.desk_url
        said = Said(row["id"], row["kind"], phase, operator, sentence, row["began_at"], self._now, more, desk)
        texts = {Sink.WEBHOOK: wording.as_json, Sink.EMAIL: wording.as_letter}
        used = self._ways.setdefault(row["id"], set())
        to = {*sinks(self._runtime), *used} if to is None else set(to)
        used |= to
        for sink in sorted(to):
            notice = {
                "id": self._runtime.ids.new("an"), "alert_id": row["id"], "phase": phase.value, "sink": sink.value,
                "subject": wording.subject(said), "body": texts[sink](said), "state": NoticeState.WAITING.value,
                "tries": 0, "epoch": 0, "wake_at": self._now, "failure": "", "created_at": self._now,
            }  # fmt: skip
            self._connection.execute(insert(_notice), notice)
        self._told.append((str(row["kind"]), phase.value, sentence))

"""A web process that stays up while its database is set back: whoever asks it for something, at the API or at the desk,
has it conclude nothing from a silence that is only forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from bridge import keys, lineage, readiness
from bridge.app import compose, create_app
from bridge.models.desk import Role
from bridge.sections import DeskSection
from bridge.transfers import resolve
from tests.desk import crew
from tests.harness import EUR, OPERATOR, PLAYER, PROVIDER, Bench, Hands, bench
from tests.restoring import Copies, in_place
from tests.transfers.conftest import REAL_TIMES
from tests.transfers.scripted import LOST, OK, ScriptedProvider


@dataclass
class Web:
    """A web process, with a caller of its API and somebody at its desk; and how its database comes back."""

    made: Bench
    provider: ScriptedProvider
    copies: Copies
    client: FlaskClient
    secret: str
    browser: crew.Browser

    def ask(self, method: str, path: str, key: str, body: Any = None) -> Any:
        """One request to the API."""
        sent = {"Authorization": f"Bearer {self.secret}", "Idempotency-Key": key}
        return self.client.open(path, method=method, json=body, headers=sent)

    def transfer(self, key: str, **headers: str) -> Any:
        """The player's next transfer in."""
        body = {"player_id": PLAYER, "provider": PROVIDER, "direction": "in", "amount": "10.00", "currency": EUR}
        sent = {"Authorization": f"Bearer {self.secret}", "Idempotency-Key": key, **headers}
        return self.client.post("/v1/transfers", json=body, headers=sent)

    def back_up(self) -> None:
        """A backup of this instant."""
        self.made.runtime.engine.dispose()
        self.copies.back_up()

    def is_set_back(self) -> None:
        """The jobs ran until now, and the database is set back; half a minute later somebody comes."""
        runtime = self.made.runtime
        jobs = replace(compose(runtime.config, runtime.clock), providers=runtime.providers)
        lineage.watch(jobs)
        jobs.engine.dispose()
        runtime.engine.dispose()
        self.copies.restore()
        self.provider.clock.turn(30)


@pytest.fixture
def web(migrated_url: str, tmp_path: Path) -> Iterator[Web]:
    """It has been up for a while; nothing is wrong yet."""
    provider = ScriptedProvider(Hands())
    settings = {**REAL_TIMES, "lane_policy": "block"}
    with bench(migrated_url, clock=provider.clock, provider=provider, **settings) as made:
        desk = DeskSection(secret=crew.SECRET, steward=OPERATOR)
        made.runtime = replace(made.runtime, config=made.runtime.config.model_copy(update={"desk": desk}))
        readiness.require(made.runtime)
        app = create_app(made.runtime)
        secret = keys.create(made.runtime, OPERATOR, ["transfers", "read"], "mine")[1]
        token, _ = crew.seat(made.runtime, crew.hire(made.runtime, made.operator, Role.OPERATOR, "olga"))
        copies = Copies(migrated_url, tmp_path, in_place(migrated_url))
        yield Web(made, provider, copies, app.test_client(), secret, crew.Browser(app).sit(token))


def forgotten_after_its_prepare(web: Web) -> str:
    """Its complete, which executed it, is not in the backup any more; its client was told 201."""

    def arrived(operation: str) -> None:
        if operation == "prepare":
            web.back_up()

    web.provider.during = arrived
    answer = web.transfer("k-1")
    assert (answer.status_code, answer.json["state"]) == (201, "confirmed")
    return str(answer.json["id"])


def forgotten_as_never_sent(web: Web) -> str:
    """In the backup it still waits for its first request; the jobs have sent it since."""
    queued = web.transfer("k-1", Prefer="respond-async").json["id"]
    web.back_up()
    for claim in resolve.claim_due(web.made.runtime, 1):
        resolve.resolve(web.made.runtime, claim)
    assert web.made.row(queued)["state"] == "confirmed"
    return str(queued)


def looked_at(web: Web, transfer_id: str) -> int:
    """Asked for, with the provider asked first."""
    return int(web.ask("GET", f"/v1/transfers/{transfer_id}?refresh=true", "-").status_code)


def cancelled(web: Web, transfer_id: str) -> int:
    """Wished cancelled."""
    return int(web.ask("POST", f"/v1/transfers/{transfer_id}/cancel", "c-1").status_code)


def followed_by_another(web: Web, _transfer_id: str) -> int:
    """The same player wants another one on its lane."""
    return int(web.transfer("k-2").status_code)


def asked_about_at_the_desk(web: Web, transfer_id: str) -> int:
    """A person has the provider asked again."""
    path = f"/ops/transfers/{transfer_id}/ask"
    return int(web.browser.post(path, reason="where is it?").status_code)


DOORS = {
    looked_at: 200,
    cancelled: 202,  # a wish, and no end that would stay with its key
    followed_by_another: 503,  # `provider_restored`
    asked_about_at_the_desk: 303,
}
"""Whatever has a web process drive a transfer, and what is answered while nothing is concluded."""


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("forgotten", [forgotten_after_its_prepare, forgotten_as_never_sent])
def test_nothing_is_reversed_that_the_database_has_only_forgotten(
    web: Web, forgotten: Callable[[Web], str], door: Callable[[Web, str], int]
) -> None:
    """C-58, I-13: no job has looked since the database was set back; whoever asks this process first has it look, and
    what the provider executed is not given back to the wallet."""
    transfer_id = forgotten(web)
    web.is_set_back()
    assert web.made.row(transfer_id)["state"] == "pending"

    answered = door(web, transfer_id)

    row = web.made.row(transfer_id)
    assert web.provider.net(PLAYER) == 1000
    assert row["state"] in ("pending", "orphaned")
    assert row["rewound_at"] is not None
    assert web.made.wallet() == 99_000
    assert answered == DOORS[door]
    web.made.audit()


def test_nothing_is_reversed_that_was_forgotten_while_it_was_out(web: Web) -> None:
    """C-58, I-13: the database is set back while the complete is out. Its answer says nothing, but that there was one
    to come proves that it was sent; what the backup knows alone would be a prepare that died."""

    def arrived(operation: str) -> None:
        if operation == "prepare":
            web.back_up()
        elif operation == "complete":
            web.provider.during = lambda _operation: None
            web.is_set_back()
            web.provider.records["Q1"].state = "COMPLETED"  # half a minute ago, in its time

    web.provider.during, web.provider.script = arrived, [OK, LOST]
    answer = web.transfer("k-1")

    assert (answer.status_code, answer.json["state"]) == (202, "pending")
    assert web.provider.net(PLAYER) == 1000
    assert web.made.wallet() == 99_000
    assert looked_at(web, answer.json["id"]) == 200
    row = web.made.row(answer.json["id"])
    assert (row["state"], row["rewound_at"] is None) == ("pending", False)


@pytest.mark.parametrize("door", DOORS)
def test_who_cannot_look_concludes_nothing(web: Web, door: Callable[[Web, str], int]) -> None:
    """C-58, I-13: the database goes away behind the claim, at the look: nobody knows what was forgotten, so nothing is
    concluded, and whoever asked is told to come again."""
    transfer_id = forgotten_after_its_prepare(web)
    web.is_set_back()

    @event.listens_for(web.made.runtime.engine, "before_cursor_execute")
    def goes_away(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "FROM lineage" in statement:
            raise OperationalError(statement, None, ConnectionResetError())

    assert door(web, transfer_id) == 503

    row = web.made.row(transfer_id)
    assert (row["state"], row["rewound_at"]) == ("pending", None)
    assert row["lease_owner"] is not None, "it was claimed, and its lease runs out by itself"
    assert web.made.wallet() == 99_000


def test_only_who_drives_what_was_there_looks(web: Web) -> None:
    """A plain transfer concludes nothing of old: nobody looks for it. One look goes with a claim, and none without."""
    looks = []
    event.listen(web.made.runtime.engine, "before_cursor_execute",
                 lambda _connection, _cursor, told, *_rest: "FROM lineage" in told and looks.append(told))  # fmt: skip
    confirmed = web.transfer("k-1").json["id"]
    looked_at(web, confirmed)
    assert looks == []
    queued = web.transfer("k-2", Prefer="respond-async").json["id"]
    assert looks == []
    looked_at(web, queued)
    assert len(looks) == 1
    assert web.made.row(queued)["state"] == "confirmed"

"""A login that is locked is told to people: once, and when it is open again."""

from __future__ import annotations

import json

import pytest

from bridge import keys
from bridge.alerts import episodes
from bridge.db import reading
from bridge.desk import entering, people
from bridge.models.desk import Role
from tests.desk import crew
from tests.harness import OPERATOR

PLACES = [f"192.0.2.{number}" for number in range(1, 5)]


def test_a_login_that_is_locked_is_told(build):
    """GLI-19 B.2.3: three wrong tries are told once, by whose operator it is and by no name; unlocked, it is over.
    Another one's lock is another message; whom nobody lets in any more is no news."""
    watched = build(desk_secret=crew.SECRET)
    runtime, operator = watched.made.runtime, watched.made.operator
    other = keys.add_operator(runtime, "elsewhere")
    ann = crew.hire(runtime, operator, Role.APPROVER, "approver-ann")
    crew.hire(runtime, other, Role.VIEWER, "viewer-zoe")

    def wrong(login: str, times: int) -> None:
        for place in PLACES[:times]:
            with pytest.raises(entering.NotLetIn):
                entering.by_password(runtime, login=login, password="not it at all", code="000000", address=place)

    wrong("approver-ann", 2)
    watched.tick()
    assert watched.heard() == []
    wrong("approver-ann", 1)
    watched.pass_time(60)
    (event,) = [each["data"] for each in watched.posted()]
    assert (event["kind"], event["operator"]) == ("login_locked", OPERATOR)
    assert event["link"] == "https://desk.example/ops/audit?kind=lock"
    assert "ann" not in json.dumps(event)
    wrong("viewer-zoe", 3)
    watched.pass_time(60)
    assert [each["data"]["operator"] for each in watched.posted()] == [OPERATOR, "elsewhere"]
    with reading(runtime.engine) as connection:
        assert [row["kind"] for row in episodes.listed(connection, 10, other)] == ["login_locked"]
    crew.unlock(runtime, ann)
    watched.pass_time(60)
    assert watched.heard()[2:] == [("alert.over", "login_locked")]
    zoe = people.found(runtime, "viewer-zoe")
    people.disable(runtime, people.by_command(crew.WHY), other, zoe["id"])
    watched.pass_time(60)
    assert watched.heard()[3:] == [("alert.over", "login_locked")]
    assert [each["operator"] for each in (told["data"] for told in watched.posted()[2:])] == [OPERATOR, "elsewhere"]

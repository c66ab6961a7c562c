"""Operators and API keys: shown once, hashed at rest, scoped, revoked at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bridge import keys
from bridge.errors import Conflict, Invalid, NotFound
from bridge.keys import Scope
from tests.harness import OPERATOR, Bench, bench


@pytest.fixture
def desk(migrated_url: str) -> Iterator[Bench]:
    """A bridge with one operator."""
    with bench(migrated_url) as made:
        yield made


def test_secret_is_nowhere_in_the_database(desk: Bench) -> None:
    """I-42 A key is shown once: no column of any row holds it, or any ten characters of it."""
    _, secret = keys.create(desk.runtime, OPERATOR, ["transfers"], "till")
    (row,) = desk.rows("SELECT * FROM api_key")
    body = secret.removeprefix(keys.KEY_PREFIX)
    assert len(body) >= 43, "256 bits"
    for value in map(str, row.values()):
        assert not any(body[n : n + 10] in value for n in range(len(body) - 10))
    assert secret.startswith("bk_")


def test_caller_is_found_by_the_exact_secret_only(desk: Bench) -> None:
    """I-42 I-55 The secret names its operator and scopes; anything else names nobody."""
    key_id, secret = keys.create(desk.runtime, OPERATOR, ["transfers", "read"], "till")
    caller = keys.caller(desk.runtime, secret)
    assert caller is not None
    assert (caller.operator_id, caller.operator, caller.key_id) == (desk.operator, OPERATOR, key_id)
    for wrong in (
        "",
        secret[:-1],
        secret + "x",
        secret.upper(),
        key_id,
        "bk_",
        f" {secret}",
        secret.removeprefix("bk_"),
        "\x00",
        "é" * 40,
    ):
        assert keys.caller(desk.runtime, wrong) is None
    (row,) = desk.rows("SELECT digest FROM api_key")
    assert keys.caller(desk.runtime, row["digest"]) is None, "the digest is no key"


# scopes granted → what the key may do: read, transfers, admin; typed out.
GRANTS = [
    (["read"], (True, False, False)), (["transfers"], (False, True, False)), (["admin"], (True, True, True)),
    (["read", "transfers"], (True, True, False)), (["read", "read"], (True, False, False)),
]  # fmt: skip


@pytest.mark.parametrize(("granted", "may"), GRANTS)
def test_scopes(desk: Bench, granted: list[str], may: tuple[bool, ...]) -> None:
    """I-54 A key may do what it was granted; admin may do everything."""
    caller = keys.caller(desk.runtime, keys.create(desk.runtime, OPERATOR, granted, "")[1])
    assert caller is not None
    assert tuple(caller.may(scope) for scope in (Scope.READ, Scope.TRANSFERS, Scope.ADMIN)) == may


@pytest.mark.parametrize("scopes", [[], ["write"], ["read", "ADMIN"], [""]])
def test_unknown_scopes_make_no_key(desk: Bench, scopes: list[str]) -> None:
    """I-54 A scope that nobody knows, or none at all, is refused and stores nothing."""
    with pytest.raises(Invalid) as refused:
        keys.create(desk.runtime, OPERATOR, scopes, "")
    assert list(refused.value.fields) == ["scopes"]
    assert desk.rows("SELECT * FROM api_key") == []


def test_revoked_is_revoked_from_this_commit_on(desk: Bench) -> None:
    """I-42 A revoked key names nobody, for ever; the others of its operator live on; again changes nothing."""
    (first, dead), (_, alive) = (keys.create(desk.runtime, OPERATOR, ["admin"], label) for label in ("a", "b"))
    keys.revoke(desk.runtime, first)
    assert keys.caller(desk.runtime, dead) is None
    assert keys.caller(desk.runtime, alive) is not None
    at = desk.rows("SELECT revoked_at FROM api_key WHERE id = :i", i=first)
    keys.revoke(desk.runtime, first)
    assert desk.rows("SELECT revoked_at FROM api_key WHERE id = :i", i=first) == at
    with pytest.raises(NotFound):
        keys.revoke(desk.runtime, "key_none")


def test_operators(desk: Bench) -> None:
    """I-55 Operators have names of their own; a key of one is listed under that one alone."""
    other = keys.add_operator(desk.runtime, "second")
    assert other != desk.operator
    with pytest.raises(Conflict):
        keys.add_operator(desk.runtime, "second")
    assert [row["name"] for row in keys.operators(desk.runtime)] == [OPERATOR, "second"]
    made = [keys.create(desk.runtime, "second", ["read"], f"k{n}")[0] for n in range(3)]
    keys.create(desk.runtime, OPERATOR, ["read"], "mine")
    assert [row["id"] for row in keys.listed(desk.runtime, "second")] == made
    assert [row["label"] for row in keys.listed(desk.runtime, OPERATOR)] == ["mine"]
    for ask in (lambda: keys.listed(desk.runtime, "none"), lambda: keys.create(desk.runtime, "none", ["read"], "")):
        with pytest.raises(NotFound):
            ask()

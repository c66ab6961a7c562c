"""`providers pause` and `resume`, `restored`, and how `providers list` and `doctor` show the gates."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from bridge.errors import Unavailable
from tests.cli.conftest import written
from tests.harness import EUR, PLAYER, PROVIDER

ME = pwd.getpwuid(os.getuid()).pw_name


def row(said: str, name: str) -> str:
    """What stands in a table beside a name."""
    return next(line for line in said.splitlines() if line.strip().startswith(name)).strip().removeprefix(name).strip()


def test_a_provider_is_paused_and_resumed_by_whoever_typed_it(site: Any) -> None:
    """Design §3, rule 10: in is closed for every process, the row and the log name the account of this machine; out
    goes on; resumed, it is as if nothing had been."""
    folder, made, provider = site
    assert row(folder.did("providers", "list"), "transfers in") == "open"

    ended = folder.run("providers", "pause", PROVIDER, "--reason", "certificate expires", USER="somebody")
    assert ended.stdout == f"Transfers into {PROVIDER} are closed; transfers out, and all that is under way, go on.\n"
    line = json.loads(ended.stderr.splitlines()[-1])
    assert (line["event"], line["provider"], line["actor"]) == ("provider paused", PROVIDER, ME)
    (kept,) = made.rows("SELECT * FROM switch")
    assert (kept["cause"], kept["actor"], kept["reason"]) == ("paused", ME, "certificate expires")

    with pytest.raises(Unavailable):
        made.begin("in")
    provider.play("ann", "5.00")
    assert made.row(made.run("out", "5.00", ask=5))["state"] == "confirmed"
    told = row(folder.did("providers"), "transfers in")
    assert told.startswith("closed since 20")
    assert told.endswith(f" by {ME} (paused): certificate expires")
    assert "transfers in are closed (paused): certificate expires" in folder.run("doctor").stdout

    said = folder.did("providers", "resume", PROVIDER)
    assert said.startswith(f"Transfers into {PROVIDER} may begin again. They were closed since ")
    assert said.endswith(f"{ME} (paused): certificate expires\n")
    assert made.row(made.run("in", "5.00", ask=5))["state"] == "confirmed"
    assert row(folder.did("providers", "list"), "transfers in") == "open"


def test_resuming_tells_how_many_balances_still_differ(site: Any) -> None:
    """C-58: whoever opens a provider by hand is told what nobody has explained yet."""
    folder, made, _ = site
    folder.did("restored")
    row = {"id": "bb_1", "operator_id": made.operator, "provider": PROVIDER, "player_id": PLAYER, "currency": EUR}
    columns = {**row, "ours": 1, "theirs": 2, "told_by": "sweep", "opened_at": 1}
    with made.runtime.engine.begin() as connection:
        names = ", ".join(columns)
        values = ", ".join(f":{name}" for name in columns)
        connection.execute(text(f"INSERT INTO balance_break ({names}) VALUES ({values})"), columns)

    said = folder.did("providers", "resume", PROVIDER)

    last = said.splitlines()[-1]
    assert last == "Balances there that still differ from ours: 1 (`python -m bridge inbox breaks`)."


def test_what_cannot_be_paused_or_resumed_is_one_sentence(site: Any) -> None:
    """Design §3, rule 10: money may always come home; a name that means nothing is told; a reason is required."""
    folder, made, _ = site
    out = folder.refused("providers", "pause", PROVIDER, "--reason", "x", "--direction", "out")
    assert out == "Transfers out are never closed: money may always come home."
    none = folder.refused("providers", "pause", "none", "--reason", "maintenance")
    assert none == "There is no provider 'none' in the configuration."
    assert folder.refused("providers", "resume", PROVIDER) == f"Transfers into '{PROVIDER}' are not closed."
    assert "Missing option '--reason'" in folder.run("providers", "pause", PROVIDER).stderr
    for reason in ("", "  x "):
        said = folder.refused("providers", "pause", PROVIDER, "--reason", reason)
        assert said.endswith("reason must have 3 to 500 characters.")
    assert made.rows("SELECT * FROM switch") == []


def test_the_list_shows_what_is_used_of_a_cap(site: Any) -> None:
    """I-57: unresolved value in beside its cap, exactly; without a cap there is no such row."""
    folder, made, _ = site
    assert f"unresolved {EUR}" not in folder.did("providers", "list")
    made.begin("in", "12.34", queued=True)
    made.begin("out", "1.00", queued=True)

    said = folder.did("providers", "list", BRIDGE_PROVIDERS__SIM__EXPOSURE_CAPS=json.dumps({EUR: "5000.00"}))

    assert row(said, f"unresolved {EUR}") == "12.34 of at most 5000.00"


def test_a_cap_that_is_none_is_one_sentence(site: Any) -> None:
    """I-57, I-08: every command that composes a bridge refuses it by its key."""
    folder, _, _ = site
    for command in (("providers", "list"), ("verify",), ("doctor",)):
        said = folder.refused(*command, BRIDGE_PROVIDERS__SIM__EXPOSURE_CAPS=json.dumps({EUR: "0.005"}))
        assert said == (
            "The configuration cannot be used: "
            f"providers.{PROVIDER}.exposure_caps.{EUR} has more than the 2 decimals of EUR."
        )


def test_the_list_needs_no_database_and_makes_none(folder: Any) -> None:
    """Design §5: what a provider promises can be read before there is a database; no file is left by looking."""
    folder.configure(written("sqlite:///bridge.db", "http://127.0.0.1:9"))
    said = folder.did("providers", "list")

    assert row(said, "transfers in") == "not known: there is no file bridge.db: run `python -m bridge migrate` first"
    assert not (folder.path / "bridge.db").exists()
    away = folder.did("providers", "list", BRIDGE_DATABASE__URL="postgresql://127.0.0.1:1/bridge")
    assert row(away, "transfers in").startswith("not known: The database cannot be used: ")


def test_a_person_says_that_a_backup_was_restored(site: Any) -> None:
    """C-58: the same effect as if it had been noticed: closed for in, what was not final is marked."""
    folder, made, _ = site
    waiting = made.begin("in", "1.00", queued=True).transfer_id

    said = folder.did("restored", "--reason", "night of the storm")

    assert said.splitlines()[0] == f"Closed for transfers in: {PROVIDER}. Transfers that were not final: 1."
    (kept,) = made.rows("SELECT * FROM switch")
    assert (kept["cause"], kept["actor"], kept["reason"]) == ("restored", ME, "night of the storm")
    assert made.row(waiting)["rewound_at"] is not None
    assert folder.did("providers", "resume", PROVIDER).endswith(f"{ME} (restored): night of the storm\n")
    (note,) = made.rows("SELECT kind, operator_id, login, reason, after FROM access_note")
    assert (note["kind"], note["operator_id"], note["login"]) == ("say restored", made.operator, ME)
    assert note["reason"] == "night of the storm"
    assert note["after"] == f"closed for transfers in: {PROVIDER}; and for withdrawals; marked transfers: 1"


def test_a_restore_is_said_with_a_reason(site: Any) -> None:
    """C-58: one that nobody could understand later is named, and nothing is closed."""
    folder, made, _ = site
    for said in (" ", "x" * 501):
        refused = folder.run("restored", "--reason", said)
        assert (refused.returncode, "reason must have 3 to 500 characters" in refused.stderr) == (2, True)
    assert made.rows("SELECT * FROM switch") == made.rows("SELECT * FROM withdrawal_switch") == []


def test_a_person_says_since_when_a_backup_was_there(site: Any) -> None:
    """C-58: said late, it is told since when nothing that was told is proof; an instant nearer than one that is known
    takes nothing of that back, and one that is none is named and changes nothing."""
    folder, made, _ = site
    waiting = made.begin("in", "1.00", queued=True).transfer_id

    refused = folder.run("restored", "--since", "yesterday")
    assert (refused.returncode, "since must be an instant with its offset" in refused.stderr) == (2, True)
    assert made.row(waiting)["rewound_at"] is None

    for said in ("2026-01-31T12:00:00Z", "2026-02-28T12:00:00Z"):
        folder.did("restored", "--since", said)
        assert made.row(waiting)["first_rewound_at"] == 1769860800 * 1_000_000
        assert made.row(waiting)["rewound_at"] > made.row(waiting)["first_rewound_at"]


def test_a_copy_is_noticed_by_the_next_command(folder: Any, tmp_path: Path) -> None:
    """C-58: whichever process is the first on a copy of the database finds that it is one, and closes it."""
    folder.configure(written("sqlite:///bridge.db", "http://127.0.0.1:9"))
    folder.did("migrate")
    folder.did("operators", "list")
    assert row(folder.did("providers", "list"), "transfers in") == "open"
    (folder.path / "copy.db").write_bytes((folder.path / "bridge.db").read_bytes())

    ended = folder.run("operators", "list", BRIDGE_DATABASE__URL="sqlite:///copy.db")

    assert ended.returncode == 0
    assert '"database restored"' in ended.stderr
    told = row(folder.did("providers", "list", BRIDGE_DATABASE__URL="sqlite:///copy.db"), "transfers in")
    assert "(restored): the database is a copy or a restored backup: another file than before" in told
    assert row(folder.did("providers", "list"), "transfers in") == "open", "the original is as it was"


def test_the_doctor_says_where_the_mark_is_kept(folder: Any, postgresql_url: str) -> None:
    """C-58: beside the file of SQLite without being asked; for PostgreSQL it has to be named, and the doctor says so;
    a folder that is not there is bad."""
    folder.configure(written(postgresql_url, "http://127.0.0.1:9"))
    folder.did("migrate")
    unnamed = folder.run("doctor").stdout
    assert "a disk that was set back would not: set database.mark_file" in unnamed
    named = folder.run("doctor", BRIDGE_DATABASE__MARK_FILE=str(folder.path / "mark")).stdout
    assert f"its mark is kept in {folder.path / 'mark'}" in named
    nowhere = folder.run("doctor", BRIDGE_DATABASE__MARK_FILE="/nowhere/mark").stdout
    assert next(line for line in nowhere.splitlines() if " lineage " in line).startswith("bad")


@pytest.fixture
def postgresql_url(request: pytest.FixtureRequest) -> Any:
    """An empty database of the run's server."""
    postgres = request.getfixturevalue("postgres")
    name = f"bridge_cli_{os.getpid()}_mark"
    yield postgres.create_database(name)
    postgres.drop_database(name)

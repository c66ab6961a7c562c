"""Whoever owns the database changes it: whatever is done, an inspection says what, where and whose it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import BigInteger, Boolean, Integer

from bridge import db
from bridge.audit import mirror, standing
from bridge.audit.canon import row_hash
from bridge.audit.sealed import BY_NAME, COLUMNS
from tests.audit.ground import TABLES, Ground, ground


@pytest.fixture
def made(migrated_url: str, tmp_path: Path):
    """Two operators, six stories, all sealed and mirrored."""
    with ground(migrated_url, tmp_path) as made:
        made.sealed(6)
        yield made


def test_what_was_left_alone_is_sound(made: Ground):
    """I-56 R17 Nothing is found where nobody has done anything; every row of every table was looked at."""
    report = made.sound()
    total = sum(
        made.one(f'SELECT COUNT(*) FROM "{name}"')
        for name in (
            "posting evidence history transfer attempt decision cash_movement inbox security_event event delivery_try "
            "access_note proposal verdict"
        ).split()
    )
    assert report.entries == total
    assert (report.unsealed, report.mirrored) == (0, True)


EDITS = {
    "posting": ("amount = amount + 1", "id = 3", "id 3", 1),
    "evidence": ("answer = 'applied'", "id = 5", "id 5", 2),
    "history": ("actor = 'nobody'", "id = 4", "id 4", 1),
    "transfer": ("amount = 1", "id = 'tr_00003'", "id tr_00003", 2),
    "attempt": ("wire_until = 7", "transfer_id = 'tr_00003'", "transfer_id tr_00003, ordinal 2, attempt 1", 2),
    "decision": ("reason = 'another'", "id = 'de_00002'", "id de_00002", 1),
    "cash_movement": ("player_id = 'bob'", "id = 'cm_00002'", "id cm_00002", 1),
    "inbox": ("body = '[]'", "id = 2", "id 2", 0),
    "security_event": ("peer = 'q'", "id = 2", "id 2", 0),
    "event": ("body = '[]'", "operator_id = 2 AND sequence = 2", "operator_id 2, sequence 2", 2),
    "delivery_try": ("status = 500", "id = 2", "id 2", 1),
    "access_note": ("outcome = 'refused'", "id = 2", "id 2", 1),
    "proposal": ("reason = 'another'", "id = 'pr_00003'", "id pr_00003", 2),
    "verdict": ("reason = 'another'", "proposal_id = 'pr_00003'", "proposal_id pr_00003, person_id checker_2", 2),
}
"""By table: a change, to which row, how that row is told, and whose it is (0: nobody's)."""


@pytest.mark.parametrize("table", EDITS)
def test_an_edited_row_is_found(made: Ground, table: str):
    """I-56 R17 One column of one row of any sealed table: that row is named, and nothing else."""
    change, which, told, operator = EDITS[table]
    made.owner(f'UPDATE "{table}" SET {change} WHERE {which}')

    assert made.found() == [("edited", table, told, operator)]


def test_a_row_of_before_the_messages_has_the_hash_that_it_had():
    """I-56 R17 What was sealed before a column was added stands; whatever is written there later is another row."""
    source, row = BY_NAME["evidence"], ["x", 7]
    assert source.hash_of([*row, None, None]) == row_hash(row)
    hashes = {source.hash_of([*row, *more]) for more in ((None, None), ("a", None), (None, "a"), ("", None))}
    assert len(hashes) == 4
    assert BY_NAME["inbox"].hash_of([*row, None]) == row_hash([*row, None])


def test_every_sealed_column_is_sealed(migrated_url: str):
    """I-56 R17 Whichever sealed column of whichever table is changed, the row is named."""
    with ground(migrated_url) as made:
        made.sealed(4)
        if made.runtime.engine.dialect.name == "postgresql":
            checks = "SELECT conrelid::regclass AS of_table, conname FROM pg_constraint WHERE contype = 'c'"
            made.owner(*(f"ALTER TABLE {row['of_table']} DROP CONSTRAINT {row['conname']}" for row in made.rows(
                checks + " AND connamespace = 'public'::regnamespace")))  # fmt: skip
        for table, columns in COLUMNS.items():
            source = BY_NAME[table]
            for column in (each for each in columns if each not in source.key):
                where, values = _one_row(made, table)
                before = made.one(f'SELECT "{column}" FROM "{table}" WHERE {where}', **values)
                value = _another(table, column, before)
                set_it = f'UPDATE "{table}" SET "{column}" = :value WHERE {where}'
                made.owner(set_it, value=value, **values)
                found = made.inspect().findings
                assert {(each.where, each.kind.value) for each in found} & {
                    (table, "edited"), (table, "moved"), (table, "deleted")
                }, (table, column, found)  # fmt: skip
                made.owner(set_it, value=before, **values)
        made.sound()


def _one_row(made: Ground, table: str) -> tuple[str, dict[str, object]]:
    """The second row of a table, as a condition."""
    key = BY_NAME[table].key
    names = ", ".join(key)
    row = made.rows(f'SELECT {names} FROM "{table}" ORDER BY {names} LIMIT 2')[1]
    return " AND ".join(f"{name} = :key_{name}" for name in key), {f"key_{name}": row[name] for name in key}


ALLOWED = {
    "direction": ("in", "out"), "kind": ("confirm", "reverse", "deposit", "withdrawal"), "side": ("debit", "credit"),
    "source": ("call", "lookup"), "step": ("transfer", "prepare"), "answer": ("applied", "unknown"),
}  # fmt: skip
"""Words that a CHECK lets in."""


def _another(table: str, column: str, before: object) -> object:
    """A value that the column may hold and does not hold now."""
    kind = TABLES[table].columns[column].type
    if column in ALLOWED and table != "history" and (table, column) not in (("event", "kind"), ("inbox", "kind")):
        words = [word for word in ALLOWED[column] if word != before]
        return words[-1] if table == "cash_movement" else words[0]
    if isinstance(kind, Boolean):
        return not before
    if column == "needs":
        return 2
    if isinstance(kind, BigInteger | Integer):
        return 1 if before is None else int(str(before)) + 1
    return "x" if before is None else f"{before}x"


@pytest.mark.parametrize("table", EDITS)
def test_a_deleted_row_is_found(made: Ground, table: str):
    """I-56 R17 The row that is gone is named."""
    _, which, told, operator = EDITS[table]
    made.owner(f'DELETE FROM "{table}" WHERE {which}')

    found = made.found()
    assert ("deleted", table, told, operator) in found
    # What is sealed at a row's place, or is known to be an operator's by it, is told too.
    named = which.split("'")[1] if "'" in which else None
    assert all(table == where or (named and named in each) or kind in ("stray", "deleted", "moved")
               for kind, where, each, _ in found), found  # fmt: skip


INSERTS = {
    "posting": "INSERT INTO posting SELECT -1, operator_id, player_id, transfer_id, NULL, 9, debit, credit, 5, "
               "currency,"
               " NULL, NULL, at FROM posting WHERE id = 1",
    "evidence": "INSERT INTO evidence (id, transfer_id, ordinal, source, attempt, answer, code, detail, "
                "attempt_sensitive, digest, at, worker, lease_epoch) SELECT -1, transfer_id, ordinal, source, attempt, "
                "'applied', code, detail, attempt_sensitive, digest, at, worker, lease_epoch FROM evidence WHERE id "
                "= 1",
    "history": 'INSERT INTO history (id, transfer_id, version, subject, "trigger", source, target, reason, actor, '
               "lease_epoch, at) SELECT -1, transfer_id, 3, 'transfer', 'orphan', 'confirmed', 'orphaned', '', "
               "actor, 1, "
               "at FROM history WHERE id = 1",
    "inbox": "INSERT INTO inbox (id, provider, message_id, kind, body, digest, peer, sent_at, received_at) "
             "VALUES (-1, 'sim', 'm-x', 'k', '{}', 'd', 'p', 1, 1)",
    "security_event": "INSERT INTO security_event VALUES (-1, 'k', 'p', 'p', 'd', 'd', 1)",
    "delivery_try": "INSERT INTO delivery_try VALUES (-1, 2, 1, 200, '', 1)",
    "access_note": "INSERT INTO access_note (id, at, operator_id, kind, outcome, address) "
                   "VALUES (-1, 1, 1, 'login', 'done', 'a')",
    "proposal": "INSERT INTO proposal SELECT 'pr_x', operator_id, transfer_id, kind, arrived, returned, reason, "
                "maker_id,"
                " needs, version, seen, postings, batch, created_at - 1, expires_at, 'rejected', ended_at, ended_why, "
                "NULL FROM proposal WHERE id = 'pr_00002'",
    "verdict": "INSERT INTO verdict SELECT proposal_id, 'maker_1', 'maker_2', approves, reason, at FROM verdict "
               "WHERE proposal_id = 'pr_00003'",
}  # fmt: skip
"""Rows that are put among those that were sealed."""


@pytest.mark.parametrize("table", INSERTS)
def test_an_inserted_row_is_found(made: Ground, table: str):
    """I-56 R17 A row that is put among those that were sealed is named."""
    made.owner(INSERTS[table])

    ((kind, where, _, _),) = made.found()
    assert (kind, where) == ("inserted", table)


STRAYS = {
    "transfer": "INSERT INTO transfer (id, operator_id, player_id, provider, direction, amount, currency, state, "
                "version,"
                " idempotency_key, created_at, updated_at, orphan_at, lease_epoch, failures) SELECT 'tr_x', "
                "operator_id,"
                " player_id, provider, direction, 5, currency, state, version, 'x', created_at, updated_at, "
                "orphan_at, 1,"
                " 0 FROM transfer WHERE id = 'tr_00001'",
    "attempt": "INSERT INTO attempt SELECT transfer_id, ordinal, 2, step, sent_at, wire_until, lease_owner, "
               "lease_epoch "
               "FROM attempt WHERE transfer_id = 'tr_00001'",
    "decision": "INSERT INTO decision SELECT 'de_x', transfer_id, kind, arrived, returned, maker, checker, reason, 0, "
                "decided_at FROM decision WHERE id = 'de_00001'",
    "cash_movement": "INSERT INTO cash_movement SELECT 'cm_x', operator_id, player_id, kind, 5, currency, 'x', "
                     "created_at FROM cash_movement WHERE id = 'cm_00001'",
}  # fmt: skip


@pytest.mark.parametrize("table", STRAYS)
def test_a_row_that_nothing_led_to_is_found(made: Ground, table: str):
    """I-56 R17 What has no number of its own was written with a row that has one; without it, it is named."""
    made.owner(STRAYS[table])

    ((kind, where, _, _),) = made.found()
    assert (kind, where) == ("stray", table)


def test_a_row_inserted_with_what_it_is_sealed_at_is_found(made: Ground):
    """I-56 R17 A transfer with a move that begins it, among those that were sealed: both are named."""
    made.owner(STRAYS["transfer"], 'INSERT INTO history (id, transfer_id, version, subject, "trigger", target, reason, '
               "actor, lease_epoch, at) VALUES (-1, 'tr_x', 1, 'transfer', 'begin', 'pending', '', 'w', 1, 1)")

    assert made.found() == [("inserted", "history", "id -1", 2), ("inserted", "transfer", "id tr_x", 2)]


@pytest.mark.parametrize("table", ["posting", "evidence", "history", "inbox", "access_note"])
def test_rows_that_were_exchanged_are_found(made: Ground, table: str):
    """I-56 R17 Two rows under each other's number: both are named, and with whom they were exchanged."""
    ids = [row["id"] for row in made.rows(f'SELECT id FROM "{table}" ORDER BY id LIMIT 12')]
    first, second = (ids[0], ids[4]) if len(ids) > 4 else (ids[0], ids[1])
    statement = f'UPDATE "{table}" SET id = :new WHERE id = :old'
    if table == "evidence":
        made.owner("UPDATE evidence SET watermark = -1 WHERE source = 'person'")
        made.owner("UPDATE decision SET watermark = -1 WHERE FALSE")
    for old, new in ((first, -7), (second, first), (-7, second)):
        made.owner(statement, old=old, new=new)

    found = [each for each in made.found() if each[1] == table]
    expected = {("swapped", f"id {first}"), ("swapped", f"id {second}")}
    assert {(kind, which) for kind, _, which, _ in found} >= expected, found


@pytest.mark.parametrize("table", ["posting", "event", "transfer", "access_note"])
def test_the_end_of_a_table_that_is_cut_off_is_found(made: Ground, table: str):
    """I-56 R17 The last rows are gone, the seals are not."""
    place = {"event": "sequence", "transfer": "id", "posting": "id", "access_note": "id"}[table]
    last = made.one(f'SELECT MAX({place}) FROM "{table}"')
    made.owner(f'DELETE FROM "{table}" WHERE {place} = :last', last=last)

    found = [each for each in made.found() if each[1] == table]
    assert found
    assert all(kind == "deleted" for kind, *_ in found)
    assert str(last) in found[-1][2]


def test_a_row_that_was_given_to_another_operator_is_found(made: Ground):
    """I-56 R17 A posting that changes hands is named with both; a transfer that does takes its moves with it."""
    made.owner("UPDATE posting SET operator_id = 1 WHERE id = 1")
    assert made.found() == [("moved", "posting", "id 1", 2)]
    made.owner("UPDATE posting SET operator_id = 2 WHERE id = 1")
    made.sound()

    made.owner("UPDATE transfer SET operator_id = 1 WHERE id = 'tr_00001'")
    found = made.found()
    assert ("moved", "transfer", "id tr_00001", 2) in found
    assert {where for kind, where, _, _ in found if kind == "moved"} == {
        "transfer", "evidence", "history", "attempt", "decision",
    }  # fmt: skip


def test_values_that_sqlite_lets_in_are_found(made: Ground):
    """I-56 R17 A number where there was none, infinity where JSON has no word for it, bytes where a text was."""
    if made.runtime.engine.dialect.name == "sqlite":
        for value in ("9e999", "'1'", "X'00ff'", "1.5"):
            made.owner(f"UPDATE evidence SET balance = {value} WHERE id = 2")
            assert made.found() == [("edited", "evidence", "id 2", 2)], value
        made.owner("UPDATE evidence SET balance = NULL, code = CAST(X'ff' AS TEXT) WHERE id = 2")
        ((kind, where, _, _),) = made.found()
        assert (kind, where) == ("unreadable", "evidence")


# --- the seals themselves -------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["content", "digest", "previous", "hash", "entries", "upto", "after", "at", "run"])
def test_an_edited_seal_is_found(made: Ground, column: str):
    """I-56 R17 Whatever is changed in a seal: it is named by chain and number."""
    number = isinstance(TABLES["seal"].columns[column].type, BigInteger)
    change = f"{column} = {column} + 1000" if number else f"{column} = {column} || 'x'"
    if column == "content":
        change = "content = '[[1,\"0011223344556677\"]]'"
    made.owner(f"UPDATE seal SET {change.replace(column, chr(34) + column + chr(34))} WHERE chain = 1 AND number = 4")

    assert any(where.startswith("seal") and operator == 1 for _, where, _, operator in made.found())


def test_a_deleted_seal_is_found(made: Ground):
    """I-56 R17 A gap in an operator's numbers, and a run that lists what is not there."""
    made.owner("DELETE FROM seal WHERE chain = 1 AND number = 4")

    found = made.found()
    assert ("seal", "seal", "4", 1) in found


def test_a_deleted_run_is_found(made: Ground):
    """I-56 R17 A run with all its seals: the gap in the chain of runs, and where a table is not looked at any more."""
    made.sealed(4)
    made.owner("DELETE FROM seal WHERE run = 3")

    assert ("seal", "seal", "3", -1) in made.found()


def test_seals_that_no_run_lists_are_found(made: Ground):
    """I-56 R17 A seal that is added to a chain, in the right way, by nobody's run."""
    made.owner("INSERT INTO seal SELECT chain, number + 1, run + 1000, source, scope, late, after, upto, entries, "
               "content,"
               " digest, hash, 'x', at, format FROM seal WHERE chain = 1 AND number = "
               "(SELECT MAX(number) FROM seal WHERE chain = 1)")  # fmt: skip

    assert {operator for *_, operator in made.found()} == {1}


def test_rows_and_seals_that_are_cut_off_together_are_found_by_the_mirror(made: Ground):
    """I-56 R17 What was mirrored is not there any more: which runs, and of which operators."""
    made.sealed(4)
    last = made.one("SELECT MAX(number) FROM seal WHERE chain = -1")
    made.owner("DELETE FROM seal WHERE run > 13")
    for table, where in (("posting", "id > 12"), ("inbox", "id > 6"), ("security_event", "id > 6")):
        made.owner(f"DELETE FROM {table} WHERE {where}")

    found = made.found()
    assert ("truncated", "seal", f"14 to {last}", -1) in found
    assert {operator for kind, _, _, operator in found if kind == "truncated"} == {-1, 0, 1, 2}
    with pytest.raises(mirror.Refused, match="cut off"):
        mirror.go_on(made.runtime)


def test_what_is_written_anew_as_a_whole_is_found_by_the_mirror(made: Ground):
    """I-56 R17 A row is changed, and every seal is made again by the bridge's own code: by themselves they agree."""
    made.sealed(4)
    made.owner("UPDATE posting SET amount = 9999 WHERE id = 15", "DELETE FROM seal",
               "DELETE FROM seal_mark WHERE source NOT LIKE 'mirror/%'")  # fmt: skip
    made.seal()

    found = made.found()
    assert {kind for kind, *_ in found} <= {"rewritten", "truncated"}
    assert any(kind == "rewritten" and operator == -1 for kind, _, _, operator in found), found
    with pytest.raises(mirror.Refused):
        mirror.go_on(made.runtime)


def test_where_it_was_written_anew_is_said(made: Ground):
    """R17 The seals before the first that was changed are as they were mirrored: it is said between which lines."""
    first = made.one("SELECT MAX(number) FROM seal WHERE chain = -1")
    made.sealed(4)
    last = made.one("SELECT MAX(number) FROM seal WHERE chain = -1")
    made.sealed(2)
    made.owner(f"DELETE FROM seal WHERE run > {first}", "DELETE FROM seal_mark WHERE source NOT LIKE 'mirror/%'")
    made.write(9)
    made.seal()

    found = made.found()
    assert ("rewritten", "seal", f"{first + 1} to {last}", -1) in found or any(
        kind == "rewritten" and which.startswith(f"{first + 1} to ") for kind, _, which, _ in found
    ), found


def test_a_mark_that_was_changed_hides_nothing(made: Ground):
    """R17 How far sealing has seen is no secret and no proof: set forward, rows are left out, and are told of."""
    made.write(2)
    made.owner("UPDATE seal_mark SET looked = '[18]' WHERE source = 'posting'")
    made.write(2)
    made.seal()
    made.seal()

    assert {(kind, where) for kind, where, *_ in made.found()} == {("inserted", "posting")}
    made.owner("UPDATE seal_mark SET looked = '[]', again = 0, seen = '[1]', seen_at = 0, horizon = 0 "
               "WHERE source NOT LIKE 'mirror/%'")  # fmt: skip
    made.write(2)
    made.seal()
    made.seal()
    assert {where for _, where, *_ in made.found()} == {"posting"}


@pytest.mark.parametrize("later", ["", ", seen_at = 9000000000000000000", ", seen = '[999999999]', seen_at = 1"])
def test_a_mark_beyond_the_last_row_holds_nothing_up(made: Ground, later: str):
    """R17 Set to the end of all numbers, and to the end of time: it is made again, and everything is sealed."""
    made.owner(f"UPDATE seal_mark SET looked = '[999999999]'{later} WHERE source = 'posting'")
    for _ in range(3):
        made.write(2)
        made.seal()

    assert made.sound().unsealed == 0
    made.owner("UPDATE posting SET amount = 999999 WHERE id = (SELECT MAX(id) FROM posting)")
    assert [(kind, where) for kind, where, *_ in made.found()] == [("edited", "posting")]


@pytest.mark.parametrize("seen_at", [0, 9 * 10**18])
def test_a_mark_that_lies_about_sealing_is_not_believed(made: Ground, seen_at: int):
    """R17 Nothing is sealed any more, and the mark says that all was looked at, or tomorrow: it is told."""
    made.owner(f"UPDATE seal_mark SET looked = '[999999999]', seen = '[999999999]', seen_at = {seen_at} "
               "WHERE source = 'posting'")  # fmt: skip
    made.write(2)
    made.clock.turn(3600)

    with db.reading(made.runtime.engine) as connection:
        late = dict(standing.late(connection, made.runtime))
    assert late["posting"] >= 3600
    assert ("unsealed", "posting") in {(kind, where) for kind, where, *_ in made.found()}

"""The commands that look and arrange: migrate, verify, operators, keys, providers, transfers."""

from __future__ import annotations

import resource
import shutil

import pytest
from sqlalchemy import text

from bridge import keys
from tests.harness import OPERATOR, PLAYER, PROVIDER

COMMANDS = "audit configuration demo diagrams doctor inbox keys migrate operators providers transfers up verify".split()


def test_help_is_there_at_once(folder):
    """libraries.md §14: the help needs none of the heavy packages: below half a second of processor time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = folder.cold("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)

    assert [command for command in COMMANDS if f"\n  {command}" not in said] == []
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 0.5


@pytest.mark.parametrize(
    "command",
    [
        "alerts list", "audit status", "inbox list", "operators add casino", "operators list", "people list",
        "providers list", "transfers list", "verify",
    ],
)  # fmt: skip
def test_a_command_imports_what_it_needs(folder, migrated_sqlite_file, command):
    """Nothing is there that the commands of the other tests find imported."""
    shutil.copyfile(migrated_sqlite_file, folder.path / "bridge.db")
    folder.configure('[database]\nurl = "sqlite:///bridge.db"\n')
    assert folder.cold(*command.split())


def test_a_database_is_migrated_once_and_again(folder, database_url):
    """Issue, point 10: an unmigrated database is one sentence and exit code 2; migrate makes it whole; again
    changes nothing."""
    folder.configure(f'[database]\nurl = "{database_url}"\n')
    empty = "The database is empty: run `python -m bridge migrate` first."
    assert folder.refused("verify") == empty
    assert folder.refused("operators", "add", "casino") == empty
    assert folder.refused("transfers", "list") == empty

    first = folder.did("migrate")

    assert first.startswith("The database has schema ")
    assert folder.did("migrate") == first
    assert folder.did("verify").startswith("All ")


def test_trouble_with_the_configuration_is_named(folder):
    """Design §8: an unknown key, a wrong value and a file that is not there are named, in one sentence."""
    folder.configure("[engine]\nresolve_thread = 8\n")
    assert "unknown key engine.resolve_thread." in folder.refused("verify")
    folder.configure("[web]\nport = 70000\n")
    assert "web.port: " in folder.refused("verify")
    folder.configure("[web\n")
    assert "bridge.toml is not TOML" in folder.refused("verify")
    folder.configure("")
    assert "unknown key database.ulr." in folder.refused("verify", BRIDGE_DATABASE__ULR="x")
    assert folder.refused("verify", BRIDGE_CONFIG="no.toml") == "There is no file no.toml, which BRIDGE_CONFIG names."
    assert "cannot be used" in folder.refused("verify", BRIDGE_DATABASE__URL="nonsense")


def test_a_database_that_does_not_answer_is_one_sentence(folder):
    """Issue, point 10: a server that is not there is expected trouble."""
    away = "postgresql://127.0.0.1:1/bridge"
    assert folder.refused("verify", BRIDGE_DATABASE__URL=away).startswith("The database cannot be used: ")
    assert folder.refused("migrate", BRIDGE_DATABASE__URL=away).startswith("The database cannot be used: ")


def test_a_key_is_shown_once_and_kept_as_a_digest(site):
    """Issue, point 7: the secret is on the screen, works, is in no list and no row, and ends when it is revoked."""
    folder, made, _ = site
    said = folder.did("keys", "create", OPERATOR, "--scope", "read", "--scope", "transfers", "--label", "till 4")
    key, secret = (line.split()[1] for line in said.splitlines()[:2])
    caller = keys.caller(made.runtime, secret)
    assert caller is not None
    assert (caller.operator, caller.key_id, sorted(caller.scopes)) == (OPERATOR, key, ["read", "transfers"])
    assert secret not in str(made.rows("SELECT * FROM api_key"))

    listed = folder.did("keys", "list", OPERATOR)
    assert key in listed
    assert "till 4" in listed
    assert secret not in listed

    assert folder.did("keys", "revoke", key) == f"Key {key} is revoked.\n"
    assert keys.caller(made.runtime, secret) is None


def test_operators_are_added_and_listed(site):
    """Issue, point 7: a name is added once; what does not exist is named, with exit code 2."""
    folder, _, _ = site
    assert folder.did("operators", "add", "second") == "Operator second is added (number 2).\n"
    assert folder.refused("operators", "add", "second") == "There is an operator 'second' already."
    lines = folder.did("operators", "list").splitlines()
    assert [line.split()[:2] for line in lines] == [["number", "name"], ["1", OPERATOR], ["2", "second"]]

    assert folder.refused("keys", "create", "nobody", "--scope", "read") == "There is no operator 'nobody'."
    assert folder.refused("keys", "list", "nobody") == "There is no operator 'nobody'."
    assert folder.refused("keys", "revoke", "key_0") == "There is no such key."
    assert folder.refused("transfers", "list", "--operator", "nobody") == "There is no operator 'nobody'."
    assert "must be some of read, transfers, admin" in folder.refused("keys", "create", OPERATOR, "--scope", "all")


def test_verify_names_what_does_not_hold(site):
    """I-06: exit code 1, the invariant, the rule and the rows."""
    folder, made, _ = site
    with made.runtime.engine.begin() as connection:
        connection.execute(text("UPDATE account SET version = version + 1"))

    ended = folder.run("verify")

    assert ended.returncode == 1
    assert ended.stdout.startswith("I-06  does not hold in 1 rows: ")
    assert f"account=wallet:{PLAYER}" in ended.stdout


def test_transfers_are_listed_and_one_is_told(site):
    """Issue, point 10: filters by operator, state, player; one transfer's story with what was sent, what was
    answered and what moved; never another operator's."""
    folder, made, provider = site
    made.player("bob")
    confirmed = made.run("in", "25.00", ask=5)
    provider.script(19, on="complete", params={"variant": "thousandfold"})
    orphaned = made.run("in", "9.00", player="bob", ask=5)
    folder.did("operators", "add", "second")

    def ids(*options: str) -> list[str]:
        return [line.split()[0] for line in folder.did("transfers", "list", *options).splitlines()[1:]]

    assert ids() == [orphaned, confirmed]
    assert ids("--operator", OPERATOR, "--state", "orphaned") == [orphaned]
    assert ids("--player", PLAYER, "--provider", PROVIDER) == [confirmed]
    assert ids("--operator", "second") == []
    assert ids("--limit", "1") == [orphaned, "more:"]
    assert ids("--limit", "1", "--cursor", orphaned) == [confirmed]

    story = folder.did("transfers", "show", orphaned)
    assert story.startswith(f"{orphaned}  orphaned  in 9.00 EUR\nplayer bob, provider {PROVIDER}, key key-4\n")
    for told in (
        "reason mismatch: ", " open since ", "leg 2: prepare, attempt 1, by ", "leg 2: complete, attempt 2, by ",
        "leg 2: call complete says applied COMPLETED", "transfer: orphan pending → orphaned (mismatch)",
        "case: open · → open",
    ):  # fmt: skip
        assert told in story
    said = folder.did("transfers", "messages", orphaned)
    for told in (
        '  sent      POST /v1/fund-transfers\n  sent      {"type": "CREDIT", "referenceId": ',
        "  received  HTTP/1.1 201 ", '"status": "COMPLETED"}', '"amount":9000',
    ):  # fmt: skip
        assert told in said
    assert folder.refused("transfers", "messages", "tr_0") == "There is no such transfer."
    assert folder.refused("transfers", "show", "tr_0") == "There is no transfer 'tr_0'."
    another = folder.refused("transfers", "show", orphaned, "--operator", "second")
    assert another == f"There is no transfer '{orphaned}'."


def test_providers_tell_their_contract_and_are_asked(site):
    """Design §5: the timeout contract in words, the limits; a token and a balance read that move nothing."""
    folder, _, provider = site
    said = folder.did("providers")
    for told in ("sim: qtech at http://", "evidence: O*", "complete unanswered", "EUR 2", "10 s + 2 s margin", "60 s"):
        assert told in said
    assert folder.did("providers", "list") == said

    assert f"{PROVIDER} answers: bridge-check holds 0.00 EUR there.\n" in folder.did("providers", "check", PROVIDER)
    assert {line["operation"] for line in provider.lines(".wire")} == {"token", "balance"}
    assert folder.refused("providers", "check", "none") == "There is no provider 'none' in the configuration."

    wrong = folder.run("providers", "check", PROVIDER, BRIDGE_PROVIDERS__SIM__PASSWORD="wrong")
    assert wrong.returncode == 1
    assert f"{PROVIDER} does not answer as it should: TOKEN_" in wrong.stderr

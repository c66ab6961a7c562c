"""A provider of the generic profile on the command line and in the example file."""

from __future__ import annotations

import json
from pathlib import Path

from bridge.config import Config, GenericSection
from bridge.webhooks import key
from tests.callbacks import KEY, secret
from tests.cli.conftest import Folder
from tests.providers import ScriptedServer, http
from tests.providers.generic_account import SECRET

ROOT = Path(__file__).resolve().parents[2]


def written(base_url: str, *lines: str) -> str:
    """A bridge.toml with this one provider."""
    named = ["[providers.local]", 'operator = "op"', 'protocol = "generic"', f'base_url = "{base_url}"']
    return "\n".join([*named, f'request_secret = "{SECRET}"', 'currencies = ["JPY", "EUR"]', *lines])


def test_its_contract_is_told_in_words(folder: Folder) -> None:
    """Design §5: one phase, its own deadlines, the operator's times and where callbacks are taken from."""
    more = ("partial = true", 'callback_networks = ["203.0.113.0/24", "::1/128"]', "settle_seconds = 7")
    folder.configure(written("http://127.0.0.1:9/transfers", *more, "transfer_seconds = 9"))
    rows = dict(line.strip().split("  ", 1) for line in folder.did("providers").splitlines() if "  " in line.strip())
    told = {name: value.strip() for name, value in rows.items()}
    assert told["transfer unanswered"].startswith("look up; send the same id again when it is not found")
    assert told["not found"] == "proves absence 120 s after the last request, seen 2 times"
    assert told["cancel wished"] == "void at the provider"
    assert told["currencies, decimals on the wire"] == "JPY 0, EUR 2"
    assert told["transfer, cancel, look-up deadline"] == "9 s, 9 s, 5 s"
    assert told["a transfer can be looked up for"] == "90 days"
    assert told["after a kick, until the balance is read"] == "7 s"
    assert told["a part of the whole"] == "may move, where the answer says so"
    assert told["callbacks are taken from"] == "203.0.113.0/24, ::1/128"
    assert not any("prepare" in name or "expiry" in name for name in told)


def test_nothing_is_told_that_does_not_hold(folder: Folder) -> None:
    """Design §5: without an agreement there are no parts, and without networks no callbacks."""
    folder.configure(written("http://127.0.0.1:9"))
    said = folder.did("providers")
    assert said.startswith("local: generic at http://127.0.0.1:9, for operator op\n")
    assert "evidence: our own contract, docs/provider-contract.md" in said
    assert "a part of the whole" not in said
    assert [line.split()[-1] for line in said.splitlines() if "callbacks" in line] == ["nowhere"]


def test_it_is_asked_for_a_balance(folder: Folder) -> None:
    """Design §5: `providers check` signs one question; no money moves, and a wrong answer is said with its reason."""
    owned = {"player": "bridge-check", "currency": "JPY", "amount": "25", "time": "2026-06-01T18:00:00Z"}
    with ScriptedServer() as server:
        server.routes["/transfers"] = http(200, json.dumps(owned))
        folder.configure(written(f"{server.url}/transfers"))
        assert folder.did("providers", "check", "local").endswith("local answers: bridge-check holds 25 JPY there.\n")
        server.routes["/transfers"] = http(401, '{"code": "bad_signature"}')
        ended = folder.run("providers", "check", "local")
    assert (ended.returncode, "local does not answer as it should: bad_signature." in ended.stderr) == (1, True)
    assert {json.loads(request.body)["type"] for request in server.received} == {"player.balance"}


def test_the_example_loads_when_its_comment_is_taken_off(folder: Folder, monkeypatch) -> None:
    """Design §8: the commented provider of the example file is one that the configuration accepts."""
    example = (ROOT / "bridge.example.toml").read_text(encoding="utf-8")
    before, begins, rest = example.partition("# [providers.local]")
    folder.configure(before + (begins + rest).replace("\n# ", "\n").removeprefix("# "))
    for name, text in (("local.request", SECRET), ("local.callbacks", secret(KEY))):
        (folder.path / name).write_text(text + "\n")
    monkeypatch.chdir(folder.path)
    monkeypatch.setenv("BRIDGE_CONFIG", "bridge.toml")

    section = Config().providers["local"]
    assert isinstance(section, GenericSection)
    section.read_secrets()
    assert [key(each) for each in (section.signing_secret(), *section.accepted_secrets())] == [key(SECRET), KEY]
    assert str(section.callback_networks[0]) == "203.0.113.0/24"

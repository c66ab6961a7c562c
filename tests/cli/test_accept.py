"""`providers accept`, and what `doctor` says, where a provider's name is given to another one."""

from __future__ import annotations

import os
import pwd
from typing import Any

from bridge import identity
from tests.harness import OPERATOR, PROVIDER

ELSEWHERE = {"BRIDGE_PROVIDERS__SIM__BASE_URL": "http://127.0.0.1:9/their-path"}
ME = pwd.getpwuid(os.getuid()).pw_name


def test_another_provider_is_told_by_name_and_accepted_by_a_person(site: Any) -> None:
    """I-09: `doctor` says who it was and who it is, without the path of its address; the command says what follows, and
    leaves a note; the second time there is nothing to accept."""
    folder, made, provider = site
    identity.keep(made.runtime)
    assert made.row(made.run("in", "5.00", ask=5))["state"] == "confirmed"
    open_ = made.begin("in", "1.00", queued=True).transfer_id

    found = folder.run("doctor", **ELSEWHERE)
    assert found.returncode == 1
    line = next(line for line in found.stdout.splitlines() if "configure it as it was" in line)
    assert line.split()[:2] == ["bad", PROVIDER]
    assert f"and was qtech at {provider.address}, account demo, for operator {OPERATOR}" in line
    assert "a transfer is open" in line
    assert "their-path" not in found.stdout.replace("127.0.0.1:9/their-path does not answer", "")

    said = folder.did("providers", "accept", PROVIDER, "--reason", "they moved house", **ELSEWHERE)

    assert said.splitlines()[0] == f"{PROVIDER} was qtech at {provider.address}, account demo, for operator {OPERATOR}."
    assert "Marked transfers: 1." in said
    assert made.row(open_)["moved_at"] is not None
    (note,) = made.rows("SELECT kind, login, reason, address FROM access_note")
    assert tuple(note.values()) == ("accept provider", ME, "they moved house", "command line")
    again = folder.refused("providers", "accept", PROVIDER, "--reason", "they moved house", **ELSEWHERE)
    assert again == f"{PROVIDER} is the one that it was: there is nothing to accept."
    assert "configure it as it was" not in folder.run("doctor", **ELSEWHERE).stdout
    assert "configure it as it was" in folder.run("doctor").stdout, "whoever has the old one is the other now"


def test_a_command_keeps_nothing(site: Any) -> None:
    """Only what serves keeps who a provider is: a shell with other variables gives the name to nobody."""
    folder, made, _ = site
    folder.run("doctor", **ELSEWHERE)
    folder.did("operators", "list", **ELSEWHERE)
    assert made.rows("SELECT * FROM provider_identity") == []

"""Players: found by what anybody knows about their money, and shown with all of it, as of any instant."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, url_for

from bridge.dashboard.entrance import EVERYBODY, Page, Visit, allowed
from bridge.dashboard.pages import asked
from bridge.views import player

room = Blueprint("player", __name__, url_prefix="/ops")

SEE_OTHER = 303


@room.get("/players")
@allowed(*EVERYBODY)
def search(visit: Visit) -> Page:
    """Off to the player or the transfer that a word leads to; else who waits for money."""
    word = asked.word("word")
    found = None if word is None else player.found(visit.runtime, visit.operator_id, word)
    if found is not None and found.player is not None:
        return redirect(url_for("player.show", player_id=found.player), SEE_OTHER)
    if found is not None and len(found.transfers) == 1:
        return redirect(url_for("transfer.show", transfer_id=found.transfers[0]), SEE_OTHER)
    waiting = player.waiting(visit.runtime, visit.operator_id)
    now = visit.runtime.clock.now()
    return render_template("desk/players.html", word=word, found=found, waiting=waiting, now=now)


@room.get("/players/<player_id>")
@allowed(*EVERYBODY)
def show(visit: Visit, player_id: str) -> Page:
    """All money of a player."""
    told = player.page(visit.runtime, visit.operator_id, player_id, asked.instant("at"))
    return render_template("desk/player.html", told=told, now=visit.runtime.clock.now())

"""What tests may make the provider do unasked, through the control port: games, ends, callbacks of any kind."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bridge.simulator.books import Refused
from bridge.simulator.faults.choice import BadFault
from bridge.simulator.generic import members, signature
from bridge.simulator.generic.books import CONFIRMED, PENDING, GenericBooks, Transfer
from bridge.simulator.generic.caller import Caller, anew, body
from bridge.simulator.generic.outbox import Letter
from bridge.simulator.messages import Answer

Wanted = dict[str, Any]
MOST_COPIES = 100
OF_CALLBACK: dict[str, tuple[type, ...]] = {
    "reference": (str,),
    "sequence": (int,),
    "changes": (dict,),
    "type": (str,),
    "data": (dict,),
    "raw": (str,),
    "id": (str,),
    "signed_id": (str,),
    "secret": (str,),
    "version": (str,),
    "age": (int,),
    "anew": (bool,),
    "copies": (int,),
    "rounds": (int,),
    "insist": (bool,),
    "delay": (int, float),
}


@dataclass(frozen=True)
class Acts:
    """POSTs of the control port that only this provider knows. Each raises BadFault, or Refused for a conflict."""

    caller: Caller
    request_keys: tuple[bytes, ...]

    @property
    def routes(self) -> dict[str, Any]:
        """By path."""
        return {"/game": self.game, "/act": self.act, "/callback": self.callback, "/callbacks": self.callbacks}

    @property
    def _books(self) -> GenericBooks:
        return self.caller.provider.books

    def game(self, wanted: Wanted) -> Answer:
        """{player, in_game, settle = 0, refuse = "out"}: put a player in a game, or take them out of it."""
        only(wanted, "player", "in_game", "settle", "refuse")
        player, plays = _player(wanted), wanted.get("in_game")
        settle, refuse = wanted.get("settle", 0), wanted.get("refuse", "out")
        if not isinstance(plays, bool) or refuse not in ("out", "both"):
            raise BadFault("in_game must be true or false, refuse out or both")
        if type(settle) not in (int, float) or settle < 0:
            raise BadFault("settle must be seconds from 0")
        games = self.caller.provider.games
        if plays:
            games.enter(player, float(settle), both=refuse == "both")
        else:
            games.leave(player)
        return Answer(200, {"player": player, "in_game": plays})

    def act(self, wanted: Wanted) -> Answer:
        """{act, id, …}: confirm, cancel or take_back a transfer; {act: "report", player, currency}: tell a balance."""
        act = wanted.get("act")
        if act == "report":
            only(wanted, "act", "player", "currency")
            player, currency = _player(wanted), wanted.get("currency")
            if not isinstance(currency, str) or currency not in self._books.currencies:
                raise BadFault("the currency is not kept here")
            self.caller.report(player, currency)
            return Answer(200, {"reported": player})
        only(wanted, "act", "id", "player", "direction", "amount", "currency")
        reference = wanted.get("id")
        if not isinstance(reference, str) or act not in ("confirm", "cancel", "take_back"):
            raise BadFault("act must be confirm, cancel, take_back or report, and id a reference")
        with self._books.lock:
            self._end(str(act), reference, wanted)
            return Answer(200, {"transfer": self.caller.provider.told(reference)})

    def _end(self, act: str, reference: str, wanted: Wanted) -> Transfer:
        known = self._books.by_reference(reference)
        if act == "take_back":
            return self._books.take_back(reference)
        if known is not None and known.now.name != PENDING:
            raise Refused("decided", f"The transfer is {known.now.name}.")
        if known is None and "player" not in wanted:
            raise Refused("unknown", "An unknown transfer needs player, direction, amount and currency.")
        try:
            terms = known.terms if known else members.terms(wanted, self._books.currencies)
        except Refused as refusal:
            raise BadFault(str(refusal)) from refusal
        return self._books.execute(terms) if act == "confirm" else self._books.cancel(terms, by="provider")

    def callbacks(self, wanted: Wanted) -> Answer:
        """{url}: where callbacks go from now on, and what was never taken first; null: nowhere."""
        only(wanted, "url")
        url = wanted.get("url")
        if url is not None:
            url = checked_url(url)
        self.caller.call_to(url)
        return Answer(200, {"url": url})

    def callback(self, wanted: Wanted) -> Answer:
        """Send a crafted callback now and tell what was answered; with `insist`, put it into the queue instead."""
        for name, value in wanted.items():
            if type(value) not in OF_CALLBACK.get(name, ()):
                raise BadFault(f"{name} is not known, or not of its type")
        if self.caller.outbox.url is None:
            raise Refused("off", "Callbacks are off: nobody has said where to send them.")
        if not (1 <= wanted.get("copies", 1) <= MOST_COPIES and 1 <= wanted.get("rounds", 1) <= MOST_COPIES):
            raise BadFault(f"copies and rounds must be from 1 to {MOST_COPIES}")
        letter = self._crafted(wanted)
        if wanted.get("insist"):
            self.caller.outbox.put(letter, float(wanted.get("delay", 0)))
            return Answer(202, {"id": letter.id})
        return Answer(200, {"id": letter.id, "statuses": self.caller.outbox.send(letter)})

    def _crafted(self, wanted: Wanted) -> Letter:
        letter = self._about(wanted)
        content = wanted["raw"].encode() if "raw" in wanted else letter.body
        return Letter(
            wanted.get("id", letter.id),
            letter.type,
            letter.reference,
            anew(content) if wanted.get("anew") else content,
            signed=content,
            signed_id=wanted.get("signed_id", ""),
            keys=self._keys(wanted.get("secret", "right")),
            version=wanted.get("version", "v1"),
            age=wanted.get("age", 0),
            copies=wanted.get("copies", 1),
            rounds=wanted.get("rounds", 1),
            insist=wanted.get("insist", False),
        )

    def _about(self, wanted: Wanted) -> Letter:
        """The letter about a known transfer (its newest end, or the status with a sequence), or of free content."""
        if "reference" not in wanted:
            kind, data = wanted.get("type", ""), wanted.get("data", {})
            return Letter(f"evt_{uuid.uuid4().hex}", kind, str(data.get("id", "")), body(kind, data))
        known = self._books.by_reference(wanted["reference"])
        if known is None:
            raise Refused("unknown", "There is no such transfer.")
        statuses = {status.sequence: status for status in known.history}
        status = statuses.get(wanted.get("sequence", known.now.sequence))
        changes: Mapping[str, Any] = wanted.get("changes", {})
        if status is None or changes.get("status", status.name) not in (CONFIRMED, "cancelled"):
            raise BadFault("only a confirmed or a cancelled transfer can be told")
        return self.caller.letter(known, status, **changes)

    def _keys(self, name: str) -> tuple[bytes, ...] | None:
        """The right ones for "right" (None), those of requests for "requests", a wrong one, or a secret itself."""
        if name == "right":
            return None
        if name == "requests":
            return self.request_keys
        if name == "wrong":
            return (uuid.uuid4().bytes * 2,)
        try:
            return (signature.key_of(name),)
        except ValueError as error:
            raise BadFault(f"secret must be right, wrong, requests, or {error}") from error


def checked_url(url: object) -> str:
    """An address that callbacks can go to; raises BadFault."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        if parts.scheme == "http" and parts.hostname and not parts.query and parts.port != 0:
            return parts.geturl()
    except ValueError:
        pass
    raise BadFault("the url of callbacks must be http://…, without a query")


def only(wanted: Wanted, *names: str) -> None:
    """Refuse what is misspelt."""
    if set(wanted) - set(names):
        raise BadFault(f"what is asked here is made of {', '.join(names)}")


def _player(wanted: Wanted) -> str:
    player = wanted.get("player")
    if not isinstance(player, str) or not members.PLAYER.fullmatch(player):
        raise BadFault("player must be a player")
    return player

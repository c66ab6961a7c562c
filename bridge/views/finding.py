"""How people find a transfer: by our id, by the reference that a provider was given, or by the provider's own id."""

from __future__ import annotations

from sqlalchemy import Connection, Table, select

from bridge import models

_transfer: Table = models.metadata.tables["transfer"]
_leg: Table = models.metadata.tables["leg"]
_evidence: Table = models.metadata.tables["evidence"]

AT_MOST = 50
"""So many transfers are found by one word; a provider whose ids are not unique is looked at otherwise."""

LONGEST_WORD = 200


def typed(word: str | None) -> str | None:
    """What somebody typed, without blanks around it; None where nothing can be found by it."""
    word = (word or "").strip()
    return None if not word or len(word) > LONGEST_WORD or "\x00" in word else word


def by_word(connection: Connection, operator_id: int, word: str) -> list[str]:
    """The operator's transfers that are called so, by us or by a provider, newest first."""
    named = select(_transfer.c.id).where(_transfer.c.operator_id == operator_id)
    own = named.where(_transfer.c.id.in_([word, *_owners(word)]))
    candidates = set(connection.execute(own).scalars())
    found = {word} & candidates
    # A reference is its transfer's id and the number of the leg, and so needs no index of its own.
    legs = select(_leg.c.transfer_id).where(_leg.c.transfer_id.in_(candidates), _leg.c.reference == word)
    found |= set(connection.execute(legs).scalars())
    # Whatever has been told under it, also where it contradicts what was meant and stands in no leg.
    # The operator is asked first: another one's transfers may have the same ids, and crowd out nothing here.
    told = select(_transfer.c.id).join(_evidence, _evidence.c.transfer_id == _transfer.c.id).distinct()
    theirs = told.where(_evidence.c.provider_reference == word, _transfer.c.operator_id == operator_id)
    found |= set(connection.execute(theirs.order_by(_transfer.c.id.desc()).limit(AT_MOST)).scalars())
    return sorted(found, reverse=True)[:AT_MOST]


def of_player(connection: Connection, operator_id: int, word: str) -> bool:
    """Whether a word is the id of one of the operator's players."""
    player = models.metadata.tables["player"]
    query = select(player.c.player_id).where(player.c.operator_id == operator_id, player.c.player_id == word)
    return connection.execute(query).first() is not None


def _owners(reference: str) -> list[str]:
    """The transfers whose leg a reference may be."""
    return [f"tr_{reference[:-digits]}" for digits in (1, 2) if reference[-digits:].isdecimal()]

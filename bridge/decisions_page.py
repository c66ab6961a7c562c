"""The page `docs/decisions-of-people.md`: what people may decide about an orphan, and which postings each makes.

The postings are not written down here: a transfer of 100.00 is really led through the pure core.
"""

from __future__ import annotations

from dataclasses import replace

from bridge import ledger
from bridge.ports import WALLET, Direction, Side
from bridge.positions import POSITIONS
from bridge.transfers.core import decisions, fold
from bridge.transfers.core.decisions import MEANINGFUL, Kind, Place
from bridge.transfers.core.facts import Leg, Transfer
from bridge.transfers.core.proof import Finding, Verdict
from statemachines import LegState, TransferState

WHOLE, ARRIVED, PART = 10_000, 6_000, 5_000
"""Minor units of the example: 100.00, of which a split lets 60.00 arrive, and the wallet was given 50.00 in part."""

HEAD = """\
# Decisions of people

For whoever has an orphan on the desk. *Orphaned* means that the machine cannot prove where the amount is. The wallet
is left alone; the amount stands in **custody**, or, where the wallet had been given it before the doubt arose, the
**house** bears one.

- Two people decide: one proposes, another one approves, above a threshold two others do
  ([four eyes](four-eyes.md)). What they decide is proof from then on, labelled as theirs.
- They decide about what they saw. If something new was told since, the decision is refused as stale: look again.
- What a source repeats afterwards, or says in agreement, changes nothing. A *new* fact that says otherwise, or a later
  one by the provider's own count, stands against the decision, and the transfer is orphaned again. An older one does
  not, unless it was looked up, for a look-up says what is so now; and only what the provider told of this very
  transfer, done or cancelled as intended and believed, makes a word older.
- What is taken from a wallet must be there; else the decision is refused (`wallet_spent`) and nothing is posted.
- While a request of the transfer is on its way nothing can be decided, nor while a claw-back may still be carried out:
  until it is proved, contradicted, or as old as the provider's patience. The page of the transfer says to wait until
  then; afterwards it names every decision that is possible, and the answer of the provider that each fits.
- A claw-back rests on the game having the amount. When the provider says otherwise before it has left, it is not sent;
  another one takes only what is left. If both were carried out, ours and the provider's own cancel, the game lacks the
  amount and no decision says so: have the provider put one of them back first.
- A sweep of which an earlier try was executed too is decided about whole: its amount is then the sum of both.

In the tables: a transfer of 100.00 for the player *ann* at the provider *acme*; a split of 60.00 arrived and 40.00
returned; 50.00 that the wallet was given by an end in part. Written by `python -m bridge diagrams`; the postings come
from the code that makes them.
"""

TITLES = {
    (Direction.IN, Place.CUSTODY): "Into the game, in custody: debited from the wallet, not proved to be in the game",
    (Direction.IN, Place.HOUSE): "Into the game, borne by the house: back in the wallet, and perhaps in the game too",
    (Direction.IN, Place.BOTH): "Into the game, in part: some of it back in the wallet, of the rest nobody has it",
    (Direction.OUT, Place.CUSTODY): "Out of the game, in custody: perhaps out of the game, not in the wallet",
    (Direction.OUT, Place.HOUSE): "Out of the game, borne by the house: in the wallet, and perhaps still in the game",
    (Direction.OUT, Place.BOTH): "Out of the game, in part: some of it in the wallet, of the rest nobody has it",
}


def render() -> str:
    """The whole page, as Markdown; it ends with a newline."""
    parts = [HEAD]
    for (direction, place), kinds in MEANINGFUL.items():
        parts += [f"## {TITLES[direction, place]}", "", "| decision | means | postings | then it is |"]
        parts.append("|---|---|---|---|")
        for kind, meaning in kinds.items():
            rows = postings(direction, place, kind)
            shown = "<br>".join(f"{debit} → {credit} {_amount(part)}" for debit, credit, part in rows)
            parts.append(
                f"| `{kind.value}` | {meaning} | {shown or 'none'} | {_end(_orphan(direction, place), kind)} |"
            )
        parts.append("")
    return "\n".join(parts)


def postings(direction: Direction, place: Place, kind: Kind) -> list[tuple[str, str, int]]:
    """(debit, credit, minor units) that a decision posts for the example; for a claw-back, once it is proved."""
    orphan = _orphan(direction, place)
    before, after = _stand(orphan), _stand(_ended(orphan, _finding(orphan, kind)))
    accounts = {*before, *after}
    return ledger.pairs({account: after.get(account, 0) - before.get(account, 0) for account in accounts})


def _finding(orphan: Transfer, kind: Kind) -> Finding:
    match kind:
        case Kind.CONFIRM:
            return Finding(Verdict.APPLIED)
        case Kind.SPLIT:
            return Finding(Verdict.APPLIED, arrived=ARRIVED)
        case Kind.WRITE_OFF:
            return decisions.written_off(orphan)
        case Kind.CLAW_BACK if orphan.direction is Direction.OUT:
            return Finding(Verdict.APPLIED)
        case _:
            return Finding(Verdict.REFUSED)


def _orphan(direction: Direction, place: Place) -> Transfer:
    """The example as it stands before the decision."""
    inward, given = direction is Direction.IN, {Place.HOUSE: WHOLE, Place.BOTH: PART, Place.CUSTODY: 0}[place]
    moved = WHOLE if inward else given or WHOLE
    inside = Leg(1 if inward else 2, WALLET, Side.DEBIT if inward else Side.CREDIT, LegState.APPLIED, moved)
    if not inward and not given:
        inside = replace(inside, state=LegState.PLANNED)
    outside = Leg(2 if inward else 1, "acme", Side.CREDIT if inward else Side.DEBIT, LegState.SENT, WHOLE)
    legs = [inside, outside] if inward else [outside, inside]
    if inward and given:
        legs.append(Leg(3, WALLET, Side.CREDIT, LegState.APPLIED, given, undoes=1))
    return Transfer(
        id="tr_example",
        operator_id=1,
        player="ann",
        provider="acme",
        direction=direction,
        amount=WHOLE,
        currency="EUR",
        state=TransferState.ORPHANED,
        version=1,
        created_at=0,
        orphan_at=0,
        lease_epoch=1,
        legs=tuple(legs),
    )


def _ended(orphan: Transfer, finding: Finding) -> Transfer:
    reversed_ = finding.verdict is Verdict.REFUSED
    state = TransferState.REVERSED if reversed_ else TransferState.CONFIRMED
    return replace(orphan, state=state, arrived=finding.arrived, written_off=finding.written_off)


def _stand(transfer: Transfer) -> dict[str, int]:
    """What the transfer has posted where, account by account, in minor units."""
    accounts = ledger.accounts_of(transfer.direction, transfer.provider, transfer.player)
    stand: dict[str, int] = {}
    for part, row in fold.position(transfer):
        for account, sign in zip(accounts, POSITIONS[row], strict=True):
            stand[account] = stand.get(account, 0) + sign * part
    return stand


def _end(orphan: Transfer, kind: Kind) -> str:
    finding = _finding(orphan, kind)
    end = "reversed" if finding.verdict is Verdict.REFUSED else "confirmed"
    if finding.arrived is not None:
        end += f", `arrived` {_amount(finding.arrived)}"
    return f"orphaned until that is proved, then {end}" if kind is Kind.CLAW_BACK else end


def _amount(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02}"

"""The faults of a demo: every way in which its two providers lie, forget or change their mind.

The numbers are those of the simulator's case tables (docs/simulator.md). The bridge knows nothing of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.up import GENERIC, QTECH

NEVER = 3600
"""A callback that comes so many seconds late does not come before the demo has ended."""

TAKE_BACK, ANOTHER_BODY = "take_back", "another_body"
"""What a provider does unasked once the transfer has ended."""


@dataclass(frozen=True, eq=False)
class Kind:
    """One way in which a provider lies: its case number, what happens, and what the simulator is told.

    `only`: it needs a transfer `in`, `out`, or one of `max`. `older`: it needs an earlier transfer of the player
    there. `callback`: the transfer's callback is struck as well, with these params of case 53. `act`: no request is
    struck; the provider does this once the transfer has ended. `becomes`: the end that it comes to, after another
    one. `lasts`: seconds after the transfer's end in which the provider still moves money, or would do the same to the
    player's next transfer, which would not meet its own fault then.
    """

    case: int
    title: str
    on: str
    params: Mapping[str, Any] = field(default_factory=dict)
    times: int = 1
    only: str = ""
    older: bool = False
    callback: Mapping[str, Any] | None = None
    act: str = ""
    becomes: str = ""
    lasts: float = 0


OF_QTECH = (
    Kind(1, "prepare executed, answer lost", "prepare", {"how": "reset"}),
    Kind(2, "prepare lost on the way", "prepare", {"how": "close"}),
    Kind(3, "complete executed, answer lost", "complete", {"how": "reset"}),
    Kind(4, "complete held until after the expiry", "complete"),
    Kind(5, "complete held to the instant of the expiry", "complete"),
    Kind(8, "token dies between prepare and complete", "complete", {"variant": "dead"}),
    Kind(9, "every complete refused with 503", "complete", times=3),
    Kind(13, "complete executed, then silence", "complete", {"how": "hang"}),
    Kind(14, "complete never executed, connection closed", "complete", {"how": "close"}),
    Kind(15, "complete executed late, look-ups say pending", "complete"),
    Kind(16, "complete executed, answered too late", "complete"),
    Kind(17, "complete executed, garbled answer", "complete", {"body": "truncated"}),
    Kind(18, "500, executed", "complete", {"status": 500, "commit": True}),
    Kind(20, "answer about an older transfer", "complete", {"variant": "older"}, older=True),
    Kind(26, "answer lost, then look-ups lie", "complete", {"variant": "late"}),
    Kind(28, "completed told first, moved later", "complete", {"delay": 2}, lasts=3),
    Kind(32, "a bet lands before the withdrawal", "prepare", only="out"),
    Kind(32, "a bet lands before a max: what is left moves", "prepare", only="max"),
    Kind(33, "withdrawal refused in game", "prepare", {"delay": 0.5}, only="out", lasts=0.5),
    Kind(35, "credit at the provider exhausted", "prepare", only="in"),
    Kind(36, "maintenance", "complete", {"delay": 1}, lasts=1),
    Kind(39, "token refused once", "prepare", {"variant": "alive"}),
    Kind(40, "address not allowed", "prepare", {"variant": "drop"}),
    Kind(41, "too many requests", "prepare"),
)  # fmt: skip

OF_GENERIC = (
    Kind(13, "executed, answer lost", "create", {"how": "reset"}),
    Kind(53, "taken back after the confirmation", "", act=TAKE_BACK, becomes="reversed"),
    Kind(33, "max while in a game: kicked, settled, moved", "create", {"delay": 30, "settle": 1}, only="max"),
    Kind(14, "never executed, connection closed", "create", {"how": "close"}),
    Kind(53, "callback told twice at one instant", "callback", {"variant": "twice"}),
    Kind(16, "callback comes before the answer", "create", {"delay": 1.5}),
    Kind(53, "callback again with another body: 409", "", act=ANOTHER_BODY),
    Kind(13, "executed; answer and callback lost", "create", {"how": "close"},
         callback={"variant": "delayed", "delay": NEVER}),
    Kind(53, "taken back; told before the confirmation", "callback", {"variant": "order", "delay": 1},
         becomes="reversed"),
    Kind(15, "executed late, look-ups say pending", "create", {"body": "pending", "delay": 3}),
    Kind(53, "callback lost, the answer has told", "callback", {"variant": "delayed", "delay": NEVER}),
    Kind(21, "the same id again: 409 duplicate", "create", {"variant": "duplicate", "lose": True}),
    Kind(25, "pending, then confirmed", "create", {"variant": "success", "delay": 2}),
    Kind(25, "pending, then cancelled", "create", {"variant": "fail", "delay": 2}),
    Kind(27, "refused though it moved; comes back later", "create", {"lose": False, "delay": 1}, lasts=2),
    Kind(53, "callback forged, then the right one", "callback", {"variant": "forged"}),
    Kind(53, "callback two seconds late", "callback", {"variant": "delayed", "delay": 2}),
    Kind(53, "callback about an unknown transfer", "callback", {"variant": "unknown"}),
    Kind(17, "executed, garbled answer", "create", {"body": "truncated"}),
    Kind(18, "500, executed", "create", {"status": 500, "commit": True}),
    Kind(20, "answered with an older transfer", "create", {"variant": "older"}, older=True),
    Kind(26, "answer lost, look-ups find nothing", "create", {"variant": "retention"}),
    Kind(28, "confirmed told first, moved later", "create", {"delay": 1}, lasts=2),
    Kind(32, "a bet lands before the withdrawal", "create", only="out"),
    Kind(33, "withdrawal refused in game", "create", {"delay": 0.5}, only="out", lasts=0.5),
    Kind(35, "credit at the provider exhausted", "create", only="in"),
    Kind(36, "maintenance, look-ups go on", "create", {"delay": 1}, lasts=1),
    Kind(39, "signature refused once, though right", "create", {"variant": "alive"}),
    Kind(40, "address not allowed", "create", {"variant": "drop"}),
    Kind(41, "too many requests", "create"),
)  # fmt: skip

KINDS = {QTECH.name: OF_QTECH, GENERIC.name: OF_GENERIC}
"""By the provider's name; the first ones are in every demo."""

UNPROVABLE = {
    QTECH.name: (
        Kind(26, "answer lost, look-ups find nothing for ever", "complete", {"variant": "retention"}),
        Kind(19, "success told with another amount", "complete", {"variant": "thousandfold"}),
    ),
    GENERIC.name: (
        Kind(53, "callback says cancelled, the answer confirmed", "callback", {"variant": "opposite", "delay": 1},
             becomes="orphaned"),
        Kind(25, "pending for ever", "create", {"variant": "ever"}),
        Kind(53, "callback with another amount", "callback", {"variant": "amount"}, becomes="orphaned"),
        Kind(19, "confirmed with another amount", "create", {"variant": "thousandfold"}),
        Kind(20, "answered for another player", "create", {"variant": "player"}),
    ),
}  # fmt: skip
"""No evidence can settle these: a person has to."""

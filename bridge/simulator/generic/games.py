"""Who is in a game, and what is refused because of it (contract §2, promise 6)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from bridge.simulator.books import DEBIT
from bridge.simulator.messages import MICROS


@dataclass(frozen=True)
class Game:
    """One player's game. Instants in microseconds, `settle` in seconds; `over` None as long as it is open."""

    settle: float
    both: bool
    over: int | None = None


class Games:
    """Open games and those that are still settling; in memory only, as a game server's sessions are."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._games: dict[str, Game] = {}

    def enter(self, player: str, settle: float, *, both: bool = False, seconds: float | None = None) -> None:
        """The player plays, for so many seconds or until kicked; `both` refuses deposits as well."""
        with self._lock:
            over = None if seconds is None else self._clock() + int(seconds * MICROS)
            self._games[player] = Game(settle, both, over)

    def leave(self, player: str) -> None:
        """The player stops, and everything has settled."""
        with self._lock:
            self._games.pop(player, None)

    def kick(self, player: str) -> None:
        """The player is put out; what was refused stays refused until the game has settled."""
        with self._lock:
            game = self._games.get(player)
            if game is not None:
                settled = self._clock() + int(game.settle * MICROS)
                over = settled if game.over is None else min(settled, game.over)
                self._games[player] = replace(game, over=over)

    def refuses(self, player: str, type_: str) -> bool:
        """Whether a transfer of this player is refused now."""
        with self._lock:
            game = self._games.get(player)
            if game is None or (game.over is not None and game.over <= self._clock()):
                return False
            return game.both or type_ == DEBIT

    def plays(self, player: str) -> bool:
        """Whether the player is in a game, or in one that is still settling."""
        return self.refuses(player, DEBIT)

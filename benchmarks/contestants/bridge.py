"""The bridge as docs/running.md starts it: `bridge serve`, and `python -m jobs` beside it; everything on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import text

from benchmarks.children import HOST, Child, python
from benchmarks.contestants.base import DONE, PLAYERS, SECRET, UNDONE, Contestant, Ground, numbers
from bridge import cashier, db, keys, players
from bridge.app import compose
from bridge.config import Config
from bridge.runtime import Runtime

OPERATOR, CURRENCY, PURSE = "bench", "EUR", "9000000.00"
PROVIDER = "stub"


class Bridge(Contestant):
    """On granian by its own command, or on gunicorn. `verify_seconds`: how often the jobs verify all invariants, where
    that is not to be the default."""

    def __init__(
        self, name: str, ground: Ground, folder: Path, *, gunicorn: bool = False, verify_seconds: float | None = None
    ) -> None:
        super().__init__(name, ground, folder)
        self._gunicorn, self._verify_seconds = gunicorn, verify_seconds
        self._secret = self.url = ""

    def headers(self) -> dict[str, str]:
        """The operator's key."""
        return {"Authorization": f"Bearer {self._secret}"}

    def prepare(self) -> None:
        """A migrated database with players that have money, and the configuration of the product's own defaults."""
        self.url = self.ground.fresh(self.name)
        lines = [line for name, table in self._tables().items() for line in (f"[{name}]", *_lines(table), "")]
        self._config.write_text("\n".join(lines), encoding="utf-8")
        db.migrate(self.url)
        runtime = self.runtime()
        operator = keys.add_operator(runtime, OPERATOR)
        _, self._secret = keys.create(runtime, OPERATOR, ["transfers"], "bench")
        for number in range(PLAYERS):
            purse = cashier.CashWish(f"p{number}", PURSE, CURRENCY)
            players.register(runtime, operator, purse.player_id, [CURRENCY])
            cashier.move(runtime, operator, cashier.DEPOSIT, f"purse-{number}", purse)
        runtime.engine.dispose()

    def runtime(self) -> Runtime:
        """A runtime of this process on the same database; the caller disposes of its engine."""
        tables: dict[str, Any] = {**self._tables()}
        tables["providers"] = {PROVIDER: tables.pop(f"providers.{PROVIDER}")}
        return compose(Config(**tables))

    def programs(self) -> Iterator[tuple[Child, int | None]]:
        """Web, then jobs."""
        config = {"BRIDGE_CONFIG": str(self._config)}
        yield Child("web", self._web(), self.folder, config), self.port
        yield Child("jobs", [python(peers=False), "-m", "jobs"], self.folder, config), None

    def said(self, run: str) -> Mapping[int, str]:
        """A transfer's state, by its idempotency key: an orphan is open, for people are still to decide it."""
        runtime = self.runtime()
        try:
            with runtime.engine.connect() as connection:
                found = connection.execute(text("SELECT idempotency_key, state FROM transfer")).all()
        finally:
            runtime.engine.dispose()
        return numbers([tuple(row) for row in found], run, {"confirmed": DONE, "reversed": UNDONE})

    @property
    def _config(self) -> Path:
        return self.folder / "bridge.toml"

    def _web(self) -> list[str]:
        if not self._gunicorn:
            return [python(peers=False), "-m", "bridge", "serve"]
        return [
            *(python(peers=True), "-m", "gunicorn", "--worker-class", "gthread", "--no-control-socket"),
            *("--workers", str(self.ground.workers), "--threads", str(self.ground.threads)),
            # As behind a proxy: by its default it closes a connection that was idle for two seconds, under a request.
            *("--keep-alive", "75", "--bind", f"{HOST}:{self.port}", "wsgi:app"),
        ]

    def _tables(self) -> dict[str, dict[str, Any]]:
        provider = {
            "operator": OPERATOR, "protocol": "generic", "base_url": self.provider, "currencies": [CURRENCY],
            "request_secret": SECRET,
        }  # fmt: skip
        return {
            "database": {"url": self.url},
            "web": {"host": HOST, "port": self.port, "threads": self.ground.threads},
            "engine": {} if self._verify_seconds is None else {"verify_every_seconds": self._verify_seconds},
            f"providers.{PROVIDER}": provider,
        }


def _lines(table: Mapping[str, Any]) -> Iterator[str]:
    """Texts, numbers and lists of them are written alike in JSON and in TOML."""
    return (f"{key} = {json.dumps(value)}" for key, value in table.items())

"""People at the desk."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.models.desk import Role


@dataclass(frozen=True)
class Person:
    """Somebody at the desk of one operator; `epoch` counts what ends all sittings."""

    id: str
    operator_id: int
    login: str
    name: str
    role: Role
    epoch: int

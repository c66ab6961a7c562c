"""The pages' tests stand on the same desk as those of its services."""

from __future__ import annotations

from tests.desk.stand import build_desk, desk  # noqa: F401 - pytest finds its fixtures here

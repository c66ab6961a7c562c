"""The desk that these tests stand on."""

from __future__ import annotations

from tests.desk.stand import build_desk, desk  # noqa: F401 - pytest finds its fixtures here

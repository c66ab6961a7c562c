"""The door for WSGI servers: `granian --interface wsgi wsgi:app`. Configuration: bridge.toml, BRIDGE_… variables."""

from __future__ import annotations

from bridge.app import create_app
from bridge.doctor import bridge_or_exit

app = create_app(bridge_or_exit())

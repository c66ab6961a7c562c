"""The door for WSGI servers: `granian --interface wsgi wsgi:app`. Configuration: bridge.toml, BRIDGE_… variables."""

from __future__ import annotations

from bridge.app import compose, create_app, require_migrated
from bridge.config import Config

runtime = compose(Config())
require_migrated(runtime)
app = create_app(runtime)

"""The door for WSGI servers: `granian --interface wsgi wsgi:app`. Configuration: bridge.toml, BRIDGE_… variables."""

from __future__ import annotations

import gc

from bridge.app import create_app
from bridge.doctor import bridge_or_exit

app = create_app(bridge_or_exit())

# What was made until now stays until the process ends. Looked through again and again for what may be thrown away, it
# cost a sixth of the time of every request.
gc.collect()
gc.freeze()

"""The door for WSGI servers: `granian --interface wsgi wsgi:app`. Configuration: bridge.toml, BRIDGE_… variables."""

from __future__ import annotations

import gc
import os
from functools import partial

from bridge.app import create_app, watch
from bridge.doctor import bridge_or_exit

runtime = bridge_or_exit()
app = create_app(runtime)

# A server may fork its workers from here: they must not share a connection, on which each would commit, or roll back,
# what another one has begun.
runtime.engine.dispose()
os.register_at_fork(after_in_child=partial(runtime.engine.dispose, close=False))

# Threads do not survive a fork: each process has a watchman of its own, and one of them all watches.
watchman = watch(runtime)
os.register_at_fork(after_in_child=watchman.start)
watchman.start()

# What was made until now stays until the process ends. Looked through again and again for what may be thrown away, it
# cost a sixth of the time of every request.
gc.collect()
gc.freeze()

"""The benchmarks' provider as the process that it is."""

from __future__ import annotations

import pytest

from benchmarks.children import Child, python
from benchmarks.contestants.base import SECRET


@pytest.fixture
def provider(tmp_path):
    """Its address; the account `bridge` is signed, every other one is not."""
    command = [python(peers=False), "-m", "benchmarks.wire.provider", f"--secret=bridge={SECRET}"]
    child = Child("provider", command, tmp_path, pipes=True)
    child.start()
    try:
        yield str(child.line()["address"])
    finally:
        child.stop()

"""The generated pages are what the source says, and the example file loads."""

from __future__ import annotations

import tomllib
from pathlib import Path

from bridge.config import Config
from bridge.settings_page import render

ROOT = Path(__file__).resolve().parents[2]


def test_the_configuration_page_is_not_stale():
    """Design §8: docs/configuration.md is generated; run `python -m bridge configuration` when this fails."""
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == render()


def test_every_key_stands_on_the_page():
    """Design §8: every key with its variable, its type and its meaning."""
    page = render()
    for section in ("database", "web", "engine"):
        for key, field in type(Config.model_fields[section].default).model_fields.items():
            assert f"| `{key}` | `BRIDGE_{section.upper()}__{key.upper()}` |" in page
            assert field.description
            assert field.description in page
    assert "`BRIDGE_PROVIDERS__NAME__PASSWORD_FILE`" in page


def test_the_example_loads(monkeypatch):
    """Design §8: the file to begin with is one that the configuration accepts, and says what it shows."""
    example = ROOT / "bridge.example.toml"
    monkeypatch.setenv("BRIDGE_CONFIG", str(example))

    config = Config()

    shown = tomllib.loads(example.read_text(encoding="utf-8"))
    assert config.web.port == shown["web"]["port"]
    assert config.currencies == {"BTC": 8}
    assert config.providers["acme"].lane_policy == "block"


def test_the_writers_write_where_the_pages_are(folder):
    """Design §8: the two commands write both pages as they are; nothing changes when nothing has changed."""
    pages = [ROOT / "docs" / name for name in ("configuration.md", "state-machines.md")]
    before = [page.read_text(encoding="utf-8") for page in pages]

    folder.did("configuration")
    folder.did("diagrams")

    assert [page.read_text(encoding="utf-8") for page in pages] == before

"""The page `docs/configuration.md`, written from the fields of `bridge/config.py`: nothing on it is said twice."""

from __future__ import annotations

import types
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from bridge.config import CONFIG_VARIABLE, Config
from bridge.sections import Section

HEAD = f"""\
# Configuration

Read once at the start, from `bridge.toml` in the working folder, or from the file that `{CONFIG_VARIABLE}` names;
a variable of the environment overrides the file. In a variable a list is JSON (`["EUR"]`), and so is what is given for
each currency (`{{"EUR": "5000.00"}}`). An unknown key, or a combination that would promise too much, is refused
by name. `bridge.example.toml` is a file to begin with; `python -m bridge doctor` says what is missing.

This page is written by `python -m bridge configuration` from `bridge/config.py`: change the fields, not this page.
"""

PLAIN = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    "SecretStr": "secret",
    "IPv4Network": "network",
    "IPv6Network": "network",
}


def render() -> str:
    """The whole page, as Markdown; it ends with a newline."""
    parts = [HEAD]
    for name, field in Config.model_fields.items():
        sections = _sections_of(field.annotation)
        if not sections:
            parts += [f"## [{name}]", "", f"{field.description} One key for each currency, a whole number.", ""]
            continue
        named = get_origin(field.annotation) is dict
        title = f"{name}.NAME" if named else name
        for section in sections:
            intro = _first_line(section) + (f" {field.description}" if named else "")
            heading = f"## [{title}]" + (f", protocol `{_protocol(section)}`" if len(sections) > 1 else "")
            parts += [heading, "", intro, "", *_table(title, section), ""]
    return "\n".join(parts)


def _table(title: str, section: type[Section]) -> Iterator[str]:
    yield "| key | variable | type | default | meaning |"
    yield "|---|---|---|---|---|"
    for key, field in section.model_fields.items():
        variable = "BRIDGE_" + "__".join([*title.split("."), key]).upper()
        default = "required" if field.is_required() else _shown(field.get_default(call_default_factory=True))
        yield f"| `{key}` | `{variable}` | {_words(field.annotation)} | {default} | {field.description} |"


def _sections_of(annotation: Any) -> list[type[Section]]:
    """The sections that a field may hold, itself or by name; none for a field of plain values."""
    inner = get_args(annotation)[1] if get_origin(annotation) is dict else annotation
    if get_origin(inner) is Annotated:
        inner = get_args(inner)[0]
    choices = get_args(inner) if get_origin(inner) is types.UnionType else (inner,)
    return [each for each in choices if isinstance(each, type) and issubclass(each, Section)]


def _protocol(section: type[Section]) -> str:
    return str(get_args(section.model_fields["protocol"].annotation)[0])


def _words(annotation: Any) -> str:
    """A type in words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(inner[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_words(each) for each in inner if each is not type(None)))
    if origin is tuple:
        return f"list of {_words(inner[0])}s"
    if origin is dict:
        return f"{_words(inner[1])} per {_words(inner[0])}"
    if issubclass(annotation, StrEnum):
        return ", ".join(f"`{word.value}`" for word in annotation)
    return PLAIN.get(annotation) or PLAIN[annotation.__name__]


def _shown(value: Any) -> str:
    """A default as it would stand in the file."""
    if value is None or value == {}:
        return ""
    if isinstance(value, tuple):
        return "`[" + ", ".join(f"{each:g}" for each in value) + "]`"
    if isinstance(value, str):
        return f'`"{value}"`'
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _first_line(section: type[Section]) -> str:
    return (section.__doc__ or "").strip().splitlines()[0]

"""The doctor: what has to be right on this machine before money is entrusted to it; and the one way in which
a command or the jobs open a configured bridge, with one sentence where that cannot be."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bridge import db
from bridge.app import compose
from bridge.config import CONFIG_VARIABLE, Config
from bridge.money import UnknownCurrency
from bridge.runtime import Runtime

DATABASE_TROUBLE = (DBAPIError, PoolTimeout)
"""What a database raises that cannot be reached, is locked for too long, or is not ours."""


class CannotStart(Exception):
    """Something on this machine prevents the start; the text is one sentence for the person who tried."""


def configuration() -> Config:
    """The configuration of this process. Raises CannotStart, naming the key that is wrong."""
    named = os.environ.get(CONFIG_VARIABLE)
    if named is not None and not Path(named).is_file():
        raise CannotStart(f"There is no file {named}, which {CONFIG_VARIABLE} names.")
    source = named or "bridge.toml"
    try:
        return Config()
    except tomllib.TOMLDecodeError as wrong:
        raise CannotStart(f"{source} is not TOML: {wrong}.") from wrong
    except ValueError as wrong:
        raise CannotStart(f"The configuration ({source}, BRIDGE_…) cannot be used: {_told(wrong)}.") from wrong


def bridge(config: Config, *, migrated: bool = True) -> Runtime:
    """The runtime of a configured bridge, its database migrated. Raises CannotStart."""
    try:
        runtime = compose(config)
    except (ArgumentError, UnknownCurrency, ImportError, OSError) as wrong:
        raise CannotStart(f"The configuration cannot be used: {one_line(wrong)}.") from wrong
    if not migrated:
        return runtime
    try:
        db.require_migrated(runtime.engine)
    except db.NotMigrated as wrong:
        raise CannotStart(str(wrong)) from wrong
    except DATABASE_TROUBLE as wrong:
        raise CannotStart(database_sentence(wrong)) from wrong
    return runtime


def database_sentence(trouble: Exception) -> str:
    """One sentence for what a database raised."""
    return f"The database cannot be used: {one_line(getattr(trouble, 'orig', None) or trouble)}."


def one_line(trouble: BaseException) -> str:
    """The first line of an error's text, without its full stop; its name where it has none."""
    lines = str(trouble).strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else type(trouble).__name__


def _told(wrong: ValueError) -> str:
    """Each key that is wrong and why, from pydantic's list where the error carries one."""
    listed = getattr(wrong, "errors", None)
    if not callable(listed):
        return one_line(wrong)
    told = []
    for error in listed():
        key = ".".join(str(part) for part in error["loc"]) or "together"
        unknown = error["type"] == "extra_forbidden"
        told.append(f"unknown key {key}" if unknown else f"{key}: {error['msg'].removeprefix('Value error, ')}")
    return "; ".join(told)

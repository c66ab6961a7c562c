"""Backups that are really made and really restored: SQLite by its own backup and `cp` or `mv`, PostgreSQL by
`pg_dump` and `pg_restore`, a server of its own by its data folder, and a standby that takes over."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url

from tests.postgres import SUPERUSER, Cluster, PostgresServer
from tests.postgres_binaries import find_binaries

WAYS = ("sqlite cp", "sqlite mv", "postgresql dump", "postgresql clean")
"""`cp` writes the old pages into the same file, `mv` puts another file in its place; `dump` makes the database anew
under its name, `clean` only its tables."""


def in_place(url: str) -> str:
    """The way back to this database under which a process that stays up goes on with the address that it has."""
    return "sqlite cp" if url.startswith("sqlite") else "postgresql clean"


class Copies:
    """One database, one backup of it, and the ways in which it comes back. Nobody may be connected meanwhile."""

    def __init__(self, url: str, folder: Path, way: str) -> None:
        self.url, self.backup, self.way = url, folder / "backup", way
        self.file = Path(make_url(url).database or "")
        self.database = make_url(url).database or ""

    def back_up(self) -> None:
        """A backup of this instant, made as the manuals of the databases say."""
        if self.way.startswith("sqlite"):
            with closing(sqlite3.connect(self.file)) as live, closing(sqlite3.connect(self.backup)) as copy:
                live.backup(copy)
            return
        _client("pg_dump", "--format=custom", f"--file={self.backup}", self._address())

    def restore(self) -> None:
        """Put the backup in the place of the database."""
        if self.way.startswith("sqlite"):
            for beside in ("-wal", "-shm"):
                self.file.with_name(self.file.name + beside).unlink(missing_ok=True)
            if self.way == "sqlite cp":
                shutil.copyfile(self.backup, self.file)
            else:
                new = self.file.with_name("restored")
                shutil.copyfile(self.backup, new)
                new.replace(self.file)
            return
        if self.way == "postgresql dump":
            cluster = Cluster(make_url(self.url).port or 0)
            cluster.drop_database(self.database)
            cluster.create_database(self.database)
        options = ["--clean"] if self.way == "postgresql clean" else []
        _client("pg_restore", *options, "--exit-on-error", f"--dbname={self._address()}", str(self.backup))

    def _address(self) -> str:
        return self.url.replace("postgresql+psycopg", "postgresql")


def _client(program: str, *arguments: str) -> None:
    done = subprocess.run(
        [find_binaries() / program, *arguments], capture_output=True, text=True, check=False, env={"LC_ALL": "C"}
    )
    assert done.returncode == 0, done.stderr


def set_disk_back(server: PostgresServer, kept: Path) -> None:
    """The server's disk as it was when `kept` was taken of it (`take_disk`)."""
    server.stop()
    shutil.rmtree(server.data)
    subprocess.run(["cp", "-a", str(kept), str(server.data)], check=True)
    server.start()


def take_disk(server: PostgresServer, kept: Path) -> None:
    """A snapshot of the server's disk."""
    server.stop()
    subprocess.run(["cp", "-a", str(server.data), str(kept)], check=True)
    server.start()


@contextmanager
def promoted_standby(primary: PostgresServer) -> Iterator[PostgresServer]:
    """A standby of `primary` that has taken over, on a port of its own; the primary is stopped, as it would be dead."""
    standby = PostgresServer()
    try:
        address = f"host=127.0.0.1 port={primary.port} user={SUPERUSER}"
        _client("pg_basebackup", "--checkpoint=fast", f"--dbname={address}", f"--pgdata={standby.data}")
        (standby.data / "standby.signal").touch()
        (standby.data / "postgresql.auto.conf").write_text(f"primary_conninfo = '{address}'\n")
        owner = standby.data.stat()
        subprocess.run(["chown", "-R", f"{owner.st_uid}:{owner.st_gid}", str(standby.data)], check=os.geteuid() == 0)
        standby.start()
        primary.stop()
        with standby.connect() as connection:
            connection.execute("SELECT pg_promote(wait => true)")
            end = time.monotonic() + 20
            while connection.execute("SELECT pg_is_in_recovery()").fetchone() != (False,):
                assert time.monotonic() < end, "it does not take over"
                time.sleep(0.05)
        yield standby
    finally:
        standby.close()

"""Alembic's door: runs the revisions on the connection that `bridge.db.migrate` hands over."""

from __future__ import annotations

from alembic import context

from bridge.models import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=connection.dialect.name == "sqlite")
with context.begin_transaction():
    if connection.dialect.name == "postgresql":
        # A change of the schema waits for its turn, and takes as long as it takes; this one transaction alone.
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
    context.run_migrations()

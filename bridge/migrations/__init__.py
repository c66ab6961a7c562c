"""The schema's history, forward only; run by `bridge.db.migrate`."""

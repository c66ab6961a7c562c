"""The work that nobody asks for: found in rows by the clock, in a process of its own (`python -m jobs`)."""

"""Tests mirror the tree; `tests.proof` and `tests.chaos` are programs of their own."""

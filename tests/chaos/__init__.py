"""Chaos: the real processes killed, paused and crowded, and judged by the provider's own ledger file."""

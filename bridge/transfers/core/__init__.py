"""The pure core: evidence → facts → state, position and next step. Values only; no row, no clock, no session."""

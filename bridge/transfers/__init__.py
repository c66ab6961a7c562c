"""Transfers: how money moves.

`begin` commits the intention · `drive` is the call on the wire · `advance` is THE door through which
money moves · `resolve` finds what was left over. The pure core decides: `fold` (evidence → facts →
state and position) and `contract` (descriptor + leg → next step), functions of the values in `facts`.
"""

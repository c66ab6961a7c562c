"""What proxies of ours wrote down about a request: who is calling, and by which scheme. Counted from the right, for
whatever stands further left was written by somebody else."""

from __future__ import annotations


def told(header: str, hops: int) -> str:
    """What the outermost of `hops` proxies of ours has written into a list. A shorter list was not written by them all:
    then it is empty, which is no address and no scheme."""
    entries = [each.strip() for each in header.split(",")]
    return entries[-hops] if 0 < hops <= len(entries) else ""


def caller(hops: int, peer: str | None, forwarded_for: str) -> str:
    """The caller's address: of the socket where there is no proxy of ours, else what the outermost of them tells."""
    return (peer or "") if hops == 0 else told(forwarded_for, hops)

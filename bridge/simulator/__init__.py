"""A provider that lies on request, as a process of its own: QTech's transfer wallet v1.51, or our own contract.

It keeps its own books in its own file, is written from the protocols' descriptions alone and shares no
code with the adapters, so that a misunderstanding on one side cannot hide behind the same
misunderstanding on the other.
"""

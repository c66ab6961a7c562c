"""A provider that lies on request: QTech's transfer wallet v1.51 as a process of its own.

It keeps its own books in its own file, is written from the protocol's description alone and shares no
code with the adapters, so that a misunderstanding on one side cannot hide behind the same
misunderstanding on the other.
"""

"""Who is calling: a bearer key, found by its digest, and whether it may do what it asks for.

Unknown, malformed and revoked keys get one and the same answer.
"""

from __future__ import annotations

import re

from bridge import keys
from bridge.errors import Forbidden, Unauthorized
from bridge.keys import Caller, Scope
from bridge.runtime import Runtime

_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/=-]{1,256})", re.ASCII | re.IGNORECASE)  # RFC 6750, section 2.1

REMEMBERED_AT_MOST = 4096
"""Keys that one process remembers; then it begins anew."""


class Door:
    """Who may come in, of one process.

    It remembers whose key it has let in before, by the key's digest. That alone lets nobody in again: it only says
    whose key is to be found unrevoked, in the statement that begins the work, instead of in one of its own before it.
    """

    def __init__(self) -> None:
        self._before: dict[str, Caller] = {}

    def admit(self, runtime: Runtime, authorization: str, scope: Scope) -> Caller:
        """The holder of the key in an `Authorization` header. Raises Unauthorized, Forbidden."""
        match = _BEARER.fullmatch(authorization)
        caller = keys.caller(runtime, match[1]) if match is not None else None
        if caller is None:
            if match is not None:
                self._before.pop(keys.digest(match[1]), None)
            raise Unauthorized
        if not caller.may(scope):
            raise Forbidden(f"This key lacks the scope {scope.value!r}.")
        if len(self._before) >= REMEMBERED_AT_MOST:
            self._before.clear()
        self._before[caller.digest] = caller
        return caller

    def remembers(self, authorization: str, scope: Scope) -> Caller | None:
        """Whose key this was when it was last let in, if it had the scope; whether it still stands is to be seen."""
        match = _BEARER.fullmatch(authorization)
        caller = self._before.get(keys.digest(match[1])) if match is not None else None
        return caller if caller is not None and caller.may(scope) else None

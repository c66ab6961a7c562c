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


def admit(runtime: Runtime, authorization: str, scope: Scope) -> Caller:
    """The holder of the key in an `Authorization` header. Raises Unauthorized, Forbidden."""
    match = _BEARER.fullmatch(authorization)
    caller = keys.caller(runtime, match[1]) if match is not None else None
    if caller is None:
        raise Unauthorized
    if not caller.may(scope):
        raise Forbidden(f"This key lacks the scope {scope.value!r}.")
    return caller

"""The errors that a caller may meet, each knowing its own HTTP status, code and whether to try again.

    Refusal
    ├── BadRequest          400  the request cannot be read at all
    │   ├── KeyMissing      400  a money request without Idempotency-Key
    │   └── TooLarge        413
    ├── Unauthorized        401  no key, or not a key of ours
    ├── Unsigned            401  a provider's message that its secret did not sign, or not now
    ├── Forbidden           403  the key lacks the scope
    ├── AddressNotAllowed   403  a provider's message from elsewhere
    ├── NotFound            404  no such thing for this operator
    ├── Conflict            409
    │   ├── InFlight        409  the same key is being worked on right now
    │   ├── AlreadyFinal    409  a cancel came after the end
    │   ├── Stale           409  it changed since it was looked at
    │   ├── MessageIdReused 409  a provider's message under the id of another one
    │   └── LaneUnresolved  409  an earlier transfer of this player is not proved yet
    ├── UnsupportedMedia    415
    ├── Invalid             422  a field does not hold what it must
    │   └── KeyReused       422  the key was used with another body
    ├── Declined            422  understood and refused; pinned to its key for ever
    └── Unavailable         503  not now: nothing was stored, nothing moved

The first line of a class is its default sentence. Rendered as RFC 9457 problems in one place, the API.
"""

from __future__ import annotations

from enum import StrEnum


class Retry(StrEnum):
    """What the caller may do next."""

    NEVER = "never"  # the same request will be refused again
    SAME_KEY = "same_key"  # send the same request with the same key
    NEW_KEY = "new_key"  # correct the request; a new key, or this one if it was never used
    AFTER = "after"  # the same request with the same key, after the seconds in Retry-After


class Refusal(Exception):
    """The request was refused."""

    status = 400
    code = "refused"
    retry = Retry.NEVER

    def __init__(
        self,
        detail: str = "",
        *,
        code: str = "",
        fields: dict[str, str] | None = None,
        after_seconds: int | None = None,
        transfer_id: str | None = None,
    ) -> None:
        self.detail = detail or (self.__doc__ or "").split("\n")[0]
        self.code = code or type(self).code
        self.fields = fields or {}
        self.after_seconds = after_seconds
        self.transfer_id = transfer_id
        super().__init__(self.detail)

    @property
    def why(self) -> str:
        """What is wrong, in one line: with each field that is named, else the sentence."""
        return "; ".join(f"{name} {what}" for name, what in self.fields.items()) or self.detail


class BadRequest(Refusal):
    """The request cannot be read."""

    status, code, retry = 400, "bad_request", Retry.NEW_KEY


class KeyMissing(BadRequest):
    """Money moves only with an Idempotency-Key header of 1 to 255 visible ASCII characters."""

    code = "idempotency_key_missing"


class TooLarge(BadRequest):
    """The body is larger than 65536 bytes."""

    status, code = 413, "body_too_large"


class Unauthorized(Refusal):
    """Send `Authorization: Bearer` with a key of this bridge."""

    status, code = 401, "unauthorized"


class Unsigned(Refusal):
    """No signature of this provider fits the message, or it was not sent now."""

    status, code = 401, "bad_signature"


class Forbidden(Refusal):
    """This key may not do that."""

    status, code = 403, "scope_missing"


class AddressNotAllowed(Refusal):
    """Messages of this provider are not taken from this address."""

    status, code = 403, "address_not_allowed"


class NotFound(Refusal):
    """There is no such thing here."""

    status, code = 404, "not_found"


class Conflict(Refusal):
    """The request does not fit the present state."""

    status, code = 409, "conflict"


class InFlight(Conflict):
    """A request with this key is being worked on."""

    code, retry = "in_flight", Retry.AFTER


class AlreadyFinal(Conflict):
    """The transfer has ended; it cannot be cancelled any more."""

    code = "already_final"


class LaneUnresolved(Conflict):
    """An earlier transfer of this player at this provider is not proved yet."""

    code, retry = "lane_unresolved", Retry.AFTER


class Stale(Conflict):
    """It changed since it was looked at: look again, then decide."""

    code = "stale"


class MessageIdReused(Conflict):
    """This `webhook-id` was used with another body; nothing of this one was taken."""

    code = "message_id_reused"


class UnsupportedMedia(Refusal):
    """The body must be application/json."""

    status, code, retry = 415, "unsupported_media_type", Retry.NEW_KEY


class Invalid(Refusal):
    """A field does not hold what it must."""

    status, code, retry = 422, "invalid", Retry.NEW_KEY


class KeyReused(Invalid):
    """This Idempotency-Key was used with another body."""

    code = "idempotency_key_reused"


class Declined(Refusal):
    """The request was understood and is refused; this answer stays with its key."""

    status, code, retry = 422, "declined", Retry.NEW_KEY


class Unavailable(Refusal):
    """Not now: nothing was stored and nothing moved."""

    status, code, retry = 503, "unavailable", Retry.AFTER


def insufficient_funds() -> Declined:
    """The wallet is asked for more than it holds."""
    return Declined(
        "The wallet does not hold this amount.",
        code="insufficient_funds",
        fields={"amount": "exceeds the wallet's balance"},
    )


def nothing_to_move() -> Declined:
    """A sweep found nothing that could be moved."""
    return Declined(
        "The player has nothing there that can be moved.",
        code="nothing_to_move",
        fields={"amount": "is all that is there, and that is nothing"},
    )

"""Where events may be sent, and the secrets that sign them."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from bridge import addresses, endpoints, keys
from bridge.errors import Conflict, Invalid, NotFound, Unavailable
from tests.harness import Bench

WRONG = {
    "ftp://casino.example/": "https",
    "http://": "https",
    "https://": "https",
    "https://user:word@casino.example/": "credentials",
    "https://casino.example/#there": "fragment",
    "https://10.0.0.1/": "public",
    "http://10.0.0.1/": "https",
    "http://8.8.8.8/": "https",
    "https://[::1]/": "public",
    "https://169.254.169.254/latest": "public",
    "https://[::ffff:10.0.0.1]/": "public",
    "https://casino.example:99999/": "no address",
    "https://casino.example:0/": "https",
    "https://casino.example/a b": "visible",
    "https://casino.example/\n": "visible",
    "https://casino.éxample/": "visible",
    "https://" + "a" * 2048: "2048",
    "": "2048",
}


@pytest.mark.parametrize(("url", "told"), WRONG.items())
def test_an_address_that_is_none_is_refused(casino: Bench, url: str, told: str) -> None:
    """Bad input names the field, and nothing is stored."""
    with pytest.raises(Invalid) as wrong:
        endpoints.register(casino.runtime, casino.operator, url, "")
    assert told in wrong.value.fields["url"]
    assert endpoints.listed(casino.runtime, casino.operator) == []


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("8.8.8.8", True), ("2606:4700::1111", True), ("10.1.2.3", True), ("::ffff:10.1.2.3", True),
        ("10.2.0.1", False), ("127.0.0.1", False), ("::1", False), ("::ffff:127.0.0.1", False),
        ("169.254.169.254", False), ("100.64.0.1", False), ("192.0.2.1", False), ("198.18.0.1", False),
        ("224.0.0.1", False), ("255.255.255.255", False), ("0.0.0.0", False),  # noqa: S104 - judged, not bound
        ("fe80::1", False), ("fc00::1", False),
        ("ff02::1", False), ("64:ff9b::808:808", False), ("2002:808:808::1", False), ("2001:0:1::1", False),
        ("2001:db8::1", False), ("::", False), ("::127.0.0.1", False), ("::ffff:0:127.0.0.1", False),
        ("64:ff9b:1::7f00:1", False), ("fec0::1", False), ("5f00::1", False), ("3fff::1", False),
        ("192.88.99.1", False), ("192.0.0.8", False), ("2001:20::1", False), ("240.0.0.1", False),
    ],
)  # fmt: skip
def test_which_addresses_may_be_called(address: str, allowed: bool) -> None:
    """C-69 What is public, and what the configuration names; nothing that carries another address inside."""
    networks = [ip_network("10.1.0.0/16")]
    assert addresses.is_allowed(ip_address(address), networks) is allowed
    assert addresses.is_allowed(ip_address(address), networks, public=False) is address.endswith("10.1.2.3")


def test_no_secret_is_stored(casino: Bench) -> None:
    """A copy of the database signs nothing: a secret follows from the configuration's, the endpoint and a number."""
    row, secret = endpoints.register(casino.runtime, casino.operator, "https://casino.example/", "here")
    other, another = endpoints.register(casino.runtime, casino.operator, "https://casino.example/", "there")
    assert secret != another
    assert secret == endpoints.derived(casino.runtime, row["id"], row["secret_number"])
    kept = repr(casino.rows("SELECT * FROM webhook_endpoint"))
    assert secret not in kept
    assert secret.removeprefix("whsec_") not in kept
    assert [each["id"] for each in endpoints.listed(casino.runtime, casino.operator)] == [row["id"], other["id"]]


def test_without_a_secret_there_are_no_endpoints(casino: Bench) -> None:
    """What is not configured is told, and nothing is stored."""
    none = casino.runtime.config.events.model_copy(update={"secret": None})
    object.__setattr__(casino.runtime.config, "events", none)
    with pytest.raises(Unavailable, match=r"events\.secret"):
        endpoints.register(casino.runtime, casino.operator, "https://casino.example/", "")
    assert endpoints.listed(casino.runtime, casino.operator) == []


def test_an_operator_has_so_many_and_no_more(casino: Bench) -> None:
    """Each gets every event: there is an end to it."""
    made = [endpoints.register(casino.runtime, casino.operator, "https://casino.example/", "")[0] for _ in range(10)]
    with pytest.raises(Conflict):
        endpoints.register(casino.runtime, casino.operator, "https://casino.example/", "")
    endpoints.delete(casino.runtime, casino.operator, made[0]["id"])
    endpoints.register(casino.runtime, casino.operator, "https://casino.example/", "")


def test_anothers_endpoint_is_none(casino: Bench) -> None:
    """I-55 Whoever is not its operator is told that there is no such endpoint, and changes nothing."""
    row, _ = endpoints.register(casino.runtime, casino.operator, "https://casino.example/", "")
    before, stranger = casino.rows("SELECT * FROM webhook_endpoint"), keys.add_operator(casino.runtime, "rivals")
    for change in (endpoints.rotate, endpoints.enable, endpoints.delete):
        with pytest.raises(NotFound):
            change(casino.runtime, stranger, row["id"])
    assert casino.rows("SELECT * FROM webhook_endpoint") == before
    endpoints.delete(casino.runtime, casino.operator, row["id"])
    with pytest.raises(NotFound):
        endpoints.rotate(casino.runtime, casino.operator, row["id"])

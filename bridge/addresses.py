"""Which addresses a stranger may have us call: public ones, and what the configuration names beside them.

A name is resolved once, every address that it has is judged, and the connection goes to one that was judged: a name
that means something else a moment later (DNS rebinding) gains nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from bridge.runtime import Dial, NotToBeCalled, dial
from bridge.sections import Network

Address = IPv4Address | IPv6Address

_UNICAST = ip_network("2000::/3")
"""All of IPv6 that is given to anybody (IANA, IPv6 Global Unicast Address Assignments). What lies outside may mean an
inner address, as the NAT64 prefixes do."""

_NOT_FOR_STRANGERS = tuple(
    ip_network(each)
    for each in (
        "2001::/23",  # assigned to protocols: Teredo, which carries an IPv4 address, and others
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: carries an IPv4 address
        "3fff::/20",  # documentation
        "192.0.0.0/24",  # assigned to protocols
        "192.88.99.0/24",  # the way into 6to4
    )
)


def is_allowed(address: Address, networks: Sequence[Network], *, public: bool = True) -> bool:
    """Whether it is public, where that is enough, or in one of the networks that are allowed all the same."""
    plain = (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
    if any(plain in network for network in networks):
        return True
    given = isinstance(plain, IPv4Address) or plain in _UNICAST
    kept = any(plain in network for network in _NOT_FOR_STRANGERS)
    return public and given and not kept and plain.is_global and not plain.is_multicast


def literal(host: str) -> Address | None:
    """The address that a host is written as; None for a name. What the system's resolver takes for an address too, such
    as `127.1` or `0x7f000001`, is a name here, and is judged when it is resolved."""
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def guarded(networks: Sequence[Network], *, public: bool = True) -> Dial:
    """A way to connect that reaches allowed addresses only; NotToBeCalled where any of a host's is another."""

    def judge(host: str, found: str) -> None:
        if not is_allowed(ip_address(found.partition("%")[0]), networks, public=public):
            raise NotToBeCalled(f"{host} is at {found}")

    return partial(dial, judge=judge)

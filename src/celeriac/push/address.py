"""Which addresses webhooks may connect to: public ones only (OWASP, server-side request forgery).

The address that is checked is the address that is connected to. A name is not resolved a second
time, so a resolver that changes its answer (DNS rebinding) reaches nothing private.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

# Refused by every version of Python; and the metadata service of Azure, whose address is public.
_REFUSED: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network] = (
    ipaddress.IPv4Network("192.0.0.0/24"),
    ipaddress.IPv4Network("168.63.129.16/32"),
    ipaddress.IPv6Network("64:ff9b:1::/48"),  # RFC 8215, local NAT64
    ipaddress.IPv6Network("2001::/32"),  # Teredo, which embeds IPv4 addresses
    ipaddress.IPv6Network("2002::/16"),  # 6to4, which embeds IPv4 addresses
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class AddressRefused(Exception):
    """The address of an endpoint is not public."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host. Raises OSError if there are none."""
    loop = asyncio.get_running_loop()
    infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in infos))


def check_addresses(host: str, addresses: Sequence[str]) -> None:
    """Raise AddressRefused unless every address of the host is public."""
    for address in addresses:
        if not is_public(address):
            name = host if host == address else f"{host} ({address})"
            raise AddressRefused(f"{name} is not a public address")


def is_public(address: str) -> bool:
    """Return whether the address is public, also as the IPv4 address that is embedded in it."""
    try:
        # An IPv6 address may have a scope: fe80::1%eth0.
        parsed = _reached(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return False
    return (
        parsed.is_global
        and not parsed.is_multicast
        and not parsed.is_reserved
        and not parsed.is_loopback
        and not parsed.is_link_local
        and not parsed.is_unspecified
        and not (isinstance(parsed, ipaddress.IPv6Address) and parsed.is_site_local)
        and not any(parsed in network for network in _REFUSED)
    )


def _reached(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address maps to, else the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address

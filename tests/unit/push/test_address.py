"""Which addresses a webhook may reach."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from celeriac.push.address import AddressRefused, check_addresses, is_public, resolve

REFUSED = [
    "127.0.0.1", "127.1.2.3", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255",
    "192.168.0.1", "169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200",
    "168.63.129.16", "192.0.0.1", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "::1",
    "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1",
    "100::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "::ffff:168.63.129.16", "::127.0.0.1", "::10.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::",
    "2001:0:4136:e378:8000:63bf:80ff:fffe", "localhost", "0x7f000001", "2130706433", "127.1",
    "1.2.3.4.5", "",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "93.184.216.34", "172.15.0.1", "172.32.0.1", "100.63.255.255",
    "100.128.0.1", "192.167.0.1", "2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]  # fmt: skip


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_public(address)


def test_one_private_address_of_several_refuses_the_host() -> None:
    with pytest.raises(AddressRefused, match=r"hook.example \(10.0.0.1\) is not a public address"):
        check_addresses("hook.example", ["1.1.1.1", "10.0.0.1"])


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "localhost"]
)
def test_other_forms_of_an_address_are_resolved_before_the_check(host: str) -> None:
    """As the operating system resolves them: decimal, hexadecimal, octal and short forms."""

    async def addresses() -> Sequence[str]:
        return await resolve(host, 80)

    found = asyncio.run(addresses())
    assert set(found) <= {"127.0.0.1", "::1"}
    with pytest.raises(AddressRefused):
        check_addresses(host, found)

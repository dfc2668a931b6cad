"""Where an agent may be called, and where never."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.registry.addresses import METADATA, Refusal, network_of, refusal

V4 = st.integers(0, 2**32 - 1).map(IPv4Address)
V6 = st.integers(0, 2**128 - 1).map(IPv6Address)
LINK_LOCAL = st.integers(0, 2**16 - 1).map(lambda low: IPv4Address("169.254.0.0") + low)


def hidden(address: IPv4Address) -> list[str]:
    """The IPv6 addresses that lead to `address`."""
    low = int(address)
    made = [0xFFFF << 32 | low, 0x64FF9B << 96 | low, 0x2002 << 112 | low << 80, 0x20010000_08080808 << 64 | (low ^ 0xFFFFFFFF)]
    return [str(IPv6Address(number)) for number in made]


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("169.254.169.254", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("::ffff:169.254.169.254", "metadata"),
        ("::ffff:a9fe:a9fe", "metadata"),
        ("64:ff9b::a9fe:a9fe", "metadata"),
        ("169.254.0.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("febf::1", "link-local"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "reserved"),
        ("240.0.0.1", "reserved"),
        ("::7f00:1", "reserved"),
        ("fec0::1", "reserved"),
        ("4000::1", "reserved"),
        ("example.com", "no IP"),
        ("", "no IP"),
        ("127.1", "no IP"),
    ],
)
def test_what_is_never_called_is_refused_with_a_word_for_it(address: str, kind: str) -> None:
    refused = refusal(address)
    assert refused is not None
    assert kind in refused.why


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "::1",
        "::ffff:127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "fd12::1",
        "64:ff9b::808:808",
    ],
)
def test_loopback_private_and_public_addresses_are_called(address: str) -> None:
    assert refusal(address) is None


@given(V4)
def test_hiding_an_ipv4_address_in_an_ipv6_one_changes_nothing(address: IPv4Address) -> None:
    for form in hidden(address):
        assert (refusal(form) is None) == (refusal(str(address)) is None), form


@given(V4 | V6)
def test_no_address_that_python_calls_special_is_let_through(address: IPv4Address | IPv6Address) -> None:
    if refusal(str(address)) is None:
        assert not any((address.is_link_local, address.is_multicast, address.is_unspecified))
        assert address.is_private or not address.is_reserved or address in ip_network("64:ff9b::/96")


@given(LINK_LOCAL, st.integers(16, 31))
def test_a_network_opens_its_addresses_but_never_a_metadata_address(address: IPv4Address, length: int) -> None:
    network = IPv4Network((int(address), length), strict=False)
    assert refusal(str(address), [network]) == (refusal(str(address)) if address in METADATA else None)
    assert refusal("169.254.169.254", [network]) is not None
    assert refusal("fe80::1", [network]) is not None


@given(V4 | V6)
def test_the_network_that_a_refusal_names_opens_the_address(address: IPv4Address | IPv6Address) -> None:
    opened, refused = [], refusal(str(address))
    while refused is not None:
        assert len(opened) < 3
        opened.append(network_of(refused.opened_by))
        refused = refusal(str(address), opened)


def test_a_metadata_address_can_be_opened_by_its_own_name_alone() -> None:
    for address in map(str, METADATA):
        assert refusal(address, [network_of(address)]) is None
        assert refusal(address, [ip_network("0.0.0.0/0"), ip_network("::/0")]) is not None


@given(st.text(max_size=40))
def test_no_text_at_all_makes_it_raise(text: str) -> None:
    assert refusal(text) is None or isinstance(refusal(text), Refusal)


@pytest.mark.parametrize(
    "text", ["", "here", "169.254.10.1/24", "169.254.0.0/33", "fe80::%eth0/64", "::ffff:169.254.0.0/112", "10.0.0.0/8 "]
)
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a network|has a zone"):
        network_of(text)

"""Which addresses a call to an agent may connect to. Pure: what a name resolves to is found out elsewhere, and judged here.

Sources: the IANA special-purpose address registries (RFC 6890), RFC 4291 (IPv6), RFC 3056 (6to4), RFC 4380 (Teredo), RFC 6052 (NAT64).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

METADATA = frozenset(  # where clouds hand out credentials: AWS and most others, Alibaba, Oracle, Azure; AWS and Google on IPv6
    map(ip_address, ("169.254.169.254", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254"))
)
NEVER: tuple[tuple[Network, str], ...] = (
    (ip_network("169.254.0.0/16"), "a link-local address"),
    (ip_network("fe80::/10"), "a link-local address"),
    (ip_network("0.0.0.0/8"), "an unspecified address"),
    (ip_network("::/128"), "an unspecified address"),
    (ip_network("224.0.0.0/4"), "a multicast address"),
    (ip_network("ff00::/8"), "a multicast address"),
    (ip_network("240.0.0.0/4"), "a reserved address"),
)
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_USED = (IPv6Network("2000::/3"), IPv6Network("fc00::/7"), IPv6Network("::1/128"), _NAT64)  # the rest of IPv6 is reserved


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an address is not called ("a link-local address"), and the network that would allow it, or "" where none does."""

    why: str
    opened_by: str


def refusal(address: str, allowed: Iterable[Network] = (), loopback: bool = True) -> Refusal | None:
    """Why nothing may connect to `address`; None where it may, with `loopback` to this machine too. Never raises.

    What stands in one of the networks `allowed` may, but a metadata address only where it is named by itself (/32 or /128).
    An IPv4 address inside an IPv6 one (mapped, NAT64, 6to4, Teredo) is judged as well.
    """
    try:
        faces = _faces(ip_address(address))
    except ValueError:
        return Refusal("no IP address", "")
    networks = tuple(allowed)
    found = ((face, _kind(face, loopback)) for face in faces)
    return next((Refusal(kind, str(ip_network(face))) for face, kind in found if kind and not _opened(face, networks)), None)


def _opened(face: Address, networks: tuple[Network, ...]) -> bool:
    return any(face in network and (face not in METADATA or network.num_addresses == 1) for network in networks)


def _kind(face: Address, loopback: bool) -> str | None:
    if face in METADATA:
        return "a cloud's metadata address"
    if face.is_loopback and not loopback:
        return "an address of this machine itself"
    kind = next((kind for network, kind in NEVER if face in network), None)
    if kind is None and face.version == 6 and not any(face in network for network in _USED):
        return "a reserved address"
    return kind


def _faces(address: Address) -> tuple[Address, ...]:
    """The address, without its zone, and the IPv4 addresses that packets to it may end at."""
    if isinstance(address, IPv4Address):
        return (address,)
    bare = IPv6Address(int(address))
    if bare.ipv4_mapped is not None:
        return (bare.ipv4_mapped,)
    if bare in _NAT64:
        return bare, IPv4Address(int(bare) & 0xFFFFFFFF)
    if bare.teredo is not None:
        return bare, *bare.teredo
    return (bare,) if bare.sixtofour is None else (bare, bare.sixtofour)


def network_of(text: str) -> Network:
    """The network in `text` ("169.254.10.0/24", or one address). Raises ValueError saying what is wrong with it."""
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ValueError(f"is not a network such as 169.254.10.0/24 ({error})") from error
    if isinstance(network, IPv6Network) and (network.subnet_of(_MAPPED) or "%" in text):
        raise ValueError("has a zone or an IPv4 address in it; write the IPv4 network, or leave the zone out")
    return network

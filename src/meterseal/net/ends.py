"""What the ends of a connection are called, and whom limits per source count them for."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Any


def address_text(address: Any) -> str:
    """`host:port` of a socket address, IPv6 in brackets."""
    if not isinstance(address, tuple):
        return str(address)
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def source_of(address: Any) -> str:
    """The host of a socket address; of IPv6 the /64, because one party has all of that."""
    host = str(address[0]) if isinstance(address, tuple) else str(address)
    try:
        ip = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(ip, IPv6Address):
        return host
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return f"{IPv6Address(int(ip) >> 64 << 64)}/64"

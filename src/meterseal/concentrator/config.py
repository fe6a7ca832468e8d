"""A concentrator's file in TOML: where it listens, its lines, the meters behind it by network and address.

| table | keys |
| --- | --- |
| `[concentrator]` | `listen` (URL, `tcp://`), `callers` (hosts that may reach meters; left out: all), `timeout` (s, of a meter's answer on a shared line), `queue` and `queue_of_caller` (requests that may wait for a shared line), `connections` (to meters, altogether), `pushes` (URLs where meters push to, `tcp://` and `udp://`), `head_end` (URL where their pushes go on to, `tcp://`; left out: what its management says) |
| `[management]` | `suite`, `system_title`, `trust` of its own logical device |
| `[lines.NAME]` | `url` of a line with HDLC that several meters share, `address_size`, `push_clients` (client SAPs at which meters on the line are asked for pushes), `ask_every` (s, 60) |
| `[meters.NAME]` | `network` (0), `address` (hex), then `url` of its own, or `line` and `device` (its physical HDLC address); `system_title` (left out: that of the first sign-on is pinned), `logical_devices` ([1]) |
"""  # noqa: E501 - a table row is a line

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Final, TypeVar

from meterseal.credentials import fields, files
from meterseal.credentials.fields import METER, NAME, Reader, Where, read_table, toml_fault
from meterseal.errors import ConfigurationError, Misuse
from meterseal.net.url import parse as parse_url

LARGEST: Final = 1 << 20
"""Octets of the file."""

MOST_METERS: Final = 10_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedLine:
    """A line with HDLC; all meters on it are asked through one connection, one after another.

    `push_clients`: client SAPs that nobody signs on as; each meter is asked for pushes to them `ask_every` s.
    """

    name: str
    url: str
    address_size: int = 0
    push_clients: tuple[int, ...] = ()
    ask_every: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A meter behind the concentrator: how callers name it, and where it is.

    `title` None: the one that its first accepted sign-on shows is pinned.
    """

    name: str
    address: bytes
    network: int = 0
    url: str = ""
    line: SharedLine | None = None
    device: int = 0
    title: bytes | None = None
    servers: tuple[int, ...] = (1,)

    @property
    def key(self) -> tuple[int, bytes]:
        """Network and address, as they stand in a gateway prefix."""
        return self.network, self.address

    def __str__(self) -> str:
        return f"{self.name} ({self.network}/{self.address.hex().upper()})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A concentrator to be."""

    listen: str = "tcp://127.0.0.1:0"
    callers: tuple[IPv4Network | IPv6Network, ...] = ()
    timeout: float = 10.0
    queue: int = 64
    queue_of_caller: int = 8
    connections: int = 512
    pushes: tuple[str, ...] = ()
    head_end: str = ""
    management: Mapping[str, Any] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()

    def admits(self, source: str) -> bool:
        """May this source reach meters?"""
        if not self.callers:
            return True
        try:
            address = ip_address(source.partition("/")[0])
        except ValueError:
            return False
        return any(address in network for network in self.callers)


def load(path: str | os.PathLike[str]) -> Config:
    """Read the file.  Raises ConfigurationError naming file, table and key."""
    path = Path(path)
    where = Where(path, what="concentrator")
    try:
        mapping = tomllib.loads(files.read_public(path, "configuration", LARGEST).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise where.error(f"no TOML: {toml_fault(error)}") from None
    return from_mapping(mapping, where)


def from_mapping(mapping: Mapping[str, Any], where: Where) -> Config:
    """The same from the tables of the file."""
    unknown = sorted(set(mapping) - {"concentrator", "management", "lines", "meters"})
    if unknown:
        raise where.error(f"unknown table {unknown[0][:40]!r}")
    own = read_table(mapping.get("concentrator", {}), _OWN, where.table("concentrator"))
    management = dict(mapping.get("management", {}))
    read_table(management, _MANAGEMENT, where.table("management"))
    lines = {line.name: line for line in _named(mapping, "lines", where, _line)}
    routes = _named(mapping, "meters", where, lambda name, table, here: _route(name, table, here, lines))
    for at in ("key", "title"):
        _once(routes, at, where)
    return Config(management=management, routes=routes, **own)


def _named(
    mapping: Mapping[str, Any], family: str, where: Where, make: Callable[[str, Any, Where], T]
) -> tuple[T, ...]:
    tables = mapping.get(family, {})
    if not isinstance(tables, Mapping) or len(tables) > MOST_METERS:
        raise where.error(f"no tables, or more than {MOST_METERS}", family)
    for name in tables:
        if not NAME.fullmatch(name):
            raise where.error("a name has 1 to 32 letters, digits, hyphens and underscores", family)
    return tuple(make(name, table, where.table(f"{family}.{name}")) for name, table in tables.items())


def _line(name: str, table: Any, where: Where) -> SharedLine:
    return SharedLine(name=name, **_wanted(read_table(table, _LINE, where), where, "url"))


def _route(name: str, table: Any, where: Where, lines: Mapping[str, SharedLine]) -> Route:
    values = _wanted(read_table(table, _METER, where), where, "address")
    if ("url" in values) == ("line" in values) or ("line" in values) != ("device" in values):
        raise where.error("a meter has a url of its own, or a line and a device")
    if "line" in values:
        found = lines.get(values["line"])
        if found is None:
            raise where.error(f"there is no [lines.{values['line'][:32]}]", "line")
        values["line"] = found
    for old, new in (("system_title", "title"), ("logical_devices", "servers")):
        if old in values:
            values[new] = values.pop(old)
    return Route(name=name, **values)


def _wanted(values: dict[str, Any], where: Where, key: str) -> dict[str, Any]:
    if key not in values:
        raise where.error("missing", key)
    return values


def _once(routes: tuple[Route, ...], what: str, where: Where) -> None:
    """Two routes to one address, or two addresses of one meter, are a mistake."""
    seen: dict[Any, str] = {}
    for route in routes:
        value = getattr(route, what)
        if value is not None and seen.setdefault(value, route.name) != route.name:
            raise where.table(f"meters.{route.name}").error(f"the same as of {seen[value]}", _KEYS[what])


_KEYS: Final = {"key": "address", "title": "system_title"}


# --- rows ---------------------------------------------------------------------------------------


def _url(*schemes: str) -> Reader:
    def read(value: Any, where: Where) -> str:
        url = parse_url(fields.text(value, where))
        if url.scheme not in schemes:
            raise Misuse(f"one of {', '.join(f'{scheme}://' for scheme in schemes)} is wanted")
        if "gateway" in url.options:
            raise Misuse("a meter behind another gateway is not reached from here: nothing goes in a circle")
        return str(value)

    return read


def _urls(*schemes: str) -> Reader:
    read = _url(*schemes)
    return lambda value, where: tuple(read(text, where) for text in fields.names(value, where))


def _address(value: Any, where: Where) -> bytes:
    try:
        octets = bytes.fromhex(fields.text(value, where))
    except ValueError:
        raise Misuse("hex is wanted") from None
    if len(octets) > 0xFF:
        raise Misuse("at most 255 octets")
    return octets


def _networks(value: Any, where: Where) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ip_network(text) for text in fields.names(value, where))
    except ValueError as error:
        raise Misuse(str(error)[:80]) from None


def _numbers(what: str, most: int) -> Reader:
    def read(value: Any, where: Where) -> tuple[int, ...]:
        if not isinstance(value, list) or not value:
            raise Misuse(f"a list of {what} SAPs is wanted")
        return tuple(fields.number(1, most)(item, where) for item in value)

    return read


_OWN: Final[dict[str, Reader]] = {
    "listen": _url("tcp"),
    "callers": _networks,
    "timeout": fields.seconds,
    "queue": fields.number(1, 10_000),
    "queue_of_caller": fields.number(1, 10_000),
    "connections": fields.number(1, 100_000),
    "pushes": _urls("tcp", "udp"),
    "head_end": _url("tcp"),
}
_MANAGEMENT: Final[dict[str, Reader]] = {name: METER[name] for name in ("suite", "system_title", "trust")}
_LINE: Final[dict[str, Reader]] = {
    "url": _url("hdlc+tcp", "serial"),
    "address_size": METER["address_size"],
    "push_clients": _numbers("client", 0x7F),
    "ask_every": fields.seconds,
}
_METER: Final[dict[str, Reader]] = {
    "network": fields.number(0, 0xFF),
    "address": _address,
    "url": _url("tcp"),
    "line": fields.text,
    "device": fields.number(1, 0x3FFF),
    "system_title": METER["system_title"],
    "logical_devices": _numbers("server", 0x3FFF),
}

__all__ = ["Config", "ConfigurationError", "Route", "SharedLine", "from_mapping", "load"]

"""A head-end's file in TOML: its API, the utilities it serves, and the meters it signs on to.

| table | keys |
| --- | --- |
| `[headend]` | `listen` (`https://HOST:PORT`), `certificate`, `key` (PEM), `clients` (PEM files of the authorities of client certificates), `database` (SQLAlchemy URL; left out: a file in the state folder), `retention` (days that the account is kept), `answers` (days that sealed answers and pushes wait to be fetched), `pushes` (URLs where it listens for pushes of its meters, `tcp://` and `udp://`), `pushes_of_meter` (pushes of one meter that may wait), `at_once` (meters signed on to at the same time), `linger` (s that an association stays open when there is nothing to do) |
| `[utilities.NAME]` | `certificates` (PEM files: who shows one of these is this utility), `titles` (system titles it seals as), `meters` (names of `[meters]`), `rate` (requests a second), `queue` (requests that may wait) |
| `[observers.NAME]` | `certificates`: who may read `/metrics` and nothing else |
| `[meters.NAME]` | `credentials` (file), `role`, `collect` (objects that the role reads), `every` (s) |
"""  # noqa: E501 - a table row is a line

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from meterseal.cosem.obis import parse_object
from meterseal.credentials import Credentials, fields, files
from meterseal.credentials.fields import METER, NAME, Reader, Where, read_table, toml_fault
from meterseal.errors import Misuse
from meterseal.headend.tls import fingerprints
from meterseal.net.url import Url, parse

LARGEST: Final = 1 << 22
"""Octets of the file."""

_LARGEST_PEM: Final = 1 << 16
_MOST: Final = 100_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterEntry:
    """A meter that the head-end signs on to; `title` is that of its credentials."""

    name: str
    title: bytes
    credentials: Credentials
    role: str
    collect: tuple[str, ...] = ()
    every: float = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Utility:
    """A utility that the head-end serves: known by the fingerprints of its certificates."""

    name: str
    fingerprints: frozenset[bytes]
    titles: frozenset[bytes]
    meters: frozenset[bytes]
    rate: int = 50
    queue: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A head-end to be.  Names of files are whole paths."""

    host: str = "127.0.0.1"
    port: int = 0
    certificate: Path
    key: Path
    clients: tuple[Path, ...]
    database: str | None = None
    retention: int = 90
    answers: int = 7
    at_once: int = 64
    linger: float = 5.0
    pushes: tuple[Url, ...] = ()
    pushes_of_meter: int = 1000
    utilities: tuple[Utility, ...] = ()
    observers: frozenset[bytes] = frozenset()
    meters: tuple[MeterEntry, ...] = ()

    def who(self, fingerprint: bytes) -> Utility | None:
        """The utility with this certificate."""
        return next((one for one in self.utilities if fingerprint in one.fingerprints), None)

    def whose(self, meter: bytes, recipient: bytes) -> Utility | None:
        """The utility that a push of this meter is for, by the title it is sealed for."""
        return next((one for one in self.utilities if recipient in one.titles and meter in one.meters), None)


def load(path: str | os.PathLike[str]) -> Config:
    """Read the file and what it names.  Raises ConfigurationError naming file, table and key."""
    path = Path(path)
    where = Where(path, what="head-end")
    try:
        mapping = tomllib.loads(files.read_private(path, "configuration", LARGEST).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise where.error(f"no TOML: {toml_fault(error)}") from None
    unknown = sorted(set(mapping) - {"headend", "utilities", "observers", "meters"})
    if unknown:
        raise where.error(f"unknown table {unknown[0][:40]!r}")
    here = where.table("headend")
    own = _needed(read_table(mapping.get("headend", {}), _OWN, here), here, "certificate", "key", "clients")
    if "listen" in own:
        own["host"], own["port"] = own.pop("listen")
    meters = _named(mapping, "meters", where, _meter)
    _distinct([(meter.name, meter.title) for meter in meters], "meters", where)
    by_name = {meter.name: meter for meter in meters}
    utilities = _named(
        mapping, "utilities", where, lambda name, table, at: _utility(name, table, at, by_name)
    )
    observers = dict(_named(mapping, "observers", where, _observer))
    for what in ("fingerprints", "titles"):
        _distinct([(one.name, mark) for one in utilities for mark in getattr(one, what)], "utilities", where)
    return Config(utilities=utilities, observers=frozenset().union(*observers.values()), meters=meters, **own)


def _named(
    mapping: Mapping[str, Any], family: str, where: Where, make: Callable[[str, Any, Where], T]
) -> tuple[T, ...]:
    tables = mapping.get(family, {})
    if not isinstance(tables, Mapping) or len(tables) > _MOST:
        raise where.error(f"no tables, or more than {_MOST}", family)
    for name in tables:
        if not NAME.fullmatch(name):
            raise where.error("a name has 1 to 32 letters, digits, hyphens and underscores", family)
    return tuple(make(name, table, where.table(f"{family}.{name}")) for name, table in tables.items())


def _needed(values: dict[str, Any], where: Where, *keys: str) -> dict[str, Any]:
    for key in keys:
        if key not in values:
            raise where.error("missing", key)
    return values


def _meter(name: str, table: Any, where: Where) -> MeterEntry:
    values = _needed(read_table(table, _METER, where), where, "credentials")
    credentials = Credentials.load(values.pop("credentials"))
    role = credentials.role_name(values.pop("role", None))
    title = credentials.meter.system_title
    if title is None or credentials.meter.url is None:
        raise where.error("the credentials of a meter here name its url and system_title", "credentials")
    return MeterEntry(name=name, title=title, credentials=credentials, role=role, **values)


def _utility(name: str, table: Any, where: Where, meters: Mapping[str, MeterEntry]) -> Utility:
    values = _needed(read_table(table, _UTILITY, where), where, "certificates", "titles", "meters")
    unknown = [one for one in values["meters"] if one not in meters]
    if unknown:
        raise where.error(f"there is no [meters.{unknown[0][:32]}]", "meters")
    values["meters"] = frozenset(meters[one].title for one in values["meters"])
    return Utility(name=name, fingerprints=values.pop("certificates"), **values)


def _observer(name: str, table: Any, where: Where) -> tuple[str, frozenset[bytes]]:
    values = _needed(read_table(table, _OBSERVER, where), where, "certificates")
    return name, values["certificates"]


def _distinct(items: list[tuple[str, bytes]], family: str, where: Where) -> None:
    """A meter stands here once; a certificate, and a title that pushes are sealed for, is one utility's."""
    seen: dict[bytes, str] = {}
    for name, value in items:
        if seen.setdefault(value, name) != name:
            raise where.table(f"{family}.{name}").error(f"the same as of {seen[value]}")


# --- rows ---------------------------------------------------------------------------------------


def _path(value: Any, where: Where) -> Path:
    return (where.folder or Path()) / fields.text(value, where)


def _paths(value: Any, where: Where) -> tuple[Path, ...]:
    return tuple((where.folder or Path()) / name for name in fields.names(value, where))


def _prints(value: Any, where: Where) -> frozenset[bytes]:
    """Fingerprints of all certificates in these files."""
    found: set[bytes] = set()
    for path in _paths(value, where):
        found |= fingerprints(files.read_public(path, "certificate", _LARGEST_PEM))
    if not found:
        raise Misuse("no certificate in PEM form")
    return frozenset(found)


def _titles(value: Any, where: Where) -> frozenset[bytes]:
    return frozenset(METER["system_title"](text, where) for text in fields.names(value, where))


def _listen(value: Any, where: Where) -> tuple[str, int]:
    try:
        parts = urlsplit(fields.text(value, where))
        port = parts.port
    except ValueError:
        raise Misuse("https://HOST:PORT is wanted") from None
    if parts.scheme != "https" or not parts.hostname or port is None or parts.path not in ("", "/"):
        raise Misuse("https://HOST:PORT is wanted")
    return parts.hostname, port


def _pushes(value: Any, where: Where) -> tuple[Url, ...]:
    urls = tuple(map(parse, fields.names(value, where)))
    if any(url.scheme not in ("tcp", "udp") or "gateway" in url.options for url in urls):
        raise Misuse("pushes are listened for at tcp://HOST:PORT and udp://HOST:PORT")
    return urls


def _objects(value: Any, where: Where) -> tuple[str, ...]:
    return tuple(str(parse_object(text)) for text in fields.names(value, where))


_OWN: Final[dict[str, Reader]] = {
    "listen": _listen,
    "certificate": _path,
    "key": _path,
    "clients": _paths,
    "database": fields.text,
    "retention": fields.number(0, 3650),
    "answers": fields.number(0, 3650),
    "at_once": fields.number(1, 10_000),
    "linger": fields.seconds,
    "pushes": _pushes,
    "pushes_of_meter": fields.number(1, 100_000),
}
_METER: Final[dict[str, Reader]] = {
    "credentials": _path,
    "role": fields.text,
    "collect": _objects,
    "every": fields.seconds,
}
_UTILITY: Final[dict[str, Reader]] = {
    "certificates": _prints,
    "titles": _titles,
    "meters": lambda value, where: frozenset(fields.names(value, where)),
    "rate": fields.number(1, 100_000),
    "queue": fields.number(1, 1_000_000),
}
_OBSERVER: Final[dict[str, Reader]] = {"certificates": _prints}

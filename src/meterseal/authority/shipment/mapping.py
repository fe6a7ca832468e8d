"""What a maker's file calls things: the mapping file, TOML, that says which column is which key.

format = "csv"                  # csv, xml, kamstrup
delimiter = ";"                 # csv
record = "Delivery/Meter"       # xml: the element that is one meter; cells are "Child", "Child/Grandchild",
                                # "@attribute", "Child@attribute"
suite = 0
title = "SystemTitle"           # a cell with 16 hex digits; or, for titles made of FLAG id and number:
# title = { flag = "KFM", number = "SerialNo" }
serial = "SerialNo"             # the rest may be left out
url = "Address"
place = "Concentrator"

[[keys]]
cell = "EncryptionKey"
kind = "guek"                   # guek gak gbek kek secret
roles = ["operator"]
encoding = "hex"                # hex, base64
wrapped = "plain"               # plain, aes (RFC 3394), rsa-oaep, rsa-oaep-sha1, rsa

[meter]                         # as in a credentials file, for all meters of the file
[roles.operator]
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from meterseal.authority.shipment.tables import NUMBERS, is_flag, numbered, read_tables
from meterseal.credentials.records import SECRETS
from meterseal.crypto import SUITES, Guarded, WrappingKey
from meterseal.crypto.transport import PADDINGS, RsaTransportKey
from meterseal.errors import ConfigurationError, KeyLength

FORMATS: Final = ("csv", "xml", "kamstrup")
ENCODINGS: Final = ("hex", "base64")
WRAPPINGS: Final = ("plain", "aes", *PADDINGS)

KAMSTRUP: Final = {
    "record": "MetersInOrder/Meter",
    "serial": "SerialNo",
    "keys": [{"cell": "DEK", "kind": "guek", "roles": ["customer"]}],
    "roles": {"customer": {"client": 16, "mechanism": "none", "policy": "none"}},
}
"""What stands for what in a KEM file where a mapping does not say otherwise."""


class Transport(Guarded):
    """The keys that wrap keys in a file: a KEK, an RSA key, a password; as far as they are needed."""

    __slots__ = ("kek", "password", "rsa")

    def __init__(
        self,
        kek: WrappingKey | None = None,
        rsa: RsaTransportKey | None = None,
        password: bytes | None = None,
    ) -> None:
        self.kek, self.rsa, self.password = kek, rsa, password

    def unwrap(self, blob: bytes, how: str) -> bytes:
        """The key inside.  Raises Forged, ConfigurationError where what unwraps is not given."""
        if how == "plain":
            return blob
        if how == "aes":
            if self.kek is None:
                raise ConfigurationError("keys are wrapped by AES: say the transport key")
            return self.kek.unwrap(blob)
        if self.rsa is None:
            raise ConfigurationError("keys are wrapped by RSA: say the private key")
        return self.rsa.unwrap(blob, how)


@dataclass(frozen=True, slots=True)
class KeyCell:
    """A cell that holds a key."""

    cell: str
    kind: str
    roles: tuple[str, ...]
    encoding: str = "hex"
    wrapped: str = "plain"


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping file, read."""

    format: str
    keys: tuple[KeyCell, ...]
    roles: dict[str, dict[str, Any]]
    meter: dict[str, Any]
    suite: int = 0
    title: str = ""
    flag: str = ""
    serial: str | None = None
    url: str | None = None
    place: str | None = None
    delimiter: str = ","
    record: str = ""

    def title_of(self, cells: dict[str, str]) -> bytes:
        """The system title of a meter.  Raises ConfigurationError, KeyLength."""
        text = cells.get(self.title, "")
        if not self.flag:
            try:
                return bytes.fromhex(text)
            except ValueError:
                raise ConfigurationError("the title is not hex") from None
        if not (text.isascii() and text.isdecimal() and int(text) < NUMBERS):
            raise ConfigurationError("the number for the title is not one below 2^40")
        return numbered(self.flag, int(text))


def read_mapping(path: Path) -> Mapping:
    """Raises ConfigurationError naming what is wrong with it."""
    return read_tables(path, "mapping", parse)


def parse(tables: dict[str, Any]) -> Mapping:
    """A mapping out of its tables.  Raises ConfigurationError."""
    unknown = set(tables) - set(_CHECKS)
    if unknown:
        raise ConfigurationError(f"unknown: {', '.join(sorted(unknown))}")
    form = tables.get("format")
    if form not in FORMATS:
        raise ConfigurationError(f"format is one of {', '.join(FORMATS)}")
    given = {**(KAMSTRUP if form == "kamstrup" else {}), **tables}
    for name, value in given.items():
        if not _CHECKS[name](value):
            raise ConfigurationError(f"{name}: not what it should be")
    title = given.pop("title", None)
    if title is None:
        raise ConfigurationError("title: which cell has it?")
    flag, cell = ("", title) if isinstance(title, str) else (title["flag"], title["number"])
    if form != "csv" and not given.get("record"):
        raise ConfigurationError("record: which element is one meter?")
    keys = tuple(_key(row) for row in given.pop("keys", ()))
    roles = given.pop("roles", {})
    strays = {role for key in keys for role in key.roles} - set(roles)
    if not keys or strays:
        raise ConfigurationError(f"keys: {'none' if not keys else 'no table [roles.' + min(strays) + ']'}")
    meter = given.pop("meter", {})
    return Mapping(keys=keys, roles=roles, meter=meter, title=cell, flag=flag, **given)


def _key(row: Any) -> KeyCell:
    if not isinstance(row, dict) or set(row) - {"cell", "kind", "roles", "encoding", "wrapped"}:
        raise ConfigurationError("keys: a row has cell, kind, roles, encoding, wrapped")
    made = KeyCell(
        row.get("cell", ""), row.get("kind", ""), tuple(row.get("roles", ())),
        row.get("encoding", "hex"), row.get("wrapped", "plain"),
    )  # fmt: skip
    named = made.kind in SECRETS and made.encoding in ENCODINGS and made.wrapped in WRAPPINGS
    if not (named and made.cell and made.roles and all(isinstance(role, str) for role in made.roles)):
        raise ConfigurationError(f"keys: row {row.get('cell', '?')!r} is not what it should be")
    return made


def _text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 256


def _title(value: Any) -> bool:
    if isinstance(value, dict):
        flag = value.get("flag")
        return set(value) == {"flag", "number"} and _text(value["number"]) and is_flag(flag)
    return _text(value)


def _tables(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, dict) for one in value.values())


_CHECKS: Final[dict[str, Callable[[Any], bool]]] = {
    "format": _text,
    "delimiter": lambda value: isinstance(value, str) and len(value) == 1,
    "record": _text,
    "suite": lambda value: type(value) is int and value in SUITES,
    "title": _title,
    "serial": _text,
    "url": _text,
    "place": _text,
    "keys": lambda value: isinstance(value, list),
    "meter": lambda value: isinstance(value, dict),
    "roles": _tables,
}


def key_octets(cell: KeyCell, text: str, transport: Transport) -> bytes:
    """The key in a cell.  Raises ConfigurationError, KeyLength, Forged; no text repeats it."""
    try:
        blob = bytes.fromhex(text) if cell.encoding == "hex" else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        blob = b""
    if not blob:
        raise KeyLength(f"{cell.cell}: no {cell.encoding} text")
    return transport.unwrap(blob, cell.wrapped)

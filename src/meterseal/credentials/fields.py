"""The fields of a credentials file: one row each, with the reader that checks and converts its value."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from meterseal.cosem.obis import Obis, parse_member
from meterseal.credentials.keytext import key_option, text_option
from meterseal.crypto import SUITES
from meterseal.errors import ConfigurationError, MetersealError, Misuse
from meterseal.framing.hdlc.parameters import MAX_INFORMATION, MAX_WINDOW
from meterseal.keys.counters import LIMIT
from meterseal.net.url import parse as parse_url
from meterseal.security.hls import BY_NAME
from meterseal.security.keyforms import FORMS
from meterseal.security.options import PEER_OPTIONS, PeerOption
from meterseal.security.packing import parameters_of
from meterseal.security.protection import from_text

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,32}", re.ASCII)
"""What a role may be called."""

MECHANISM_NAMES: Final = tuple(BY_NAME)
"""Mechanisms that a file may name."""


LAYERS: Final = tuple(name for name in FORMS if name not in ("broadcast", "absent"))
"""Keys of general-ciphering that a client may ask for by name."""

_CAUSES: Final = {"Cannot overwrite": "a key is given twice", "Cannot declare": "a table is given twice"}
"""Beginnings of the parser's messages that can be told more about."""


def toml_fault(error: Exception) -> str:
    """What the parser says without the text that it met: that may be a key."""
    text = str(error)
    cause = next((words for start, words in _CAUSES.items() if text.startswith(start)), "it cannot be read")
    at = text.rfind("(at ")
    return f"{cause}, {text[at:].strip('()')}" if at >= 0 else cause


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a credentials file, or in another one (`what`), for error texts."""

    path: Path | None = None
    name: str = ""
    what: str = "credentials"

    def table(self, name: str) -> Where:
        """The place of a table."""
        return Where(self.path, name, self.what)

    def error(self, text: str, key: str = "") -> ConfigurationError:
        """The error about a key of this table, or about the table or the file as a whole."""
        file = self.what if self.path is None else f"{self.what} {self.path}"
        place = " ".join(part for part in (self.name and f"[{self.name}]", key) if part)
        return ConfigurationError(f"{file}: {place}: {text}" if place else f"{file}: {text}")

    @property
    def folder(self) -> Path | None:
        """Where relative names of files are looked for."""
        return None if self.path is None else self.path.parent


Reader = Callable[[Any, Where], Any]


def read_table(table: Any, rows: Mapping[str, Reader], where: Where) -> dict[str, Any]:
    """The values of a table, each read by its row.  Raises ConfigurationError naming file, table and key."""
    if not isinstance(table, Mapping):
        raise where.error("no table")
    values = {}
    for key, value in table.items():
        reader = rows.get(key)
        if reader is None:
            raise where.error(f"unknown; known are {', '.join(rows)}", _shown(key))
        try:
            values[key] = reader(value, where)
        except MetersealError as error:
            raise where.error(str(error), key) from None
    return values


def _shown(key: Any) -> str:
    text = str(key)
    return text if NAME.fullmatch(text) else repr(text[:40])


def _text(value: Any, where: Where) -> str:
    if not isinstance(value, str) or not value:
        raise Misuse("a text is wanted")
    return value


def _flag(value: Any, where: Where) -> bool:
    if not isinstance(value, bool):
        raise Misuse("true or false is wanted")
    return value


def _number(low: int, high: int) -> Reader:
    def read(value: Any, where: Where) -> int:
        if type(value) is not int or not low <= value <= high:
            raise Misuse(f"a number from {low} to {high} is wanted")
        return value

    return read


def _octets(value: Any, where: Where) -> bytes:
    return value if isinstance(value, bytes) else key_option(_text(value, where), where.folder)


def _secret(value: Any, where: Where) -> bytes:
    return value if isinstance(value, bytes) else text_option(_text(value, where), where.folder)


def _title(value: Any, where: Where) -> bytes:
    octets = _octets(value, where)
    if len(octets) != 8:
        raise Misuse(f"a system title has 8 octets, not {len(octets)}")
    return octets


def _url(value: Any, where: Where) -> str:
    parse_url(_text(value, where))
    return str(value)


def _suite(value: Any, where: Where) -> int:
    if type(value) is not int or value not in SUITES:
        raise Misuse(f"a security suite is one of {', '.join(map(str, SUITES))}")
    return value


def _mechanism(value: Any, where: Where) -> str:
    if value not in MECHANISM_NAMES:
        raise Misuse(f"a mechanism is one of {', '.join(MECHANISM_NAMES)}")
    return str(value)


def _one_of(what: str, words: tuple[str, ...]) -> Reader:
    def read(value: Any, where: Where) -> str:
        if value not in words:
            raise Misuse(f"{what} is one of {', '.join(words)}")
        return str(value)

    return read


def compression(value: Any, where: object) -> str:
    """A profile of compression by its name, also in other files.  Raises Misuse."""
    parameters_of(value if isinstance(value, str) else "")
    return str(value)


def _policy(value: Any, where: Where) -> int:
    return from_text(_text(value, where)[:80])


def _obis(value: Any, where: Where) -> str:
    return str(Obis(_text(value, where)))


def seconds(value: Any, where: Where | None = None) -> float:
    """A time to wait for an answer: any number of seconds above 0.  Raises Misuse."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:  # NaN too
        raise Misuse("a time of more than 0 seconds is wanted")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _moment(value: Any, where: Where) -> datetime:
    """A moment with its time zone, as TOML has it or as text."""
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(_text(value, where))
        if found.tzinfo is None:
            raise ValueError
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Misuse("a date and time with its zone is wanted, 2026-11-25T12:00:00Z") from None


def _address(value: Any, where: Where) -> tuple[int, int]:
    if isinstance(value, list | tuple) and len(value) == 2:
        upper, lower = value
        if all(type(part) is int and 0 <= part < 1 << 14 for part in (upper, lower)):
            return upper, lower
    raise Misuse("[upper, lower] is wanted, two numbers from 0 to 16383")


def _size(value: Any, where: Where) -> int:
    if type(value) is not int or value not in (1, 2, 4):
        raise Misuse("1, 2 or 4 is wanted")
    return value


def _members(value: Any, where: Where) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise Misuse("a list of CLASS/OBIS:ATTRIBUTE and CLASS/OBIS:METHOD() is wanted")
    return tuple(str(parse_member(_text(item, where))) for item in value)


def _attribute(value: Any, where: Where) -> str:
    found = parse_member(_text(value, where))
    if found.method:
        raise Misuse("an attribute is wanted: CLASS/OBIS:ATTRIBUTE")
    return str(found)


def _names(value: Any, where: Where) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise Misuse("a list of names of files is wanted")
    return tuple(_text(item, where) for item in value)


text, flag, number, names, octets = _text, _flag, _number, _names, _octets
"""Readers for the files of other parties, too."""

METER: Final[dict[str, Reader]] = {
    "url": _url,
    "system_title": _title,
    "suite": _suite,
    "logical_device": _number(1, 0xFFFF),
    "server_address": _address,
    "address_size": _size,
    "frame_size": _number(1, MAX_INFORMATION),
    "window": _number(1, MAX_WINDOW),
    "trust": _names,
    "revocation_lists": _names,
    "signing_certificate": _text,
    "agreement_certificate": _text,
}
"""Table `[meter]`."""

ROLE: Final[dict[str, Reader]] = {
    "client": _number(1, 0xFFFF),
    "mechanism": _mechanism,
    "policy": _policy,
    "signed": _members,
    "client_system_title": _title,
    "guek": _octets,
    "gak": _octets,
    "gbek": _octets,
    "broadcast": _attribute,
    "kek": _octets,
    "secret": _secret,
    "ciphered": _flag,
    "dedicated": _flag,
    "general": _flag,
    "layers": _one_of("a form of key", LAYERS),
    "compression": compression,
    "user": _number(0, 0xFF),
    "max_pdu": _number(0, 0xFFFF),
    "counter_start": _number(0, LIMIT - 1),
    "counter_end": _number(1, LIMIT),
    "counter_object": _obis,
    "not_after": _moment,
    "timeout": seconds,
    "allow_weak": _flag,
    "signing_key": _text,
    "signing_certificate": _text,
    "agreement_key": _text,
    "agreement_certificate": _text,
}
"""Tables `[roles.NAME]`."""


THIRD_PARTY: Final[dict[str, Reader]] = {
    "system_title": _title,
    "layers": _one_of("a form of key", ("one-pass", "static", "wrapped")),
    "kek": _octets,
    "signing_key": _text,
    "signing_certificate": _text,
    "agreement_key": _text,
    "agreement_certificate": _text,
    "counter_start": _number(0, LIMIT - 1),
    "max_pdu": _number(128, 0xFFFF),
    "timeout": seconds,
    "tls_key": _text,
    "tls_certificate": _text,
    "head_end": _text,
}
"""Tables `[third_parties.NAME]`."""


def _deviation(option: PeerOption) -> Reader:
    return lambda value, where: option.read(value)


PEER: Final[dict[str, Reader]] = {name: _deviation(option) for name, option in PEER_OPTIONS.items()}
"""Tables `[roles.NAME.peer]` and `[third_parties.NAME.peer]`: True where the value is not the strict one."""

"""Reading a meter's configuration: its tables, and the readers that check and convert one value each.

A reader takes the value and its place, and raises what is wrong with the value; `read_table` says where.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from meterseal.credentials import key_option, text_option
from meterseal.crypto import SUITES, Secret
from meterseal.errors import ConfigurationError, MetersealError, Misuse, Unsupported


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a configuration, for error texts.  `file` is the path, or the name of a preset."""

    file: str
    folder: Path | None = None
    table: str = ""

    def inside(self, table: str) -> Place:
        """The place of a table."""
        return Place(self.file, self.folder, table)

    def error(self, text: str, key: str = "") -> ConfigurationError:
        """The error about a key of this table, or about the table or the file as a whole."""
        place = " ".join(part for part in (self.table and f"[{self.table}]", key) if part)
        return ConfigurationError(f"{self.file}: {place}: {text}" if place else f"{self.file}: {text}")


Reader = Callable[[Any, Place], Any]

KEY_LENGTHS: Final = tuple(sorted({row.key_length for row in SUITES.values()}))
_LARGEST_PEM: Final = 1 << 16


def read_table(table: Any, rows: Mapping[str, Reader], place: Place, *needed: str) -> dict[str, Any]:
    """The values of a table, each read by its row.  Raises ConfigurationError naming file, table and key."""
    if not isinstance(table, Mapping):
        raise place.error("no table")
    values = {}
    for key, value in table.items():
        reader = rows.get(key)
        if reader is None:
            raise place.error(f"unknown; known are {', '.join(rows)}", repr(str(key)[:40]))
        try:
            values[key] = reader(value, place)
        except Unsupported as error:
            raise Unsupported(str(place.error(str(error), key))) from None
        except MetersealError as error:
            raise place.error(str(error), key) from None
    for key in needed:
        if key not in values:
            raise place.error("missing", key)
    return values


def check_name(name: str, place: Place) -> None:
    """What a role or a third party may be called.  Raises ConfigurationError."""
    if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum() or len(name) > 32:
        raise place.error("a name has 1 to 32 letters, digits, hyphens and underscores")


def words(value: Any, place: Place) -> str:
    """A text."""
    if not isinstance(value, str) or not value:
        raise Misuse("a text is wanted")
    return value


def flag(value: Any, place: Place) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise Misuse("true or false is wanted")
    return value


def number(low: int, high: int) -> Reader:
    """A number from `low` to `high`."""

    def read(value: Any, place: Place) -> int:
        if type(value) is not int or not low <= value <= high:
            raise Misuse(f"a number from {low} to {high} is wanted")
        return value

    return read


def many(reader: Reader) -> Reader:
    """A list, or one alone."""

    def read(value: Any, place: Place) -> tuple[Any, ...]:
        values = value if isinstance(value, list) else [value]
        if not values:
            raise Misuse("the list is empty")
        return tuple(reader(item, place) for item in values)

    return read


def anything(value: Any, place: Place) -> Any:
    """A value that is looked at later, when more is known."""
    return value


def short(longest: int) -> Reader:
    """1 to `longest` printable ASCII characters."""

    def read(value: Any, place: Place) -> str:
        if len(words(value, place)) > longest or not value.isascii() or not value.isprintable():
            raise Misuse(f"1 to {longest} printable ASCII characters are wanted")
        return str(value)

    return read


def title(value: Any, place: Place) -> bytes:
    """A system title, 8 octets."""
    octets = key_option(words(value, place), place.folder)
    if len(octets) != 8:
        raise Misuse(f"a system title has 8 octets, not {len(octets)}")
    return octets


def key(value: Any, place: Place) -> Secret:
    """A key; whether its length is that of the suite is known when the whole file is."""
    octets = key_option(words(value, place), place.folder)
    if len(octets) not in KEY_LENGTHS:
        raise Misuse(f"a key has {' or '.join(map(str, KEY_LENGTHS))} octets, not {len(octets)}")
    return Secret(octets)


def secret(value: Any, place: Place) -> Secret:
    """A password or HLS secret, 1 to 64 octets."""
    octets = text_option(words(value, place), place.folder)
    if not 1 <= len(octets) <= 64:
        raise Misuse(f"a secret has 1 to 64 octets, not {len(octets)}")
    return Secret(octets)


def certificates(value: Any, place: Place) -> tuple[bytes, ...]:
    """Names of PEM files: all their certificates, DER."""
    # Loads the backend's X.509 part, which meters of suite 0 do without.
    from meterseal.crypto.certificates import Certificate

    found = []
    for name in many(words)(value, place):
        path = Path(name) if place.folder is None else place.folder / name
        try:
            with path.open("rb") as file:
                found += Certificate.from_pem(file.read(_LARGEST_PEM))
        except OSError as error:
            raise Misuse(f"{name}: {error.strerror or error}") from None
    return tuple(certificate.der for certificate in found)

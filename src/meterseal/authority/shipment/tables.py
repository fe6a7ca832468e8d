"""What files about shipments share: tables of TOML, and titles made of three letters and a number."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from meterseal.credentials.files import LARGEST, read_public
from meterseal.errors import ConfigurationError

T = TypeVar("T")

NUMBERS: Final = 1 << 40
"""Numbers of a title: five octets."""


def read_tables(path: Path, what: str, parse: Callable[[dict[str, Any]], T]) -> T:
    """A file of TOML, parsed.  Raises ConfigurationError naming file and fault."""
    octets = read_public(path, what, LARGEST)
    try:
        return parse(tomllib.loads(octets.decode("utf-8")))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError, ConfigurationError) as error:
        raise ConfigurationError(f"{what} {path}: {error}") from None


def is_flag(value: object) -> bool:
    """True for the three letters that FLAG has given to a maker."""
    return isinstance(value, str) and len(value) == 3 and value.isascii() and value.isalpha()


def numbered(flag: str, number: int) -> bytes:
    """The system title of a maker's device by its number."""
    return flag.encode("ascii") + number.to_bytes(5, "big")

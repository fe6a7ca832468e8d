"""Keys as text: hex, `@FILE` or `env:NAME`, the same in a credentials file and on a command line (design 5).

Keys on a command line are seen by other users of the machine; a file or the environment is not.
No error text repeats what it was given.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from meterseal.credentials.files import LARGEST_KEY, read_private
from meterseal.errors import ConfigurationError

_HEX: Final = re.compile(r"(?:0[xX])?[0-9A-Fa-f]{2}(?:[\s:\-]?[0-9A-Fa-f]{2})*", re.ASCII)
"""Octets as people copy them: one character may stand between two, and 0x before the first."""
_BETWEEN: Final = re.compile(r"^0[xX]|[\s:\-]", re.ASCII)
_LONGEST_PASSWORD: Final = 1023
"""What the backend takes."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def key_option(text: str, folder: Path | None = None) -> bytes:
    """The octets that a key option K says: hex, `@FILE`, or `env:NAME` for an environment variable.

    Between two octets of hex a space, colon or hyphen may stand, and 0x before the first.  File and variable
    hold hex.  A relative FILE is looked for in `folder`, else in the working directory.
    Raises ConfigurationError.
    """
    return _octets(_source(text, folder), "hex, @FILE or env:NAME")


def text_option(text: str, folder: Path | None = None) -> bytes:
    """As `key_option`, for a secret that may also be written `text:PASSWORD` (its UTF-8 octets)."""
    source = _source(text, folder)
    if source.startswith("text:"):
        return source.removeprefix("text:").encode()
    return _octets(source, "hex, text:PASSWORD, @FILE or env:NAME")


def password_option(text: str, folder: Path | None = None) -> bytes:
    """The password of a key file: the text in `@FILE` or `env:NAME`, and never the option itself.

    White space around it does not count.  Raises ConfigurationError.
    """
    if not text.startswith(("@", "env:")):
        raise ConfigurationError("a password is given as @FILE or env:NAME, for others see a command line")
    octets = _source(text, folder).encode()
    if not 0 < len(octets) <= _LONGEST_PASSWORD:
        raise ConfigurationError(f"a password has 1 to {_LONGEST_PASSWORD} octets, not {len(octets)}")
    return octets


def _source(text: str, folder: Path | None) -> str:
    """The text itself, or what it points at; that may not point on."""
    if text.startswith("@"):
        name = text[1:]
        if not name or "\0" in name:
            raise ConfigurationError("@ is followed by the name of a file")
        path = Path(name) if folder is None else folder / name
        octets = read_private(path, "key file", LARGEST_KEY)
        try:
            return octets.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise ConfigurationError(f"key file {path} holds no text: write the key as hex") from None
    if text.startswith("env:"):
        name = text.removeprefix("env:")
        if not _NAME.fullmatch(name):
            raise ConfigurationError("env: is followed by the name of an environment variable")
        found = os.environ.get(name)
        if found is None:
            raise ConfigurationError(f"the environment has no variable {name}")
        return found.strip()
    return text


def _octets(text: str, forms: str) -> bytes:
    if not text:
        raise ConfigurationError(f"it is empty: write {forms}")
    if not _HEX.fullmatch(text):
        odd = len(text) % 2 and not set(text) - set("0123456789abcdefABCDEF")
        cause = f"{len(text)} hex digits, an odd number" if odd else "not hex"
        raise ConfigurationError(f"{cause}: write {forms}")
    return bytes.fromhex(_BETWEEN.sub("", text))

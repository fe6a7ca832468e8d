"""Where a key in an HSM is: a `pkcs11:` URI (RFC 7512).

    pkcs11:token=LABEL;object=LABEL?module-path=/usr/lib/....so&pin-source=file:/etc/pin

`token` and `object` are needed.  A PIN in the URI itself (`pin-value`) is refused: URIs are written down and
shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote, unquote

from meterseal.errors import ConfigurationError

SCHEME: Final = "pkcs11:"
LONGEST: Final = 2048
"""Characters of a URI that is looked at."""

_PATH: Final = frozenset({"token", "object", "type", "manufacturer", "model", "serial"})
_QUERY: Final = frozenset({"module-path", "pin-source"})


@dataclass(frozen=True, slots=True)
class TokenUri:
    """A key in a token: labels of both; the module's path and where the PIN is, when it says so."""

    token: str
    object: str
    module: str | None = None
    pin_source: str | None = None

    @classmethod
    def parse(cls, text: str) -> TokenUri:
        """Raises ConfigurationError for all that is no such URI, and for a PIN in it."""
        if not text.startswith(SCHEME) or len(text) > LONGEST:
            raise ConfigurationError("a key in an HSM is named pkcs11:token=...;object=...")
        path, _, query = text[len(SCHEME) :].partition("?")
        named = _pairs(path, ";", _PATH)
        asked = _pairs(query, "&", _QUERY)
        missing = [name for name in ("token", "object") if not named.get(name)]
        if missing:
            raise ConfigurationError(f"pkcs11 URI without {' and '.join(missing)}")
        return cls(named["token"], named["object"], asked.get("module-path"), asked.get("pin-source"))

    def beside(self, label: str) -> TokenUri:
        """Another key in the same token."""
        return replace(self, object=label)

    def __str__(self) -> str:
        asked = {"module-path": self.module, "pin-source": self.pin_source}
        query = "&".join(f"{name}={quote(said, '/:')}" for name, said in asked.items() if said is not None)
        named = f"token={quote(self.token)};object={quote(self.object)}"
        return f"{SCHEME}{named}{query and '?'}{query}"

    @property
    def pin_file(self) -> str | None:
        """The file of `pin-source`.  Raises ConfigurationError for another kind of source."""
        if self.pin_source is None:
            return None
        kind, colon, rest = self.pin_source.partition(":")
        if not colon:
            return self.pin_source
        if kind != "file":
            raise ConfigurationError(f"pin-source of a pkcs11 URI is a file, not {kind!r}")
        return rest.removeprefix("//")


def _pairs(text: str, between: str, known: frozenset[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in filter(None, text.split(between)):
        name, equals, value = pair.partition("=")
        if name == "pin-value":
            raise ConfigurationError("a PIN has no place in a URI: say pin-source=file:...")
        if not equals or name not in known or name in found:
            raise ConfigurationError(f"pkcs11 URI: {name!r} is not known, has no value, or comes twice")
        found[name] = unquote(value)
    return found

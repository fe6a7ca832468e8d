"""Where a line goes, as text: `tcp://host:port` and its kin; the schemes are a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from meterseal.errors import ConfigurationError, Unsupported
from meterseal.framing.wrapper import PORT


@dataclass(frozen=True, slots=True)
class Scheme:
    """What a URL of this scheme holds, and whether this version opens such lines."""

    name: str
    network: bool  # host and port; otherwise a device path
    options: frozenset[str]
    supported: bool
    hdlc: bool = False


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme("tcp", True, frozenset({"gateway"}), True),
        Scheme("udp", True, frozenset({"gateway"}), True),
        Scheme("hdlc+tcp", True, frozenset({"gateway"}), True, True),
        Scheme("han+tcp", True, frozenset(), False),
        Scheme("serial", False, frozenset({"baud", "form", "gateway"}), True, True),
    )
}


@dataclass(frozen=True, slots=True)
class Url:
    """A line's address: `host` and `port`, with the serial scheme `path`; options as text."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        if not SCHEMES[self.scheme].network:
            return f"{self.scheme}://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse(text: str) -> Url:
    """The parts of a URL. The port may be left out (4059).

    ConfigurationError: no URL, an unknown scheme or option, a port outside 0..65535, or a user and password
    (a URL gets into logs and lists of processes).
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"not a URL: {text!r} ({error})") from None
    scheme = SCHEMES.get(parts.scheme)
    if scheme is None:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise ConfigurationError(f"a line's URL begins with one of {known}; this is {text!r}")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError("a line's URL holds no user and no password")
    options = _options(parts, scheme)
    if not scheme.network:
        path = unquote(parts.path)
        if parts.netloc or not path:
            raise ConfigurationError(
                f"{scheme.name}:// is followed by the path of a device; this is {text!r}"
            )
        return Url(scheme.name, path=path, options=options)
    if not parts.hostname or parts.path not in ("", "/") or parts.fragment:
        raise ConfigurationError(
            f"{scheme.name}:// is followed by host:port and nothing else; this is {text!r}"
        )
    return Url(scheme.name, parts.hostname, PORT if port is None else port, "", options)


def _options(parts: SplitResult, scheme: Scheme) -> dict[str, str]:
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    options = dict(pairs)
    unknown = sorted(options.keys() - scheme.options)
    if unknown or len(options) != len(pairs):
        what = f"no option {unknown[0]!r}" if unknown else "each option once"
        raise ConfigurationError(f"{scheme.name}:// takes {what}")
    return options


def to_open(text: str) -> Url:
    """The parts of a URL whose lines this version opens. Unsupported for the other known ones."""
    url = parse(text)
    if not SCHEMES[url.scheme].supported:
        raise Unsupported(f"{url.scheme}:// lines cannot be opened yet")
    if "gateway" in url.options:
        raise Unsupported(f"the option 'gateway' of {url.scheme}:// is not there yet")
    return url


def on_hdlc(text: str | None) -> bool:
    """Is this the URL of a line with HDLC?"""
    return text is not None and SCHEMES[parse(text).scheme].hdlc

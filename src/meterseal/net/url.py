"""Where a line goes, as text: `tcp://host:port` and its kin; the schemes are a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from meterseal.errors import ConfigurationError, Misuse, Unsupported
from meterseal.framing.gateway import Prefix
from meterseal.framing.hdlc.parameters import ROOMY, Parameters
from meterseal.framing.wrapper import PORT

_TEXT: Final = "text:"
_HDLC: Final = frozenset({"frame_size", "window"})


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
        Scheme("hdlc+tcp", True, _HDLC | {"gateway"}, True, True),
        Scheme("han+tcp", True, frozenset(), False),
        Scheme("serial", False, _HDLC | {"baud", "form", "gateway"}, True, True),
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

    @property
    def gateway(self) -> Prefix | None:
        """The prefix of requests, where the meter stands behind a gateway (`?gateway=NETWORK/ADDRESS`).

        ADDRESS is hex, or `text:` and characters; it may be empty.  ConfigurationError.
        """
        option = self.options.get("gateway")
        return None if option is None else _route(option)

    def parameters(self, known: Parameters | None = None) -> Parameters | None:
        """HDLC sizes and windows: `known`, else the largest, with what the URL says (`frame_size`, `window`).

        None where neither says anything.  ConfigurationError.
        """
        said = {name: self.options[name] for name in _HDLC if name in self.options}
        if not said:
            return known
        return sizes(known, **{name: _number(name, text) for name, text in said.items()})

    @property
    def peer(self) -> str:
        """Whom it reaches, without how: the URL of who answers there, written in one way."""
        via = self.gateway
        return str(self) if via is None else f"{self}?gateway={via.network}/{via.address.hex().upper()}"


def sizes(
    known: Parameters | None, frame_size: int | None = None, window: int | None = None
) -> Parameters | None:
    """`known`, else the largest, with one size of information and one window for both directions.

    None where nothing is said.  ConfigurationError for what HDLC does not have.
    """
    if frame_size is None and window is None:
        return known
    start, size, frames = known or ROOMY, {}, {}
    if frame_size is not None:
        size = dict.fromkeys(("max_transmit", "max_receive"), frame_size)
    if window is not None:
        frames = dict.fromkeys(("window_transmit", "window_receive"), window)
    try:
        return replace(start, **size, **frames)
    except Misuse as error:
        raise ConfigurationError(f"frame_size is 1 to 2030 octets, window 1 to 7 frames: {error}") from None


def _number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 5:
        raise ConfigurationError(f"{name} is a number")
    return int(text)


def _route(option: str) -> Prefix:
    network, slash, address = option.partition("/")
    try:
        number = int(network) if slash and network.isascii() and network.isdigit() else -1
        if address.startswith(_TEXT):
            octets = address.removeprefix(_TEXT).encode()
        else:
            octets = bytes.fromhex(address)
    except ValueError:
        number, octets = -1, b""
    if not 0 <= number <= 0xFF or len(octets) > 0xFF:
        raise ConfigurationError(
            "gateway=NETWORK/ADDRESS takes 0 to 255 and at most 255 octets in hex, or text:CHARACTERS"
        )
    return Prefix(True, number, octets)


def parse(text: str) -> Url:
    """The parts of a URL. The port may be left out (4059).

    ConfigurationError: no URL, a character that does not print, an unknown scheme or option, a port outside
    0..65535, or a user and password (a URL gets into logs and lists of processes).
    """
    try:
        if not text.isprintable():
            raise ValueError("with a character that does not print")  # some of which are left out below
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
        if parts.netloc or not path or not path.isprintable():
            raise ConfigurationError(
                f"{scheme.name}:// is followed by the path of a device; this is {text!r}"
            )
        url = Url(scheme.name, path=path, options=options)
    else:
        if not parts.hostname or parts.path not in ("", "/") or parts.fragment:
            raise ConfigurationError(
                f"{scheme.name}:// is followed by host:port and nothing else; this is {text!r}"
            )
        url = Url(scheme.name, parts.hostname, PORT if port is None else port, "", options)
    _check(url)
    return url


def _check(url: Url) -> None:
    """Refuse what an option of a URL cannot say, before anything is opened."""
    _ = url.gateway, url.parameters()


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
    return url


def to_listen(text: str) -> Url:
    """The parts of a URL that somebody answers at. Unsupported as of `to_open`, and behind a gateway."""
    url = to_open(text)
    if url.gateway is not None:
        raise Unsupported("nobody listens behind a gateway: gateway= is for who calls")
    return url


def peer_of(text: str) -> str:
    """`Url.peer` of a URL; any other text, a line's own name, stays as it is."""
    try:
        return parse(text).peer
    except ConfigurationError:
        return text


def on_hdlc(text: str | None) -> bool:
    """Is this the URL of a line with HDLC?"""
    return text is not None and SCHEMES[parse(text).scheme].hdlc

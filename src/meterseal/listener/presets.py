"""Customer ports by name: speed, framing, protection and quirks, as public descriptions tell (more 4, 9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from meterseal.errors import ConfigurationError
from meterseal.framing.live import KINDS
from meterseal.security.protection import AUTHENTICATED, ENCRYPTED, NONE

STRONG: Final = AUTHENTICATED | ENCRYPTED


@dataclass(frozen=True, slots=True)
class Preset:
    """One kind of customer port.

    `baud` and `form` (data bits, parity, stop bits) are for serial lines, `baud` 0 where no public source
    says; `kinds` are those of `framing.live`.  `accept` is the protection that such ports send with.
    `length_modulo_256`: M-Bus frames longer than 255 octets.  `tagged_time`: the date-time of the push has
    one tag too many.
    """

    name: str
    what: str
    baud: int = 0
    form: str = "8N1"
    kinds: tuple[str, ...] = KINDS
    accept: int = STRONG
    length_modulo_256: bool = False
    tagged_time: bool = False


_MBUS, _HDLC, _P1 = ("m-bus",), ("hdlc",), ("p1", "p1-ciphered")

PRESETS: Final = {
    preset.name: preset
    for preset in (
        Preset("tirol", "Tirol, Kaifa: suite 1, encrypted only, no GAK", 2400, "8E1", _MBUS, ENCRYPTED),
        Preset("netz-noe", "Lower Austria, Kaifa: encrypted only, no GAK", 2400, "8E1", _MBUS, ENCRYPTED),
        Preset(
            "sagemcom-t210-d",
            "Sagemcom T210-D by M-Bus: encrypted only, no GAK",
            2400,
            "8E1",
            _MBUS,
            ENCRYPTED,
            length_modulo_256=True,
        ),
        Preset("luxembourg", "ciphered telegrams, GAK 0011..EEFF", 115_200, "8N1", ("p1-ciphered",)),
        Preset("steiermark", "Styria, Sagemcom T210-D-r: as luxembourg", 115_200, "8N1", ("p1-ciphered",)),
        Preset("dsmr", "telegrams in clear", 115_200, "8N1", _P1, NONE),
        Preset("e450", "Landis+Gyr E450: blocks in HDLC", 0, "8N1", _HDLC),
        Preset("norway", "HDLC in clear", 0, "8N1", _HDLC, NONE),
        Preset("norway-kaifa", "HDLC in clear, time with a tag", 0, "8N1", _HDLC, NONE, tagged_time=True),
    )
}
"""The customer ports by name."""

ANY: Final = Preset("any", "whatever it turns out to be")


def preset(name: str | None) -> Preset:
    """The preset of this name; without one a line that may be of any kind.  Raises ConfigurationError."""
    if name is None:
        return ANY
    if name not in PRESETS:
        raise ConfigurationError(f"no preset {name[:40]!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]

"""Protection as three bits on one scale, and the styles in which it travels.

Authenticated 1, encrypted 2, signed 4.  The three tables of the standard are the same scale
shifted: the security control octet holds it at bit 4, a security policy (class 64 version 1)
and an access right (class 15 version 3) hold the request's at bit 2 and the response's at bit 5
(security 2, 14; classes 1).
"""

from __future__ import annotations

from typing import ClassVar

from meterseal.apdu.ciphered import DED_TAG, DEDICATED, GENERAL_DED, GENERAL_GLO, GLO_TAG, GLOBAL, Form
from meterseal.errors import ConfigurationError

AUTHENTICATED, ENCRYPTED, SIGNED = 1, 2, 4
NONE = 0

_REQUEST_SHIFT, _RESPONSE_SHIFT, _CONTROL_SHIFT = 2, 5, 4
_CONTROL_MASK = AUTHENTICATED | ENCRYPTED


def of_request(bits: int) -> int:
    """The protection that policy or access-right bits ask of a request."""
    return (bits >> _REQUEST_SHIFT) & 7


def of_response(bits: int) -> int:
    """The protection that policy or access-right bits ask of a response."""
    return (bits >> _RESPONSE_SHIFT) & 7


def of_control(sc: int) -> int:
    """The protection that a security control octet says the message carries."""
    return (sc >> _CONTROL_SHIFT) & _CONTROL_MASK


def policy_bits(request: int, response: int) -> int:
    """Policy bits (class 64 version 1) from a protection each way."""
    return request << _REQUEST_SHIFT | response << _RESPONSE_SHIFT


_WORDS = {"authenticated": AUTHENTICATED, "encrypted": ENCRYPTED, "signed": SIGNED}


def text(protection: int) -> str:
    """`authenticated+encrypted`, `none`, ..."""
    return "+".join(word for word, bit in _WORDS.items() if protection & bit) or "none"


def from_text(words: str) -> int:
    """The protection that `text` writes so.  Raises ConfigurationError for another word."""
    if words == "none":
        return NONE
    total = NONE
    for word in words.split("+"):
        if word.strip() not in _WORDS:
            raise ConfigurationError(f"protection {words!r}: {word!r} is none of {', '.join(_WORDS)}, none")
        total |= _WORDS[word.strip()]
    return total


class Style:
    """How protection travels: with the global or the dedicated key, service-specific or general.

    `tags` maps the plain tag to the ciphered one; the general styles have none, and one `form` for all.
    `carrier` is the style that can carry a signed APDU with the same key.  LAYERED protects nothing
    itself: a general-ciphering layer does.  The six styles are class attributes; there are no others.
    (A plain class: reading a member of an enumeration costs as much as a field of the message.)
    """

    __slots__ = ("carrier", "form", "general", "key_set", "name", "tags")

    PLAIN: ClassVar[Style]
    GLO: ClassVar[Style]
    DED: ClassVar[Style]
    GENERAL_GLO: ClassVar[Style]
    GENERAL_DED: ClassVar[Style]
    LAYERED: ClassVar[Style]

    def __init__(self, name: str, key_set: str, tags: dict[int, int], form: Form | None) -> None:
        self.name = name
        self.key_set = key_set
        self.tags = tags
        self.form = form
        self.general = form is not None
        self.carrier: Style = self

    def __repr__(self) -> str:
        return f"Style.{self.name}"


Style.PLAIN = Style("PLAIN", "none", {}, None)
Style.GLO = Style("GLO", GLOBAL, GLO_TAG, None)
Style.DED = Style("DED", DEDICATED, DED_TAG, None)
Style.GENERAL_GLO = Style("GENERAL_GLO", GLOBAL, {}, GENERAL_GLO)
Style.GENERAL_DED = Style("GENERAL_DED", DEDICATED, {}, GENERAL_DED)
Style.LAYERED = Style("LAYERED", "none", {}, None)
Style.GLO.carrier, Style.DED.carrier = Style.GENERAL_GLO, Style.GENERAL_DED


_STYLES = {
    (GLOBAL, False): Style.GLO,
    (DEDICATED, False): Style.DED,
    (GLOBAL, True): Style.GENERAL_GLO,
    (DEDICATED, True): Style.GENERAL_DED,
}


def style_of(form: Form) -> Style:
    """The style that a received form belongs to; the answer goes out in the same one."""
    return _STYLES[form.key_set, form.general]

"""Opening one ciphered APDU with a keyring, and naming the cause where that does not work.

The order is that of the library's own `unprotect`: shape, title, key, tag, what is inside, counter. What
differs: several sets of keys may be held, and a tag that does not verify is looked into ("GAK and GUEK may be
swapped"). Such a trial only finds a cause; what it opens is never shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from meterseal.apdu import UNDECODED, ciphered, message_type
from meterseal.apdu.ciphered import SC_BROADCAST, SC_COMPRESSED, Ciphered
from meterseal.crypto import SUITES, TAG_LENGTH, GcmKey
from meterseal.crypto.v44 import decompress
from meterseal.errors import (
    DecodeError,
    Forged,
    KeyLength,
    Malformed,
    MetersealError,
    TooWeak,
    UnknownKey,
    Unsupported,
)
from meterseal.framing.items import Layer
from meterseal.probe.keyring import DEDICATED, GAK, GBEK, GUEK, Keyring, Keys
from meterseal.probe.stream import Line, Stream, client_address, from_client
from meterseal.security.protection import AUTHENTICATED, ENCRYPTED, of_control

_ENCRYPTED_ONLY: Final = 0x20
_NEVER_INSIDE: Final = frozenset(ciphered.FORMS) | frozenset(range(0x60, 0x64)) | {0xE0, 0xE6, 0xE7}
P1_MARK: Final = b"/"


@dataclass(slots=True)
class Opening:
    """What came out: the plain octets, whether a tag proved them, and the set of keys that did it.

    `title` is the sender's, `warnings` what a reader should know.
    """

    plain: bytes
    verified: bool | None
    keys: Keys
    title: bytes | None
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class Frame:
    """A ciphered APDU, the layers around it, and the line it came over.

    general-ciphering has more: `header`, the fields that its tag covers; `asked`, the key that its key-info
    names; and where that is made for the message, `fresh`: the sets that have it.
    """

    message: Ciphered
    around: Sequence[Layer]
    line: Line
    header: bytes = b""
    asked: str = ""
    fresh: Sequence[Keys] | None = None

    @property
    def applied(self) -> int:
        """AUTHENTICATED and ENCRYPTED bits of the security control octet."""
        return of_control(self.message.sc)

    @property
    def suite(self) -> int:
        """The suite that the security control octet names."""
        return self.message.sc & 0x0F

    @property
    def ek(self) -> str:
        """Which encryption key the frame asks for."""
        if self.asked:
            return self.asked
        if self.message.form.key_set == ciphered.DEDICATED:
            return DEDICATED
        return GBEK if self.message.sc & SC_BROADCAST else GUEK

    @property
    def name(self) -> str:
        """The name of its form."""
        return self.message.form.name

    @property
    def by_client(self) -> bool | None:
        """Did the client send it? None when nothing tells."""
        return from_client(self.message.form, self.line, self.around)


def check_shape(frame: Frame) -> None:
    """What no key could make right.  Raises Malformed, TooWeak, Unsupported."""
    sc = frame.message.sc
    suite = SUITES.get(frame.suite)
    if suite is None:
        raise Unsupported(f"security control {sc:02X} names suite {frame.suite}, which is reserved")
    if not frame.applied:
        raise TooWeak(f"security control {sc:02X} says neither authenticated nor encrypted")
    if sc & SC_BROADCAST and (frame.asked or frame.ek == DEDICATED):
        raise Malformed(f"security control {sc:02X}: another key is asked for than a broadcast key")
    if sc & SC_COMPRESSED:
        if not suite.compression or not frame.message.form.general:
            raise Malformed(f"security control {sc:02X}: compression is not for {frame.name} in this suite")
        if not frame.applied & AUTHENTICATED:
            raise TooWeak(f"security control {sc:02X}: compressed content without a tag is not opened")
    if frame.applied & AUTHENTICATED and len(frame.message.body) < TAG_LENGTH:
        raise Malformed(f"{len(frame.message.body)} octets are less than a tag of {TAG_LENGTH}")


def titles(frame: Frame, keyring: Keyring, keys: Keys) -> Iterator[bytes]:
    """System titles that the sender may have, the likeliest first; one, where the frame itself carries it."""
    if frame.message.title:
        yield frame.message.title
        return
    by_client = frame.by_client
    line = frame.line
    seen: set[bytes] = set()
    pairs = (
        (line.client_title, line.meter_title),
        (keyring.title,) * 2,
        (keys.client_title, keys.meter_title),
    )
    for of_client, of_meter in pairs:
        for title, wanted in ((of_client, by_client is not False), (of_meter, by_client is not True)):
            if wanted and title is not None and title not in seen:
                seen.add(title)
                yield title


def open_frame(frame: Frame, keyring: Keyring, stream: Stream, unverified: bool) -> Opening:
    """Open a frame whose shape is right.

    Raises UnknownKey, KeyLength, Forged, Replayed, Malformed: the text names the cause. With several sets of
    keys the tag decides; without a tag only the first one that fits is used. `unverified` opens a frame
    whose tag cannot be verified because no GAK is known.
    """
    cause: MetersealError | None = None
    for keys in candidates(frame, keyring):
        if not keys.holds(frame.ek):
            cause = cause or UnknownKey(_missing(frame, next(titles(frame, keyring, keys), None)))
            continue
        for title in titles(frame, keyring, keys):
            try:
                opening = _open_with(frame, keys, title, unverified)
            except (Forged, UnknownKey, KeyLength) as error:
                # The cause of the likeliest set and title is the one to tell.
                cause = cause or error
                continue
            if opening.verified:
                kcv = keys.kcv(frame.ek)
                stream.check(kcv, title, frame.message.counter)
                stream.commit(kcv, title, frame.message.counter)
            return opening
    raise cause or UnknownKey(_no_title(frame))


def candidates(frame: Frame, keyring: Keyring) -> list[Keys]:
    """Sets of keys to try; a dedicated key that the stream itself brought goes first."""
    if frame.fresh is not None:
        return list(frame.fresh)
    sender = frame.message.title or frame.line.client_title
    sets = keyring.ordered(client_address(frame.around, frame.by_client), sender)
    if frame.ek == DEDICATED and frame.line.dedicated is not None:
        sets.insert(0, frame.line.dedicated)
    return sets


def _open_with(frame: Frame, keys: Keys, title: bytes, unverified: bool) -> Opening:
    message, suite = frame.message, frame.suite
    iv = title + message.counter.to_bytes(4, "big")
    tagged = bool(frame.applied & AUTHENTICATED)
    keys.check(frame.ek, suite)
    if not tagged:
        plain = keys.handle(frame.ek, None, suite).open(message.sc, iv, message.body, frame.header)
        check_unproven(plain, message.form.plain_tag, f"{frame.name} is only encrypted")
        return Opening(plain, None, keys, title)
    if keys.gak_in_use is None:
        if not unverified:
            raise UnknownKey(
                f"GAK of system title {title.hex().upper()} unknown: {frame.name} has a tag; give the GAK, "
                "or say that none is in use"
            )
        return _open_unverified(frame, keys, title, iv)
    handle = keys.handle(frame.ek, GAK if keys.gak_in_use else None, suite)
    try:
        plain = handle.open(message.sc, iv, message.body, frame.header)
    except Forged:
        reason = _why(frame, keys, iv)
    else:
        return Opening(_unpacked(frame, plain, keys), True, keys, title)
    raise Forged(f"tag wrong: {reason}")


def _open_unverified(frame: Frame, keys: Keys, title: bytes, iv: bytes) -> Opening:
    """Without the AK the tag proves nothing; the key stream alone still gives the text."""
    information = frame.message.body[:-TAG_LENGTH]
    if frame.applied & ENCRYPTED:
        handle = keys.handle(frame.ek, None, frame.suite)
        information = handle.open(_ENCRYPTED_ONLY, iv, information)
    try:
        information = _unpacked(frame, information, keys)
    except DecodeError:
        information = b""
    check_unproven(information, frame.message.form.plain_tag, "the tag was not verified")
    warning = f"{frame.name}: the tag was NOT verified, no GAK is known; anybody may have written this"
    return Opening(information, None, keys, title, (warning,))


def _unpacked(frame: Frame, information: bytes, keys: Keys) -> bytes:
    """The APDU: decompressed where the frame says so."""
    return decompress(information, keys.compression) if frame.message.sc & SC_COMPRESSED else information


def check_unproven(plain: bytes, expected: int, reason: str) -> None:
    """Without a verified tag the first octet has to tell a right key from a wrong one.  Raises Forged."""
    first = plain[0] if plain else -1
    if first != expected if expected else not (plain[:1] == P1_MARK or _known(plain)):
        del plain
        raise Forged(
            f"{reason}, and what is inside is no APDU that fits: wrong key, wrong system title, "
            "or changed on the way"
        )


def check_inside(frame: Frame, plain: bytes) -> None:
    """The outer form fixes what may stand inside.  Raises Forged, Malformed."""
    expected = frame.message.form.plain_tag
    if not plain:
        raise Malformed(f"{frame.name}: nothing inside")
    if expected and plain[0] != expected:
        raise Forged(f"{frame.name} does not hold the APDU that its tag promises")
    if plain[0] in _NEVER_INSIDE:
        raise Malformed(f"{frame.name} holds an APDU that may not be inside")


def _known(plain: bytes) -> bool:
    """Do the tags belong to an APDU that may be inside?"""
    if not plain:
        return False
    if plain[0] in UNDECODED:
        return plain[0] not in _NEVER_INSIDE
    try:
        message_type(plain)
    except (DecodeError, Unsupported):
        return False
    return plain[0] not in _NEVER_INSIDE


# --- causes -------------------------------------------------------------------------------------


def _why(frame: Frame, keys: Keys, iv: bytes) -> str:
    """Why a tag does not verify, as far as the other uses of the same keys tell."""
    suite = frame.suite
    if keys.gak_in_use:
        if _verifies(frame, keys.handle(GAK, frame.ek, suite), iv):
            return f"GAK and {frame.ek} may be swapped (the other way round it verifies)"
        if _verifies(frame, keys.handle(frame.ek, None, suite), iv):
            return "no GAK seems to be in use (without one it verifies)"
        given = f"wrong {frame.ek} or GAK"
    else:
        given = f"wrong {frame.ek}, a GAK in use after all"
    return f"{given}, wrong system title ({iv[:8].hex().upper()}), or changed on the way"


def _verifies(frame: Frame, handle: GcmKey, iv: bytes) -> bool:
    try:
        handle.open(frame.message.sc, iv, frame.message.body, frame.header)
    except Forged:
        return False
    return True


_MEANING: Final = {
    GUEK: "the global unicast encryption key",
    GBEK: "the global broadcast encryption key",
}


def _missing(frame: Frame, title: bytes | None) -> str:
    whose = "its system title is not known either" if title is None else f"system title {title.hex().upper()}"
    if frame.ek == DEDICATED:
        before = "none was given, and no InitiateRequest opened before in this stream brought one"
        return f"no dedicated key for {frame.name} ({whose}): {before}"
    return f"{frame.ek} missing: {frame.name} is under {_MEANING[frame.ek]} ({whose})"


def _no_title(frame: Frame) -> str:
    side = {True: "the client", False: "the meter", None: "the sender"}[frame.by_client]
    return (
        f"system title of {side} unknown: {frame.name} carries none, no AARQ or AARE before it in this "
        "stream told it, and none was given"
    )

"""Signed APDUs out of recorded traffic, as they were signed, and the certificates that went over the line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from meterseal.apdu import acse
from meterseal.apdu.general import GeneralSigning
from meterseal.crypto.certificates import Certificate
from meterseal.errors import CertificateRefused, MetersealError
from meterseal.probe.dissect import Dissector
from meterseal.probe.keyring import Keyring


class Signed(NamedTuple):
    """What a recording holds: the general-signing APDUs in order, the certificates of its sign-ons.

    `causes` are those of frames that could not be opened so far: what is signed may be in them.
    """

    apdus: tuple[bytes, ...]
    certificates: tuple[Certificate, ...]
    causes: tuple[MetersealError, ...]


def signed(pieces: Iterable[bytes], keyring: Keyring) -> Signed:
    """The signed APDUs in captured octets, opened as far as the keys go; no signature is verified here."""
    apdus, certificates, causes = list[bytes](), list[Certificate](), list[MetersealError]()
    dissector = Dissector(keyring)
    for piece in pieces:
        for one in dissector.feed(piece):
            if one.signed is not None and GeneralSigning.decode(one.signed).content:
                apdus.append(one.signed)
            elif one.error is not None:
                causes.append(one.error)
            certificates += _sent_along(one.message)
    return Signed(tuple(apdus), tuple(certificates), tuple(causes))


def _sent_along(message: object) -> list[Certificate]:
    """The certificate of an AARQ or AARE, where there is one: anything else may stand in its field."""
    if isinstance(message, acse.Aarq):
        octets = message.calling_ae_qualifier
    elif isinstance(message, acse.Aare):
        octets = message.responding_ae_qualifier
    else:
        return []
    try:
        return [] if octets is None else [Certificate(octets)]
    except CertificateRefused:
        return []

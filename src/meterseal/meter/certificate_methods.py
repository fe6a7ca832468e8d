"""Certificates of a meter in its Security setup objects: attribute 6 and methods 4 to 8 (classes 5).

Names of issuers and subjects are given out as the DER of the name; in an identification the text of RFC 4514
(`CN=...`) is taken as well, because sources differ.  An authority has no system title: by entity it is found
with an empty one, when there is only one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from meterseal.codec.types import Array, Structure, Tag
from meterseal.crypto.certificates import Certificate
from meterseal.errors import MetersealError, StateUnavailable
from meterseal.meter.objects import (
    OBJECT_UNAVAILABLE,
    OTHER_REASON,
    TYPE_UNMATCHED,
    Asker,
    Caller,
    Denied,
    Value,
)
from meterseal.meter.pairs import KINDS, KeyPairs, Kind
from meterseal.security.steps import Steps

_INFO: Final = Array(Structure((Tag.ENUM, Tag.ENUM, *[Tag.OCTET_STRING] * 4)))
_BY_ENTITY, _BY_SERIAL = 0, 1
"""identification_type."""


class CertificateMethods:
    """One for every Security setup object; what they work on is the meter's.

    `changed` is called when the answer to a change has gone out: what was in use stays so until then.
    """

    def __init__(self, pairs: KeyPairs, changed: Callable[[], None]) -> None:
        self._pairs, self._changed = pairs, changed
        self.callers: dict[int, Caller] = {
            4: self._generate_key_pair,
            5: self._generate_certificate_request,
            6: self._import_certificate,
            7: self._export_certificate,
            8: self._remove_certificate,
        }

    def certificates(self, asker: Asker) -> Value:
        """Attribute 6: certificate_info of all that are held, trust anchors among them."""
        return [self._info(certificate) for certificate in self._pairs.held()], _INFO

    def _info(self, one: Certificate) -> tuple[int, int, bytes, bytes, bytes, bytes]:
        entity, kind = self._pairs.entity(one), self._pairs.type_of(one)
        return entity, kind, one.serial, one.issuer, one.subject, one.alternative_name

    def _generate_key_pair(self, asker: Asker, number: int) -> Steps[None]:
        return self._pairs.generating(_kind(number))

    def _generate_certificate_request(self, asker: Asker, number: int) -> Steps[Value]:
        with _refused():
            request = yield from self._pairs.requesting(_kind(number))
        return request, Tag.OCTET_STRING

    def _import_certificate(self, asker: Asker, der: bytes) -> Steps[None]:
        with _refused():
            yield from self._pairs.taking(der)
        asker.after.append(lambda answered: self._changed())

    def _export_certificate(self, asker: Asker, identification: tuple[int, Any]) -> Value:
        return self._find(identification).der, Tag.OCTET_STRING

    def _remove_certificate(self, asker: Asker, identification: tuple[int, Any]) -> None:
        certificate = self._find(identification)
        with _refused():
            self._pairs.remove(certificate)
        asker.after.append(lambda answered: self._changed())

    # --- which one --------------------------------------------------------------------------

    def _find(self, identification: tuple[int, Any]) -> Certificate:
        """The one certificate that is meant.  Raises Denied for none, and for several."""
        how, options = identification
        if how == _BY_ENTITY and _fits(options, int, int, bytes):
            found = [one for one in self._pairs.held() if self._identity(one) == options]
        elif how == _BY_SERIAL and _fits(options, bytes, bytes):
            serial, issuer = options
            found = [one for one in self._pairs.held() if _is(one, serial, issuer)]
        else:
            raise Denied(TYPE_UNMATCHED, "not the identification of a certificate")
        if len(found) != 1:
            raise Denied(OBJECT_UNAVAILABLE, f"{len(found)} certificates are meant")
        return found[0]

    def _identity(self, one: Certificate) -> tuple[int, int, bytes]:
        return self._pairs.entity(one), self._pairs.type_of(one), one.title or b""


@contextmanager
def _refused() -> Iterator[None]:
    """What is wrong is the journal's; where the disk does not take it, it may be asked for again."""
    try:
        yield
    except StateUnavailable:
        raise
    except MetersealError as error:
        raise Denied(OTHER_REASON, f"{error}") from error


def _kind(number: int) -> Kind:
    kind = KINDS.get(number)
    if kind is None:
        raise Denied(OTHER_REASON, f"there is no key pair of type {number}")
    return kind


def _fits(options: Any, *types: type) -> bool:
    """True for a structure of values of these types."""
    if not isinstance(options, Sequence) or len(options) != len(types):
        return False
    return all(type(value) is wanted for value, wanted in zip(options, types, strict=True))


def _is(one: Certificate, serial: bytes, issuer: bytes) -> bool:
    return one.serial == serial.lstrip(b"\0") and issuer in (one.issuer, one.issuer_text.encode())

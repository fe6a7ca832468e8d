"""The system title in a certificate or a request: one title, in one of three places or more (classes 12)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NoReturn

from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from meterseal.errors import CertificateRefused

HARDWARE_MODULE_NAME: Final = ObjectIdentifier("1.3.6.1.5.5.7.8.4")


def _refuse(why: str) -> NoReturn:
    raise CertificateRefused(why)


def title_of(subject: x509.Name, extensions: x509.Extensions) -> bytes:
    """The system title of an end entity, from what its certificate or request says of the subject.

    Raises CertificateRefused: none, or two that differ.
    """
    found = {*_from_common_name(subject), *_from_hardware_module(extensions), *_from_identifier(subject)}
    if not found:
        _refuse("no system title: neither in the common name nor in one of the other places")
    if len(found) > 1:
        _refuse("two system titles that differ")
    return found.pop()


def _from_common_name(subject: x509.Name) -> Iterable[bytes]:
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    for name in names:
        text = name.value
        if isinstance(text, str) and len(text) == 16 and not set(text) - set("0123456789ABCDEF"):
            yield bytes.fromhex(text)


def _from_identifier(subject: x509.Name) -> Iterable[bytes]:
    for name in subject.get_attributes_for_oid(NameOID.X500_UNIQUE_IDENTIFIER):
        octets = name.value
        if not isinstance(octets, bytes) or len(octets) != 9 or octets[0]:
            _refuse("a uniqueIdentifier that is no system title of 64 bits")
        yield octets[1:]


def _from_hardware_module(extensions: x509.Extensions) -> Iterable[bytes]:
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    for name in names.get_values_for_type(x509.OtherName):
        if name.type_id == HARDWARE_MODULE_NAME:
            yield _hardware_serial(name.value)


def _hardware_serial(der: bytes) -> bytes:
    """hwSerialNum of HardwareModuleName: SEQUENCE { hwType OBJECT IDENTIFIER, hwSerialNum OCTET STRING }."""
    # Both lengths are below 80 hex where the serial number is a title.
    if len(der) > 4 and der[0] == 0x30 and der[1] == len(der) - 2 and der[2] == 0x06:
        at = 4 + der[3]
        if der[at : at + 2] == b"\x04\x08" and len(der) == at + 10:
            return der[at + 2 :]
    _refuse("a HardwareModuleName whose serial number is no system title of 8 octets")

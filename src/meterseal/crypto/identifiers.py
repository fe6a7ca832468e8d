"""Key identifiers: which key signed, as far as a certificate or a list says it (RFC 5280, 4.2.1)."""

from __future__ import annotations

from typing import NamedTuple

from cryptography import x509


class AuthorityKey(NamedTuple):
    """What authorityKeyIdentifier says: the key's identifier, and whose certificate holds that key.

    `issuers` are names (DER) of who issued that certificate, `serial` is its number; each may be left out.
    """

    identifier: bytes | None = None
    issuers: frozenset[bytes] = frozenset()
    serial: int | None = None

    def may_be(self, subject_key: bytes | None, issuer: bytes, serial: bytes) -> bool:
        """False where it says another key than that of a certificate with these three."""
        if self.identifier and subject_key and self.identifier != subject_key:
            return False
        if self.issuers and issuer not in self.issuers:
            return False
        return self.serial is None or self.serial == int.from_bytes(serial, "big")


def authority_key(extensions: x509.Extensions) -> AuthorityKey:
    """The key that signed what has these extensions; nothing is said where there is no identifier."""
    try:
        found = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return AuthorityKey()
    names = (one.value for one in found.authority_cert_issuer or () if isinstance(one, x509.DirectoryName))
    issuers = frozenset(name.public_bytes() for name in names)
    return AuthorityKey(found.key_identifier, issuers, found.authority_cert_serial_number)


def subject_key(extensions: x509.Extensions) -> bytes | None:
    """The identifier of the key in a certificate; None where it has none."""
    try:
        return extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return None

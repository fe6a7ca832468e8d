"""The certificates and private keys that credentials name: read, checked against the rest, put to use.

Apart from the other files of the package, because reading certificates loads the backend's X.509 part:
only roles of suites 1 and 2 come here.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from meterseal.credentials.files import in_hsm, read_private, read_public
from meterseal.credentials.model import Credentials
from meterseal.credentials.records import MeterCredentials, Party
from meterseal.crypto import AgreementKey, SigningKey
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.formats import list_in
from meterseal.crypto.keyfiles import Key, read_key
from meterseal.crypto.revocation import LARGEST_LIST
from meterseal.errors import CertificateRefused, ConfigurationError, MetersealError
from meterseal.keys.revocation import RevocationLists
from meterseal.keys.trust import Trust
from meterseal.security import SecuritySetup

_LARGEST: Final = 1 << 16
"""Octets of a PEM file; one with a chain of certificates has a few thousand."""


def equip(setup: SecuritySetup, credentials: Credentials, role: Party) -> None:
    """Give a Security setup a role's or a third party's private keys and certificate, and what it trusts.

    Raises ConfigurationError for a file that cannot be read, holds something else, or does not belong to
    the titles and to the other files.
    """
    files = Files(credentials)
    trust = files.trust((credentials.meter, role))
    for name in ("signing_certificate", "agreement_certificate"):
        text = getattr(credentials.meter, name)
        if text is not None:
            trust.pin(files.certificate(text, name, credentials.meter.system_title))
    setup.directory = trust
    title = role.title
    if role.signing_key is not None:
        setup.signing = files.key(role.signing_key, SigningKey)
    if role.agreement_key is not None:
        setup.agreement = files.key(role.agreement_key, AgreementKey)
    if role.signing_certificate is not None:
        own = files.certificate(role.signing_certificate, "signing_certificate", title)
        _check_pair(own, setup.signing, role.signing_certificate)
        setup.certificate = own.der
    if role.agreement_certificate is not None:
        agreed = files.certificate(role.agreement_certificate, "agreement_certificate", title)
        _check_pair(agreed, setup.agreement, role.agreement_certificate)


def certificates_of(credentials: Credentials) -> list[Certificate]:
    """Every certificate that credentials name: trust anchors, the meter's, the roles' own.

    Raises ConfigurationError for a file that cannot be read.
    """
    files, meter = Files(credentials), credentials.meter
    named = [meter.signing_certificate, meter.agreement_certificate]
    for role in credentials.roles.values():
        named += [role.signing_certificate, role.agreement_certificate]
    found = [one for name in named if name is not None for one in files.all_of(name)]
    return [*found, *files.anchors()]


def _check_pair(certificate: Certificate, key: SigningKey | AgreementKey | None, name: str) -> None:
    if key is not None and certificate.key != key.public:
        raise ConfigurationError(f"certificate {name} is not that of the private key beside it")


_PURPOSES: Final = {
    "signing_certificate": Purpose.SIGNATURE,
    "agreement_certificate": Purpose.AGREEMENT,
}


class Files:
    """Files named by credentials, relative to theirs, or held in memory."""

    def __init__(self, credentials: Credentials) -> None:
        self._folder = Path() if credentials.path is None else credentials.path.parent
        self._held, self._trust = credentials.held, credentials.meter.trust
        self._lists = credentials.meter.revocation_lists

    def trust(self, records: Iterable[MeterCredentials | Party]) -> Trust:
        """Anchors, authorities whose certificates stand behind those of `records`, revocation lists.

        With lists every authority on a way has to have one in date.
        """
        named = {name for one in records for name in (one.signing_certificate, one.agreement_certificate)}
        behind = [one for name in sorted(named - {None}, key=str) for one in self.all_of(str(name))[1:]]
        lists = RevocationLists(required=bool(self._lists))
        trust = Trust(
            self.anchors(), lambda: datetime.now(UTC), (one for one in behind if one.title is None), lists
        )
        for name in self._lists:
            try:
                octets = read_public(self._folder / name, "revocation list", LARGEST_LIST)
                trust.take_list(list_in(octets))
            except CertificateRefused as error:
                raise ConfigurationError(f"revocation list {name}: {error}") from None
        return trust

    def anchors(self) -> list[Certificate]:
        """Every certificate of the files under `trust`."""
        return [one for name in self._trust for one in self.all_of(name)]

    def certificate(self, name: str, field: str, title: bytes | None) -> Certificate:
        """The first certificate of a file: of this purpose, and of this title where one is known."""
        found = self.all_of(name)[0]
        purpose = _PURPOSES[field]
        if found.purpose is not purpose:
            raise ConfigurationError(
                f"certificate {name} is for {found.purpose.name.lower()}, {field} for {purpose.name.lower()}"
            )
        if title is not None and found.title != title:
            held = "no title" if found.title is None else found.title.hex().upper()
            raise ConfigurationError(f"certificate {name} is of {held}, wanted is {title.hex().upper()}")
        return found

    def key(self, name: str, kind: type[Key]) -> Key:
        """The private key of a file, or in an HSM."""
        if in_hsm(name):
            return self._in_hsm(name, kind)
        octets = self._held.get(name) or read_private(self._folder / name, "private key", _LARGEST)
        try:
            return read_key(octets, kind)
        except MetersealError as error:
            raise ConfigurationError(f"private key {name}: {error}") from None

    def _in_hsm(self, name: str, kind: type[Key]) -> Key:
        from meterseal.credentials.hsm import private_key  # loads the extra

        if not issubclass(kind, (SigningKey, AgreementKey)):
            raise ConfigurationError("a key in an HSM signs or agrees")
        found = private_key(name, kind, self._folder)
        assert isinstance(found, kind)  # noqa: S101 - made so
        return found

    def all_of(self, name: str) -> list[Certificate]:
        """Every certificate of a file."""
        path = self._folder / name
        try:
            if name in self._held:
                return Certificate.from_pem(self._held[name])
            with path.open("rb") as file:
                return Certificate.from_pem(file.read(_LARGEST))
        except OSError as error:
            raise ConfigurationError(f"certificate {name}: {error.strerror or error}") from None
        except MetersealError as error:
            raise ConfigurationError(f"certificate {name}: {error}") from None

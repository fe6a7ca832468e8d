"""Elliptic curve keys for dissection: whose signatures can be verified, and which agreed keys be found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module

from meterseal.credentials import Credentials
from meterseal.credentials.records import RoleCredentials
from meterseal.crypto import AgreementKey, AgreementPoint, VerifyingKey, suite
from meterseal.errors import ProtectionError
from meterseal.security import SecuritySetup


@dataclass(frozen=True, slots=True)
class Curves:
    """Keys by system title: private ones for key agreement, public ones of signatures and agreement."""

    agreement: Mapping[bytes, AgreementKey] = field(default_factory=dict)
    points: Mapping[bytes, AgreementPoint] = field(default_factory=dict)
    signers: Mapping[bytes, VerifyingKey] = field(default_factory=dict)

    @classmethod
    def of_credentials(cls, credentials: Credentials, role: RoleCredentials) -> Curves:
        """The role's own keys and those of the meter, as far as the file names them.

        Raises ConfigurationError for files that cannot be read.
        """
        meter, title = credentials.meter, role.client_system_title
        if suite(meter.suite).curve is None or title is None:
            return cls()
        setup = SecuritySetup(suite(meter.suite), title, meter.system_title)
        import_module("meterseal.credentials.identity").equip(setup, credentials, role)
        agreement = {} if setup.agreement is None else {title: setup.agreement}
        points = {one: key.public for one, key in agreement.items()}
        signers = {}
        if setup.signing is not None:
            signers[title] = setup.signing.public
        elif setup.certificate is not None:  # who only looks has no private key
            signers[title] = import_module("meterseal.crypto.certificates").Certificate(setup.certificate).key
        if meter.system_title is not None:
            try:
                signers[meter.system_title] = setup.verifying_key(meter.system_title)
            except ProtectionError:
                pass  # the file names no such certificate, or one that is out of date
            try:
                points[meter.system_title] = setup.agreement_point(meter.system_title)
            except ProtectionError:
                pass
        return cls(agreement, points, signers)

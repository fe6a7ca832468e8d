"""Signed APDUs out of recorded frames, whatever they are wrapped in, and the certificates of a sign-on."""

from __future__ import annotations

from pathlib import Path

from meterseal.apdu import acse
from meterseal.apdu.general import GeneralSigning
from meterseal.credentials import Credentials, MeterCredentials, RoleCredentials
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.errors import UnknownKey
from meterseal.probe import Keyring, dissect
from meterseal.probe.signed import signed
from meterseal.security import SIGNED, Style, protect
from tests.crypto.certificate_faults import SUB, TITLE, VALIDITY
from tests.security.parties import ALL, CLIENT, GET, METER, SIGN, both, by, signing

EK, AK = bytes(range(16)), bytes(range(0x20, 0x30))
KEYS = Keyring.of(guek=EK, gak=AK)


def test_signed_apdus_of_every_layering() -> None:
    client, _ = both()
    bare = protect(client, GET, SIGNED, Style.GENERAL_GLO, (signing(),))
    frames = [
        bare,
        protect(client, GET, ALL, Style.GENERAL_GLO, (signing(b"general-glo"),)),
        by(client, "identified", ALL),
        protect(client, GET, ALL & ~SIGNED, Style.GENERAL_GLO),
    ]
    found = signed(frames, KEYS)
    assert [GeneralSigning.decode(one).content for one in found.apdus] == [GET] * 3
    assert found.apdus[0] == bare and not found.causes
    for one in found.apdus:
        message = GeneralSigning.decode(one)
        assert (message.originator_system_title, message.recipient_system_title) == (CLIENT, METER)
        SIGN[1, CLIENT].public.verify(message.signature, message.signed())


def test_what_cannot_be_opened_is_a_cause() -> None:
    client, _ = both()
    found = signed([protect(client, GET, ALL, Style.GENERAL_GLO, (signing(),))], Keyring())
    assert not found.apdus and isinstance(found.causes[0], UnknownKey)


def test_certificates_that_went_along() -> None:
    certificate = SUB.issue(SIGN[1, METER].public, TITLE, Purpose.SIGNATURE, VALIDITY)
    aarq = acse.Aarq(
        application_context_name=b"\x60\x85\x74\x05\x08\x01\x03", calling_ae_qualifier=certificate.der
    )
    junk = aarq.replace(calling_ae_qualifier=b"no certificate")
    found = signed([aarq.encode(), junk.encode(), aarq.replace(calling_ae_qualifier=None).encode()], KEYS)
    assert found.certificates == (Certificate(certificate.der),)


def test_who_only_looks_needs_no_private_key(tmp_path: Path) -> None:
    """A role's own certificate is enough to verify what it signed."""
    client, _ = both()
    certificate = SUB.issue(SIGN[1, CLIENT].public, CLIENT, Purpose.SIGNATURE, VALIDITY)
    (tmp_path / "client.pem").write_bytes(certificate.to_pem())
    meter = MeterCredentials(url="tcp://127.0.0.1:4059", suite=1, system_title=METER)
    role = RoleCredentials(
        client=1,
        mechanism="gmac",
        client_system_title=CLIENT,
        guek=EK,
        gak=AK,
        signing_certificate="client.pem",
    )
    keys = Keyring.of_credentials(Credentials(meter, {"one": role}, path=tmp_path / "meter.toml"))
    sent = protect(client, GET, ALL, Style.GENERAL_GLO, (signing(),))
    (found,) = dissect(sent, keys)
    assert (found.error, found.warnings, found.plain) == (None, (), GET)
    assert [layer["verified"] for layer in found.layers] == [True, True]

"""The demonstration's scenes of suite 1, recomputed from their evidence."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from meterseal.crypto.v44 import decompress
from tests.demo.conftest import Evidence
from tests.demo.recompute import (
    common_name,
    general_glo,
    issued_by,
    opens_general,
    opens_static,
    signed_apdu,
    unsealed,
    verifies,
)

OFF = "C301C10046000060030AFF01010F00"


def keys(evidence: dict[str, Any], role: str) -> tuple[str, str]:
    held = evidence["keys"]["roles"][role]
    return held["guek"], held["gak"]


def in_kind(frames: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one for one in frames if kind in {layer["kind"] for layer in one["layers"]}]


def test_signed_on_by_certificate(evidence: Evidence) -> None:
    found = evidence("by certificate")
    issued_by(found["root"], found["root"])
    aarq, aare = (one["hex"] for one in found["frames"][:2])
    titles = found["keys"]["roles"]["operator"]["client_system_title"], found["keys"]["meter_system_title"]
    for who, carrier, title in (("client", aarq, titles[0]), ("meter", aare, titles[1])):
        side = found[who]
        issued_by(side["certificate"], found["root"])
        assert common_name(side["certificate"]) == title and side["certificate"] in carrier
        assert verifies(side["certificate"], bytes.fromhex(side["signature"]), bytes.fromhex(side["signed"]))
    theirs = {who: bytes.fromhex(found[who]["signed"]) for who in ("client", "meter")}
    assert theirs["client"].hex().upper()[:32] == titles[0] + titles[1]
    assert theirs["meter"].hex().upper()[:32] == titles[1] + titles[0]
    first, second = theirs["client"][16:48], theirs["client"][48:]
    assert theirs["meter"][16:] == second + first and first != second
    assert first.hex().upper() in aare and second.hex().upper() in aarq
    proofs = in_kind(found["frames"], "glo-action-request") + in_kind(found["frames"], "glo-action-response")
    assert [
        found[who]["signature"] in one["plain"] for who, one in zip(("client", "meter"), proofs, strict=True)
    ]


def test_signed_and_forged(evidence: Evidence) -> None:
    found = evidence("signed disconnect")
    certificates, (guek, gak) = found["certificates"], keys(found, "manager")
    meter, manager = (
        found["keys"]["meter_system_title"],
        found["keys"]["roles"]["manager"]["client_system_title"],
    )
    layered = in_kind(found["frames"], "general-signing")
    assert [one["direction"] for one in layered] == ["out", "in", "out", "in"]
    for one in layered:
        inner = signed_apdu(opens_general(one["hex"], guek, gak) or b"")
        parties = (manager, meter) if one["direction"] == "out" else (meter, manager)
        assert (inner.originator, inner.recipient) == parties
        by = certificates["manager" if one["direction"] == "out" else "meter"]
        assert verifies(by, inner.signature, inner.signed) and inner.content.hex().upper() == one["plain"]
    tries = {what: opens_general(row["request"], guek, gak) for what, row in found["forged"].items()}
    assert all(octets is not None for octets in tries.values()), "his keys are the right ones"
    unsigned, own, operators, elsewhere = tries.values()
    assert (unsigned or b"").hex().upper() == OFF
    forged = [signed_apdu(octets or b"") for octets in (own, operators, elsewhere)]
    assert [verifies(certificates["manager"], one.signature, one.signed) for one in forged] == [
        False,
        False,
        True,
    ]
    assert verifies(certificates["operator"], forged[1].signature, forged[1].signed)
    assert [one.recipient == meter for one in forged] == [True, True, False]
    answers = [row["answer"] for row in found["forged"].values()]
    refused = opens_general(answers[0], guek, gak)
    assert refused is not None and refused.hex().upper() == "C701C10D00"
    assert {answer[16:] for answer in answers[1:]} == {"D80105"}


def test_agreed(evidence: Evidence) -> None:
    found = evidence("agreed keys")
    signers = {"client": "manager-sign", "meter": "meter-sign"}
    for side, offer in found["offers"].items():
        message = b"\x00" + bytes.fromhex(offer["ephemeral"])
        assert verifies(found["certificates"][signers[side]], bytes.fromhex(offer["signature"]), message)
    old, new = found["old_guek"], found["new_guek"]
    for key in (old, new):
        mac = CMAC(AES(bytes.fromhex(key["key"])))
        mac.update(bytes(16))
        assert mac.finalize()[:5].hex().upper() == key["kcv"]
    frames = [*found["frames"], *found["frames_of_the_manager"]]
    assert not any(new["key"] in str(one["hex"]) + str(one["plain"]) for one in frames)
    gak = keys(found, "operator")[1]
    operator = found["keys"]["roles"]["operator"]["client_system_title"]
    titles = {"out": operator, "in": found["keys"]["meter_system_title"]}
    reads = in_kind(found["frames"], "glo-get-request") + in_kind(found["frames"], "glo-get-response")
    for one in reads:
        octets = bytes.fromhex(one["hex"])[8:]
        sealed = octets[2], int.from_bytes(octets[3:7], "big"), octets[7:]
        title = titles[one["direction"]]
        plain = unsealed(*sealed, new["key"], bytes.fromhex(gak), title)
        assert plain is not None and plain.hex().upper() == one["plain"]
        assert unsealed(*sealed, old["key"], bytes.fromhex(gak), title) is None
    assert len(reads) == 2
    single = in_kind(found["frames"], "general-ciphering")
    assert len(single) > 4
    for one in single:
        private, peer = found["operator_agreement_key"], found["certificates"]["meter-agree"]
        inner = opens_static(one["hex"], private, peer, gak)
        assert inner is not None and inner.hex().upper() == one["plain"]


def test_compressed(evidence: Evidence) -> None:
    found = evidence("compressed profile")
    plains, wires = {}, {}
    for role, frames in found["frames_of"].items():
        guek, gak = keys(found, role)
        longest = max(frames, key=lambda one: len(one["plain"]))
        _, sc, _, _ = general_glo(longest["hex"])
        inner = opens_general(longest["hex"], guek, gak)
        assert inner is not None and sc == (0xB1 if role == "operator" else 0x31)
        plains[role] = decompress(inner, limit=1 << 20) if sc & 0x80 else inner
        wires[role] = len(longest["hex"]) // 2
        assert plains[role].hex().upper() == longest["plain"]
        assert found["sizes"][role] == {"wire": wires[role], "plain": len(plains[role])}
    assert plains["manager"][4:] == plains["operator"][4:]
    assert wires["operator"] < wires["manager"] / 2


def test_evidence(evidence: Evidence) -> None:
    found = evidence("evidence")
    titles = found["keys"]["roles"]["manager"]["client_system_title"], found["keys"]["meter_system_title"]
    named = {common_name(der): der for der in found["certificates"]}
    for octets, parties in zip(found["signed"], (titles, titles[::-1]), strict=True):
        inner = signed_apdu(bytes.fromhex(octets))
        assert (inner.originator, inner.recipient) == parties
        assert verifies(named[inner.originator], inner.signature, inner.signed)
        issued_by(named[inner.originator], found["root"])
    assert len(found["files"]) == 2


def test_enrolled(evidence: Evidence) -> None:
    found = evidence("enrolled")
    title = found["keys"]["meter_system_title"]
    guek, gak = keys(found, "installer")
    issued_by(found["authority"], found["root"])
    requested, answers = (
        {},
        [
            one
            for one in found["frames"]
            if one["apdu"] == "action-response-normal" and one["direction"] == "in"
        ],
    )
    for der in found["requests"]:
        request = x509.load_der_x509_csr(bytes.fromhex(der))
        assert request.is_signature_valid and request.subject.rfc4514_string() == f"CN={title}"
        requested[request.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)] = der
        (carrier,) = [one for one in answers if str(one["plain"]).endswith(der)]
        octets = bytes.fromhex(carrier["hex"])
        assert octets[8] == 0xCF and opens_long(carrier["hex"], guek, gak, title) == carrier["plain"]
    own = [one for one in found["certificates"] if one["who"] == "meter"]
    assert [one["purpose"] for one in own] == ["signature", "agreement"]
    for one in found["certificates"][1:]:
        issued_by(one["der"], found["authority"])
    for one in own:
        key = x509.load_der_x509_certificate(bytes.fromhex(one["der"])).public_key()
        assert key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) in requested
        assert common_name(one["der"]) == title
    assert any(one["done"] == "there" for one in found["certificates"])


def opens_long(frame: str, guek: str, gak: str, title: str) -> str | None:
    """A service-specific APDU with a length of several octets."""
    octets = bytes.fromhex(frame)[8:]
    at = 2 if octets[1] < 0x80 else 2 + (octets[1] & 0x7F)
    counter = int.from_bytes(octets[at + 1 : at + 5], "big")
    plain = unsealed(octets[at], counter, octets[at + 5 :], guek, bytes.fromhex(gak), title)
    return None if plain is None else plain.hex().upper()

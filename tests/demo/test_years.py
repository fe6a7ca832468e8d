"""The demonstration's scenes of keys over the years, recomputed from their evidence."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from tests.demo.conftest import Evidence
from tests.demo.recompute import issued_by, opens, parsed, unsealed

SERVICES = ("C8", "C9", "CB", "CC", "CD", "CF")


def services(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Service-specific ciphered APDUs."""
    return [one for one in frames if one["hex"][16:18] in SERVICES]


def sender(found: dict[str, Any], frame: dict[str, Any]) -> tuple[str, str, str]:
    """Whose association it is, its GAK, and the title of who sent it."""
    client = int(frame["hex"][4:8] if frame["direction"] == "out" else frame["hex"][8:12], 16)
    ((name, role),) = ((n, one) for n, one in found["keys"]["roles"].items() if one["client"] == client)
    own = frame["direction"] == "out"
    return name, role["gak"], role["client_system_title"] if own else found["keys"]["meter_system_title"]


def nonces(found: dict[str, Any], frames: list[dict[str, Any]], gueks: dict[str, list[str]]) -> list[Any]:
    """Key, title and counter of each message; every one opens under just one of its role's keys."""
    used = []
    for one in services(frames):
        role, gak, title = sender(found, one)
        (key,) = (guek for guek in gueks[role] if opens(one["hex"], guek, gak, title) is not None)
        used.append((key, title, parsed(one["hex"]).counter))
    return used


def check_value(key: str) -> str:
    mac = CMAC(AES(bytes.fromhex(key)))
    mac.update(bytes(16))
    return mac.finalize()[:5].hex().upper()


def test_an_answer_that_was_lost(evidence: Evidence) -> None:
    found = evidence("answer lost")
    manager = found["keys"]["roles"]["manager"]
    old, new = found["guek_of_the_operator"]
    assert (old["state"], new["state"]) == ("deactivated", "active")
    assert [check_value(one["key"]) for one in (old, new)] == [old["kcv"], new["kcv"]]
    brought = aes_key_unwrap(bytes.fromhex(manager["kek"]), bytes.fromhex(found["wrapped"]))
    assert brought.hex().upper() == new["key"]
    said = opens(found["lost_answer"], manager["guek"], manager["gak"], found["keys"]["meter_system_title"])
    assert said is not None and said[:4] + said[6:] == "C7010000", "success, and nobody heard it"
    assert found["lost_answer"] not in [one["hex"] for one in found["frames_before"]]
    gueks = {name: [role["guek"]] for name, role in found["keys"]["roles"].items()}
    gueks["operator"] = [old["key"], new["key"]]
    used = [*nonces(found, found["frames_before"], gueks), *nonces(found, found["frames_after"], gueks)]
    assert len(used) == len({*used}) > 10
    operators = [key for key, title, _ in used if key in gueks["operator"]]
    assert {*operators} == {new["key"]} and operators, "the old key was needed nowhere"


def test_an_old_backup(evidence: Evidence) -> None:
    found = evidence("old backup")
    gueks = {role: [one["key"] for one in kept] for role, kept in found["gueks"].items()}
    copied, replaced, fresh = found["gueks"]["operator"][-3:]
    assert [one["state"] for one in (copied, replaced, fresh)] == ["deactivated", "deactivated", "active"]
    used = nonces(found, found["frames"], gueks)
    assert len(used) == len({*used}) > 40
    order = [key for key, _, _ in used if key in gueks["operator"]]
    told = [key for number, key in enumerate(order) if not number or order[number - 1] != key]
    assert told == [copied["key"], replaced["key"], copied["key"], fresh["key"]], "back, and then on"
    sent = [one["hex"] for one in services(found["frames"]) if one["direction"] == "out"]
    assert len(found["again"]) > 5
    for row in found["again"]:
        assert row["request"] in sent and row["answer"][16:18] == "D8"


def test_a_compromised_certificate(evidence: Evidence) -> None:
    found = evidence("compromised certificate")
    issued_by(found["authority"], found["root"])
    for name in ("compromised", "fresh"):
        issued_by(found[name], found["authority"])
    old, new, above = (
        x509.load_der_x509_certificate(bytes.fromhex(found[name]))
        for name in ("compromised", "fresh", "authority")
    )
    assert old.subject == new.subject and old.public_key() != new.public_key()
    listed = x509.load_der_x509_crl(bytes.fromhex(found["revocation_list"]))
    key = above.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey) and listed.is_signature_valid(key)
    revoked = listed.get_revoked_certificate_by_serial_number(old.serial_number)
    assert revoked is not None and listed.get_revoked_certificate_by_serial_number(new.serial_number) is None
    tries = [found[name] for name in ("frames_before", "frames_after", "frames_renewed")]
    answers = [(one[0]["hex"], one[1]["hex"]) for one in tries]
    assert [found["compromised"] in aarq for aarq, _ in answers] == [True, True, False]
    assert found["fresh"] in answers[2][0]
    assert ["A203020101" in aare for _, aare in answers] == [False, True, False]
    manager = found["keys"]["roles"]["manager"]
    plains = []
    for one in services(found["frames_of_the_manager"]):
        sealed, own = parsed(one["hex"]), one["direction"] == "out"
        title = manager["client_system_title"] if own else found["keys"]["meter_system_title"]
        gak = bytes.fromhex(manager["gak"])
        plains.append(unsealed(sealed.sc, sealed.counter, sealed.body, manager["guek"], gak, title) or b"")
    serial = old.serial_number.to_bytes(20, "big")
    (at,) = (number for number, plain in enumerate(plains) if serial in plain)
    assert plains[at][0] == 0xC3 and plains[at + 1].hex().upper()[6:] == "0000", "removed, says the meter"

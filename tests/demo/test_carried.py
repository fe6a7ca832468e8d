"""The scenes of a street, recomputed from their evidence."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from tests.demo.conftest import Evidence


def opened(octets: bytes, kek: bytes) -> bytes:
    """What a general-ciphering APDU with a wrapped key holds, by the standard's own layout."""
    assert octets[0] == 0xDD
    position = 1
    for _ in range(5):
        position += 1 + octets[position]
    head, rest = octets[1:position], octets[position:]
    originator = head[head[0] + 2 : head[0] + 10]
    assert rest[:4] == b"\x01\x01\x00\x18", "key-info: wrapped under the master key, 24 octets"
    key, rest = aes_key_unwrap(kek, rest[4:28]), rest[28:]
    if rest[0] & 0x80:
        rest = rest[1 + (rest[0] & 0x7F) :]
    else:
        rest = rest[1:]
    control, counter, text, tag = rest[:1], rest[1:5], rest[5:-12], rest[-12:]
    assert control == b"\x30"
    opener = Cipher(algorithms.AES(key), modes.GCM(originator + counter, tag, min_tag_length=12)).decryptor()
    opener.authenticate_additional_data(control + head)
    return opener.update(text) + opener.finalize()


def test_what_passed_the_head_end_opens_with_the_utilitys_key(evidence: Evidence) -> None:
    found = evidence("sealed past a head-end")
    kek, answer = bytes.fromhex(found["kek"]), bytes.fromhex(found["answer"])
    assert bytes.fromhex(found["raw"]) in opened(answer, kek)
    assert opened(bytes.fromhex(found["request"]), kek)[:1] == b"\xc0"
    looked_for = found["looked_for"]
    assert looked_for["KEK"] == found["kek"]
    assert {"signing key", "agreement key", "energy as text"} <= set(looked_for)
    assert {f"{what} {at}" for what in ("push", "energies of push") for at in (1, 2)} <= set(looked_for)
    assert looked_for["push 1"].endswith(looked_for["energies of push 1"]), (
        "the push as the utility opened it"
    )
    assert sum(name.startswith("row") for name in looked_for) == 12
    hits = [fact["seen"] for fact in found["facts"] if fact["what"].startswith("hits")]
    assert len(hits) >= 2
    assert set(hits) == {"0"}


def test_each_trick_has_its_name(evidence: Evidence) -> None:
    facts = {fact["what"]: fact["seen"] for fact in evidence("hostile head-end")["facts"]}
    for what, kind in (
        ("it alters an answer by one bit", "altered"),
        ("it brings an answer of before", "replayed"),
        ("it brings the answer of another meter", "moved"),
        ("it withholds an answer", "withheld"),
    ):
        assert facts[what].startswith(f"{kind}: "), facts[what]

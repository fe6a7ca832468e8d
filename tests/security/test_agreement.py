"""Key agreement: the published exchanges end to end, and what each part of OtherInfo changes (D06 to D09)."""

from __future__ import annotations

from itertools import combinations

import pytest

from meterseal.crypto import SUITES, AgreementKey, AgreementPoint, curve
from meterseal.errors import Misuse, Unsupported
from meterseal.security import agreement
from meterseal.security.agreement import (
    AS_PRINTED,
    CORRECTED,
    EPHEMERAL,
    ONE_PASS,
    STATIC,
    Parties,
    Use,
    agree,
)
from tests.vectors import vector

CLIENT, SERVER = bytes.fromhex("4D4D4D0000BC614E"), bytes.fromhex("4D4D4D0000000001")
TRANSACTION = bytes.fromhex("0102030405060708")
P256 = curve("P-256")


def octets(id: str, name: str, part: str = "inputs") -> bytes:
    return bytes.fromhex(vector(id)[part][name])


def own(id: str) -> AgreementKey:
    return AgreementKey(P256, octets(id, "private"))


def peer(id: str) -> AgreementPoint:
    return AgreementPoint(P256, octets(id, "peer_public"))


@pytest.mark.parametrize(
    ("scheme", "keys", "parties", "form", "result"),
    [
        (EPHEMERAL, "gbC1-2e0s-ecdh", Parties(CLIENT, SERVER), CORRECTED, "gbC1-2e0s-kdf"),
        (EPHEMERAL, "gbC1-2e0s-ecdh", Parties(CLIENT, SERVER), AS_PRINTED, "gb80-misprint-2e0s-kdf"),
        (ONE_PASS, "gbC2-1e1s-ecdh-request-u", Parties(CLIENT, SERVER), CORRECTED, "gbC2-1e1s-kdf-request"),
        (ONE_PASS, "gbC2-1e1s-ecdh-request-v", Parties(CLIENT, SERVER), CORRECTED, "gbC2-1e1s-kdf-request"),
        (
            ONE_PASS,
            "gbC2-1e1s-ecdh-response",
            Parties(SERVER, CLIENT),
            AS_PRINTED,
            "gb80-misprint-1e1s-kdf-response",
        ),
        (STATIC, "gbC3-0e2s-ecdh", Parties(CLIENT, SERVER, TRANSACTION), CORRECTED, "gbC3-0e2s-kdf"),
        (
            STATIC,
            "gbcs184-ecdh",
            Parties(
                bytes.fromhex("123456789ABCDEF0"),
                bytes.fromhex("FFFFFFFFFFFFFFFE"),
                bytes.fromhex("010000000000000001"),
            ),
            AS_PRINTED,
            "gbcs184-kdf",
        ),
    ],
)
def test_published_exchanges(
    scheme: agreement.Scheme, keys: str, parties: Parties, form: str, result: str
) -> None:
    key = agree(SUITES[1], scheme, own(keys), peer(keys), parties, form=form)
    assert key == octets(result, "key", "expected")[:16]


def test_D08_every_part_of_other_info_makes_another_key() -> None:
    mine, yours = AgreementKey.generate(P256), AgreementKey.generate(P256)
    base = (SUITES[1], STATIC, mine, yours.public)
    keys = [
        agree(*base, Parties(CLIENT, SERVER, TRANSACTION)),
        agree(*base, Parties(SERVER, CLIENT, TRANSACTION)),
        agree(*base, Parties(CLIENT, SERVER)),
        agree(*base, Parties(CLIENT, SERVER, TRANSACTION), form=AS_PRINTED),
        agree(*base, Parties(CLIENT, SERVER, TRANSACTION), use=Use.WRAP),
        agree(SUITES[1], ONE_PASS, mine, yours.public, Parties(CLIENT, SERVER, TRANSACTION)),
    ]
    for one, other in combinations(keys, 2):
        assert one != other
    assert agree(SUITES[1], STATIC, yours, mine.public, Parties(CLIENT, SERVER, TRANSACTION)) == keys[0]


def test_D09_suite_2_agrees_on_32_octets() -> None:
    on = curve("P-384")
    mine, yours = AgreementKey.generate(on), AgreementKey.generate(on)
    key = agree(SUITES[2], ONE_PASS, mine, yours.public, Parties(CLIENT, SERVER))
    assert len(key) == 32
    assert key == agree(SUITES[2], ONE_PASS, yours, mine.public, Parties(CLIENT, SERVER))


def test_D20_keys_of_other_suites_do_not_agree() -> None:
    mine, other = AgreementKey.generate(P256), AgreementKey.generate(curve("P-384"))
    with pytest.raises(Misuse):
        agree(SUITES[1], ONE_PASS, mine, other.public, Parties(CLIENT, SERVER))
    with pytest.raises(Misuse):
        agree(SUITES[2], ONE_PASS, mine, mine.public, Parties(CLIENT, SERVER))
    with pytest.raises(Unsupported):
        agree(SUITES[0], ONE_PASS, mine, mine.public, Parties(CLIENT, SERVER))


@pytest.mark.parametrize(
    ("suite", "use", "form", "expected"),
    [
        (1, Use.GCM, CORRECTED, "60857405080300"),
        (2, Use.GCM, CORRECTED, "60857405080301"),
        (1, Use.WRAP, CORRECTED, "60857405080302"),
        (2, Use.WRAP, CORRECTED, "60857405080303"),
        (1, Use.GCM, AS_PRINTED, "60857406080300"),
        (2, Use.WRAP, AS_PRINTED, "60857406080303"),
    ],
)
def test_algorithm_ids(suite: int, use: Use, form: str, expected: str) -> None:
    assert agreement.algorithm_id(SUITES[suite], use, form).hex() == expected

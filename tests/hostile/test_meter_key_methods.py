"""Key and certificate methods of a suite-1 meter over a socket: D10, D17, D18, D20, D21, G05."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from meterseal.codec import data as codec
from meterseal.codec.types import Array, Structure, Tag
from meterseal.crypto import AgreementPoint, SigningKey, WrappingKey, curve, random_octets
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import Authority, Request, Validity
from meterseal.keys.kinds import NAMES
from meterseal.meter.manufacture import maker_of
from meterseal.meter.pairs import AGREEMENT, SIGNATURE
from tests.hostile.raw import Running, running
from tests.meter.world import Client, call

SETUP, OPERATOR = "0.0.43.0.1.255", "0.0.43.0.2.255"
ITEMS = Array(Structure((Tag.ENUM, Tag.OCTET_STRING)))
SERIAL = Structure((Tag.ENUM, Structure((Tag.OCTET_STRING, Tag.OCTET_STRING))))
ENTITY = Structure((Tag.ENUM, Structure((Tag.ENUM, Tag.ENUM, Tag.OCTET_STRING))))
VALIDITY = Validity(datetime(2020, 1, 1, tzinfo=UTC))
REFUSED = 0xFA


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("meter"), preset="suite1") as found:
        yield found


@pytest.fixture
def manager(here: Running) -> Client:
    return here.signed_on("manager")


def maker(here: Running) -> Authority:
    found = here.do(lambda: maker_of(here.meter.store))
    assert found is not None
    return found


def held(here: Running) -> list[Certificate]:
    pairs = here.meter.pairs
    assert pairs is not None
    return here.do(pairs.held)


def take(client: Client, certificate: Certificate) -> int:
    return client.call(64, SETUP, 6, certificate.der, Tag.OCTET_STRING)


def test_D10_one_pair_for_two_purposes(here: Running, manager: Client) -> None:
    before, pairs = held(here), here.meter.pairs
    assert pairs is not None
    signature, agreement = pairs.own(SIGNATURE).certificate, pairs.own(AGREEMENT).certificate
    assert signature is not None and agreement is not None
    point = AgreementPoint(signature.key.curve, signature.key.octets)
    for title in (here.meter.system_title, b"MSLHES\x00\x66"):
        twice = maker(here).issue(point, title, Purpose.AGREEMENT, VALIDITY)
        assert take(manager, twice) == REFUSED
    assert signature.key.octets != agreement.key.octets and held(here) == before


def test_D17_D18_a_certificate_of_the_meter_for_a_key_of_another_device(
    here: Running, manager: Client
) -> None:
    """A request swapped on its way to the authority: what comes back does not fit the meter's pair."""
    assert manager.call(64, SETUP, 4, 0, Tag.ENUM) == 0
    outcome = manager.one(call(64, SETUP, 5, 0, Tag.ENUM))
    assert outcome.data is not None
    request = Request(codec.decode(outcome.data))
    assert request.title == here.meter.system_title
    before = held(here)
    other = SigningKey.generate(curve("P-256"))
    assert request.key(Purpose.SIGNATURE) != other.public
    swapped = maker(here).issue(other.public, request.title, Purpose.SIGNATURE, VALIDITY)
    assert take(manager, swapped) == REFUSED and held(here) == before
    right = maker(here).issue(request.key(Purpose.SIGNATURE), request.title, Purpose.SIGNATURE, VALIDITY)
    assert take(manager, right) == 0 and right in held(here)
    assert here.signed_on("operator").get(8, "0.0.1.0.0.255")


def test_D20_keys_of_the_other_suite(here: Running, manager: Client) -> None:
    root = Authority.root(SigningKey.generate(curve("P-384")), "Root", VALIDITY)
    key = SigningKey.generate(curve("P-384"))
    assert take(manager, root.issue(key.public, b"MSLHES\x00\x66", Purpose.SIGNATURE, VALIDITY)) == REFUSED
    ring, kek = here.meter.rings[2], here.credentials.roles["manager"].octets("kek")
    assert kek is not None
    before = here.do(lambda: {i: ring.reveal(i) for i in NAMES})
    long = [(0, WrappingKey(kek).wrap(random_octets(32)))]
    assert manager.call(64, OPERATOR, 2, long, ITEMS) == REFUSED
    assert here.do(lambda: {i: ring.reveal(i) for i in NAMES}) == before


def test_D21_no_role_changes_the_trust_anchors(here: Running, manager: Client) -> None:
    root, before = maker(here).certificate, held(here)
    other = Authority.root(SigningKey.generate(curve("P-256")), root.subject_text[3:], VALIDITY).certificate
    by_serial = (1, (root.serial, root.issuer))
    for role, code in (("manager", REFUSED), ("operator", 4), ("installer", 4), ("public", 4)):
        client = manager if role == "manager" else here.signed_on(role)
        assert take(client, other) == code, role
        assert take(client, root) == code, role
        assert client.call(64, SETUP, 8, by_serial, SERIAL) == code, role
        assert client.call(64, SETUP, 8, (0, (2, 3, b"")), ENTITY) == code, role
    assert held(here) == before
    exported = manager.one(call(64, SETUP, 7, by_serial, SERIAL)).data
    assert exported is not None and Certificate(codec.decode(exported)) == root


def test_G05_ten_thousand_forged_wraps_tell_nothing(here: Running, manager: Client) -> None:
    """By the hundred in a list, of every length and kind: one code for all, and no key has changed."""
    ring, kek = here.meter.rings[2], here.credentials.roles["manager"].octets("kek")
    assert kek is not None
    before = here.do(lambda: {i: ring.reveal(i) for i in NAMES})
    wrap, stranger = WrappingKey(kek).wrap, WrappingKey(random_octets(16)).wrap
    codes: set[int] = set()
    for number in range(100):
        right = wrap(random_octets(16))
        at = number % len(right)
        forged = [
            right[:at] + bytes((right[at] ^ 1 << number % 8,)) + right[at + 1 :],
            stranger(random_octets(16)),
            random_octets(24),
            random_octets(1 + number % 40),
            wrap(random_octets(16 + 8 * (1 + number % 5))),
            right[:-8],
            b"\xa6" * 24,
            b"",
        ]
        blobs = [*forged, *(random_octets(24) for _ in range(100 - len(forged)))]
        asked = [call(64, OPERATOR, 2, [(number % 4, blob)], ITEMS) for blob in blobs]
        codes |= {outcome.code for part in range(0, 100, 50) for outcome in manager.ask(*asked[part:][:50])}
    assert codes == {REFUSED}
    assert here.do(lambda: {i: ring.reveal(i) for i in NAMES}) == before
    assert manager.call(64, OPERATOR, 2, [(1, wrap(random_octets(16)))], ITEMS) == 0, (
        "and nobody is locked out"
    )

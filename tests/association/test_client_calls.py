"""The client's calls: in their place, within what was negotiated, and waiting for counters."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal.apdu import services
from meterseal.apdu.common import ResultData, SelectiveAccess
from meterseal.association import (
    Associated,
    Confirmed,
    Failed,
    Need,
    Operation,
    Outcome,
    Reply,
    Service,
    State,
    conformance,
)
from meterseal.errors import (
    Misuse,
    TooLarge,
    UnknownKey,
    Unsupported,
)
from tests.association.pair import (
    CLIENT_CHALLENGE,
    DEK,
    SMALL,
    Pair,
    associated,
    call,
    get,
    octet_string,
    put,
    sealed,
    single,
)

# --- calls -------------------------------------------------------------------------------------------


def test_calls_out_of_place_are_misuse() -> None:
    pair = Pair()
    with pytest.raises(Misuse):
        pair.client.request([get()])
    with pytest.raises(Misuse):
        pair.client.release()
    for challenge in (b"", bytes(7), bytes(65)):
        with pytest.raises(Misuse, match="8 to 64"):
            pair.client.associate(challenge)
    pair = associated()
    with pytest.raises(Misuse):
        pair.client.associate(CLIENT_CHALLENGE)
    pair.client.request([get()])
    with pytest.raises(Misuse, match="under way"):
        pair.client.request([get()])


def test_requests_that_make_no_sense_are_misuse() -> None:
    pair = associated()
    for operations in ([], [get(), call()], [Operation(Service.SET, 8, bytes(6), 2)]):
        with pytest.raises(Misuse):
            pair.client.request(operations)
    assert pair.outcomes(get()) == (Outcome(0, SMALL.raw),)


def test_a_dedicated_key_needs_a_ciphered_context_and_serves_once() -> None:
    plain = Pair(mechanism=0, ciphered=False, client={"dedicated_key": DEK})
    with pytest.raises(Misuse, match="ciphering"):
        plain.client.associate()
    pair = associated(client={"dedicated_key": DEK})
    pair.release()
    with pytest.raises(Misuse, match="earlier association"):
        pair.client.associate(bytes(16))
    pair.client.profile.dedicated_key = bytes(range(1, 17))
    assert pair.sign_on(bytes(16)) == [Associated(None)]


def test_a_mechanism_without_proofs_makes_none() -> None:
    pair = Pair(mechanism=0)
    pair.client.associate()
    opening = pair.client._opening
    assert opening is not None
    with pytest.raises(Misuse, match="no proofs"):
        opening.prove()


@pytest.mark.parametrize(
    ("missing", "operations"),
    [
        ("get", [get()]),
        ("set", [put(SMALL)]),
        ("action", [call()]),
        ("multiple-references", [get(), get()]),
        ("selective-access", [get(selection=SelectiveAccess(2, SMALL))]),
        ("block-transfer-with-set-or-write", [put(octet_string(bytes(5000)))]),
        ("block-transfer-with-action", [call(octet_string(bytes(5000)))]),
    ],
)
def test_what_was_not_negotiated_is_not_asked(missing: str, operations: list[Operation]) -> None:
    everything = Pair().client.profile.conformance
    pair = associated(server={"conformance": everything & ~conformance(missing)})
    before = len(pair.wire)
    with pytest.raises(Unsupported, match=missing):
        pair.client.request(operations)
    assert len(pair.wire) == before
    assert pair.client.state is State.ASSOCIATED


def test_a_read_request_that_is_too_long_is_not_sent() -> None:
    pair = associated(server={"max_pdu": 100})
    with pytest.raises(TooLarge):
        pair.client.request([get()] * 10)
    pair.client.server_max_pdu = 30
    with pytest.raises(TooLarge, match="no room"):
        pair.client.request([get()])


def test_without_a_key_nothing_can_be_signed_on() -> None:
    pair = Pair()
    pair.client.profile.setup.unicast = None
    with pytest.raises(UnknownKey):
        pair.client.associate(CLIENT_CHALLENGE)
    assert pair.client.state is State.IDLE


def test_a_key_that_dies_on_the_way_ends_the_request_only() -> None:
    pair = associated()
    handle = pair.client.profile.setup.key().handle
    handle.destroy()
    with pytest.raises(UnknownKey, match="destroyed"):
        pair.client.request([get()])
    pair.client.profile.setup.unicast = Pair().client.profile.setup.key()
    effects = pair.client.request([get()])
    assert isinstance(effects[0], Reply)


VALUE = services.GetResponseNormal(0xC2, ResultData(SMALL))


# --- counters -----------------------------------------------------------------------------------------


def starving(**options: Any) -> Pair:
    """An associated pair whose client has no counter left."""
    pair = associated(**options)
    tx = pair.client.profile.setup.key().tx
    while tx.left:
        tx.take()
    return pair


def test_while_counters_are_reserved_nothing_else_happens() -> None:
    pair = starving()
    need = single(pair.client.request([get()]), Need)
    with pytest.raises(Misuse, match="being reserved"):
        pair.client.request([get()])
    with pytest.raises(Misuse, match="being reserved"):
        pair.client.release()
    before = pair.client_state()
    assert pair.client.receive(sealed(pair, VALUE.encode())) == []
    assert pair.client.receive(b"\xd8\x01\x01") == []
    assert pair.client_state() == before
    assert pair.client.resume(need.token + 1) == []
    pair.reserve(need)
    assert pair.run(pair.client.resume(need.token)) == [Confirmed((Outcome(0, SMALL.raw),))]
    assert pair.client.resume(need.token) == []


def test_without_counters_the_request_fails_and_the_association_stands() -> None:
    pair = starving()
    need = single(pair.client.request([get()]), Need)
    (failed,) = pair.client.resume(need.token)
    assert isinstance(failed, Failed)
    assert failed.error.kind == "counters-needed"
    assert pair.client.state is State.ASSOCIATED


def test_a_sign_on_waits_for_counters_too() -> None:
    pair = Pair()
    tx = pair.client.profile.setup.key().tx
    while tx.left:
        tx.take()
    pair.block = 1
    assert pair.sign_on() == [Associated(None)]
    assert [need.count for _, need in pair.needs] == [1, 2]
    pair = Pair()
    tx = pair.client.profile.setup.key().tx
    while tx.left:
        tx.take()
    pair.client.associate(CLIENT_CHALLENGE)
    with pytest.raises(Misuse, match="being reserved"):
        pair.client.associate(CLIENT_CHALLENGE)

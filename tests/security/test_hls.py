"""Sign-on proofs: both roles of every mechanism, liars, and the counter inside an HLS-GMAC token."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.crypto import SigningKey, curve, suite
from meterseal.errors import AuthenticationFailed, Misuse, Replayed, UnknownKey
from meterseal.keys.counters import LIMIT, SendCounter
from meterseal.security import MECHANISMS, Handshake, Opened, SecuritySetup, Style, unprotect
from meterseal.security.hls import BY_NAME, TOKEN_LENGTH
from meterseal.security.protect import protect
from tests.security.keys import AK, EK, GET, OWN, PEER, context, in_use, sealed

PLAIN = Opened(b"", 0, Style.PLAIN)
CTOS, STOC = bytes(range(16)), bytes(range(16, 40))
SECRET = b"the secret"
PROVING = [2, 3, 4, 5, 6, 7]
SIGNING = {
    id: (SigningKey.generate(curve(name)), SigningKey.generate(curve(name)))
    for id, name in ((0, "P-256"), (1, "P-256"), (2, "P-384"))
}
"""Signature keys of client and meter; suite 0 has none of its own and borrows."""


def prove(number: int, handshake: Handshake) -> bytes:
    """The proof of one mechanism."""
    row = MECHANISMS[number].prove
    assert row is not None
    return row(handshake)


def verify(number: int, handshake: Handshake, proof: bytes, carrier: Opened = PLAIN) -> None:
    """Its check at the other end."""
    row = MECHANISMS[number].verify
    assert row is not None
    row(handshake, proof, carrier)


def flipped(octets: bytes, bit: int) -> bytes:
    """The same with one bit turned over."""
    return octets[: bit // 8] + bytes((octets[bit // 8] ^ 1 << bit % 8,)) + octets[bit // 8 + 1 :]


def hook(secret: bytes, challenge: bytes) -> bytes:
    return bytes(reversed(secret + challenge))


def both(suite_id: int = 0, secret: bytes = SECRET) -> tuple[Handshake, Handshake]:
    """The same sign-on as client and as meter."""
    length = 32 if suite_id == 2 else 16
    keys = [in_use(bytes(length), bytes(range(length))) for _ in range(2)]
    ours, theirs = SIGNING[suite_id]
    client = SecuritySetup(suite(suite_id), PEER, OWN, unicast=keys[0], signing=ours)
    meter = SecuritySetup(suite(suite_id), OWN, PEER, unicast=keys[1], signing=theirs)
    return (
        Handshake(client, PEER, OWN, CTOS, STOC, secret, hook, peer_key=theirs.public),
        Handshake(meter, OWN, PEER, STOC, CTOS, secret, hook, peer_key=ours.public),
    )


@pytest.mark.parametrize("number", PROVING)
def test_both_roles_prove_and_verify(number: int) -> None:
    client, meter = both()
    pass3 = prove(number, client)
    verify(number, meter, pass3, PLAIN)
    pass4 = prove(number, meter)
    verify(number, client, pass4, PLAIN)
    assert pass3 != pass4


@pytest.mark.parametrize("number", PROVING)
def test_any_other_proof_fails(number: int) -> None:
    client, meter = both()
    proof = prove(number, client)
    wrong = [
        b"",
        proof[:-1],
        proof + b"\0",
        bytes(len(proof)),
        *(
            proof[:n] + bytes((proof[n] ^ 1 << bit,)) + proof[n + 1 :]
            for n in range(5, len(proof))
            for bit in range(8)
        ),
    ]
    for liar in wrong:
        with pytest.raises((AuthenticationFailed, Replayed)):
            verify(number, meter, liar, PLAIN)
    # Their own proof for the same challenge, sent back.
    with pytest.raises((AuthenticationFailed, Replayed)):
        verify(number, meter, prove(number, meter), PLAIN)
    for other in (replace(meter, own_challenge=STOC[:-1]), replace(meter, own_challenge=CTOS)):
        with pytest.raises((AuthenticationFailed, Replayed)):
            verify(number, other, proof, PLAIN)
    if MECHANISMS[number].needs_secret:
        with pytest.raises(AuthenticationFailed):
            verify(number, replace(meter, secret=b"another"), proof, PLAIN)
    # None of that has changed anything: the right one still passes.
    verify(number, meter, proof, PLAIN)


@pytest.mark.parametrize("number", [5, 6, 7])
def test_titles_are_bound(number: int) -> None:
    client, meter = both()
    assert MECHANISMS[number].needs_titles
    for stranger in (replace(client, own_title=b"MSLHES99"), replace(client, own_title=OWN, peer_title=PEER)):
        with pytest.raises(AuthenticationFailed):
            verify(number, meter, prove(number, stranger), PLAIN)


def test_rows_are_what_the_standard_lists() -> None:
    assert [(m.number, m.name, m.passes, m.weak) for m in MECHANISMS.values()] == [
        (0, "none", 0, False),
        (1, "lls", 1, True),
        (2, "manufacturer", 4, True),
        (3, "md5", 4, True),
        (4, "sha1", 4, True),
        (5, "gmac", 4, False),
        (6, "sha256", 4, False),
        (7, "ecdsa", 4, False),
    ]
    assert [m.number for m in MECHANISMS.values() if m.needs_keys] == [7]
    assert {m.number: (m.challenges[0], m.challenges[-1]) for m in MECHANISMS.values() if m.passes == 4} == {
        **dict.fromkeys((2, 3, 4, 5, 6), (8, 64)),
        7: (32, 64),
    }
    assert all(m.drawn in m.challenges for m in MECHANISMS.values())
    assert {name: row.number for name, row in BY_NAME.items()} == {
        m.name: m.number for m in MECHANISMS.values()
    }
    assert [(m.prove, m.verify) for m in MECHANISMS.values() if m.passes < 4] == [(None, None)] * 2


def test_mechanism_2_is_nothing_without_its_function() -> None:
    client, _ = both()
    client.manufacturer = None
    with pytest.raises(Misuse, match="manufacturer-specific"):
        prove(2, client)


def test_secrets_do_not_show() -> None:
    client, _ = both()
    assert "the secret" not in repr(client)


def test_gmac_needs_its_key() -> None:
    client, meter = both()
    client.setup.unicast = meter.setup.unicast = None
    with pytest.raises(UnknownKey):
        prove(5, client)
    with pytest.raises(UnknownKey):
        verify(5, meter, bytes(17), PLAIN)


# --- A12: the token's first octet and its length ------------------------------------------------------


@pytest.mark.parametrize("suite_id", [0, 1, 2])
def test_core_A12_only_one_security_control_octet_of_256(suite_id: int) -> None:
    accepted = []
    for sc in range(256):
        client, meter = both(suite_id)
        key = client.setup.key()
        counter = key.tx.take().to_bytes(4, "big")
        token = bytes((sc,)) + counter + key.handle.tag(sc, PEER + counter, STOC)
        try:
            verify(5, meter, token, PLAIN)
            accepted.append(sc)
            assert meter.setup.key().rx.lowest == 101
        except AuthenticationFailed:
            assert meter.setup.key().rx.lowest == 0
    assert accepted == [0x10 | suite_id]


@pytest.mark.parametrize("length", [*range(TOKEN_LENGTH), *range(TOKEN_LENGTH + 1, 34)])
def test_core_A12_only_one_length(length: int) -> None:
    client, meter = both()
    token = prove(5, client)
    with pytest.raises(AuthenticationFailed):
        verify(5, meter, (token + token)[:length], PLAIN)
    assert meter.setup.key().rx.lowest == 0


# --- C14: the counter inside the token ----------------------------------------------------------------


def token_at(handshake: Handshake, counter: int) -> bytes:
    """The proof of a peer whose counter stands here."""
    key = handshake.setup.key()
    key.tx = SendCounter(counter, counter + 1)
    return prove(5, handshake)


def carried(frame: int | None, lowest: int, key: str = "glo") -> tuple[Handshake, Opened, Handshake]:
    """The meter's handshake after a frame with this counter came, the frame, and the client's handshake."""
    client, meter = both()
    received = context(lowest=lowest)
    received.setup.unicast = meter.setup.unicast = in_use(EK, AK, lowest=lowest)
    client.setup.unicast = in_use(EK, AK)
    if frame is None:
        return meter, PLAIN, client
    form = 0xC8 if key == "glo" else 0xD0
    return meter, unprotect(received, sealed(form, GET, counter=frame)), client


@given(floor=st.integers(0, 30), frame=st.integers(0, 60), inside=st.integers(0, 60), shares=st.booleans())
def test_core_C14_the_rule_for_two_counters_of_one_key(
    floor: int, frame: int, inside: int, shares: bool
) -> None:
    """Held against the floor before the frame, different from the frame's own, both committed together."""
    if frame < floor:
        return
    meter, opened, client = carried(frame, floor)
    meter.shares_counter = shares
    proof = token_at(client, inside)
    allowed = inside >= floor and (inside != frame or shares)
    if allowed:
        verify(5, meter, proof, opened)
        assert meter.setup.key().rx.lowest == max(frame, inside) + 1
        return
    with pytest.raises(Replayed if inside < floor else AuthenticationFailed):
        verify(5, meter, proof, opened)
    assert meter.setup.key().rx.lowest == frame + 1


def test_core_C14_a_token_made_first_is_accepted_inside_a_later_frame() -> None:
    meter, opened, client = carried(12, 10)
    proof = token_at(client, 11)
    verify(5, meter, proof, opened)
    assert meter.setup.key().rx.lowest == 13
    # Once: the same proof has no second life.
    with pytest.raises(Replayed):
        verify(5, meter, proof, PLAIN)


def test_core_C14_without_a_protected_frame_the_token_stands_alone() -> None:
    meter, opened, client = carried(None, 10)
    with pytest.raises(Replayed) as caught:
        verify(5, meter, token_at(client, 9), opened)
    assert caught.value.lowest_acceptable == 10
    verify(5, meter, token_at(client, 10), opened)
    assert meter.setup.key().rx.lowest == 11


@pytest.mark.parametrize("inside", [4, 9, 10, 12])
def test_core_C14_a_dedicated_carrier_counts_by_itself(inside: int) -> None:
    """The frame has counter 12 of the dedicated key, the token a counter of the global key (floor 10)."""
    meter, opened, client = carried(12, 10, "ded")
    assert opened.lowest_before == 0
    if inside < 10:
        with pytest.raises(Replayed):
            verify(5, meter, token_at(client, inside), opened)
        assert meter.setup.key().rx.lowest == 10
        return
    verify(5, meter, token_at(client, inside), opened)
    assert meter.setup.key().rx.lowest == inside + 1


def test_core_C14_the_last_counter_is_no_counter() -> None:
    meter, _, client = carried(None, 0)
    key = client.setup.key()
    counter = LIMIT.to_bytes(4, "big")
    with pytest.raises(Replayed, match="never used"):
        verify(5, meter, b"\x10" + counter + key.handle.tag(0x10, PEER + counter, STOC), PLAIN)
    assert meter.setup.key().rx.lowest == 0


def test_core_C14_token_and_frames_share_one_counter() -> None:
    c = context()
    handshake = Handshake(c.setup, OWN, PEER, STOC, CTOS)
    first = int.from_bytes(prove(5, handshake)[1:5], "big")
    frame = protect(c, GET, 3, Style.GLO)
    assert int.from_bytes(frame[3:7], "big") == first + 1
    assert int.from_bytes(prove(5, handshake)[1:5], "big") == first + 2


def test_a_signature_without_the_peers_key_is_no_proof() -> None:
    client, meter = both(1)
    proof = prove(7, client)
    without = replace(meter, peer_key=None)
    with pytest.raises(UnknownKey, match="signature key"):
        verify(7, without, proof, PLAIN)

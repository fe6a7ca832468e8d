"""Attacks on invocation counters at the association itself (catalogue C), and what never comes twice."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal import apdu
from meterseal.apdu import services
from meterseal.apdu.ciphered import FORMS, build
from meterseal.apdu.common import AttributeDescriptor
from meterseal.apdu.initiate import CounterErrorResponse, ExceptionResponse
from meterseal.association import (
    Associated,
    Confirmed,
    Failed,
    Need,
    Outcome,
    Refusal,
    Released,
    Reply,
    State,
)
from meterseal.errors import CounterExhausted, CountersNeeded, Forged, Replayed
from meterseal.keys.counters import LIMIT, SendCounter
from meterseal.security import Style, protect
from tests.association.pair import (
    CLOCK,
    DEK,
    SMALL,
    TO_CLIENT,
    TO_METER,
    Pair,
    associated,
    call,
    get,
    octet_string,
    protected_headers,
    put,
    replies,
    single,
)
from tests.mutate import hammer

REQUEST = services.GetRequestNormal(0xC5, AttributeDescriptor(8, CLOCK, 2), None).encode()


def ask(pair: Pair) -> bytes:
    """A genuine request of the client, next in its counter."""
    return protect(pair.client.context, REQUEST, 3, Style.GLO)


def rx(pair: Pair) -> int:
    return pair.server.profile.setup.key().rx.lowest


# --- C01 ---------------------------------------------------------------------------------------------


def test_core_C01_last_older_and_far_older_frames() -> None:
    pair = associated()
    frames = [ask(pair) for _ in range(30)]
    for octets in frames:
        assert len(replies(pair.to_meter(octets))) == 1
    before = pair.server_state()
    for octets in (frames[-1], frames[-2], frames[0]):
        refusal, reply = pair.to_meter(octets)
        assert isinstance(refusal, Refusal)
        assert isinstance(refusal.error, Replayed)
        assert isinstance(reply, Reply)
        assert apdu.decode(reply.octets) == CounterErrorResponse(1, 6, rx(pair))
        assert pair.server_state() == before
    # Distinct from a bad tag; and the next genuine one passes.
    refusal = single(pair.to_meter(spoilt(ask(pair))), Refusal)
    assert isinstance(refusal.error, Forged)
    assert len(replies(pair.to_meter(ask(pair)))) == 1


def spoilt(octets: bytes) -> bytes:
    return octets[:-1] + bytes((octets[-1] ^ 1,))


def test_core_C01_without_report_counter_a_replay_looks_like_any_other_failure() -> None:
    pair = associated(server={"report_counter": False})
    octets = ask(pair)
    pair.to_meter(octets)
    replayed, forged = pair.to_meter(octets), pair.to_meter(spoilt(ask(pair)))
    assert replies(replayed) == replies(forged) == [ExceptionResponse(1, 5).encode()]


def test_core_C01_a_gap_is_no_replay_and_out_of_order_is() -> None:
    pair = associated()
    frames = [ask(pair) for _ in range(5)]
    assert len(replies(pair.to_meter(frames[3]))) == 1
    for octets in (frames[0], frames[2], frames[3]):
        assert isinstance(single(pair.to_meter(octets), Refusal).error, Replayed)
    assert len(replies(pair.to_meter(frames[4]))) == 1


def test_core_C01_answers_are_not_taken_twice_either() -> None:
    pair = associated()
    pair.outcomes(get())
    answer = pair.sent(TO_CLIENT)[-1]
    pair.client.request([get()])
    failed = single(pair.client.receive(answer), Failed)
    assert isinstance(failed.error, Replayed)


# --- C02 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counter", [LIMIT, LIMIT - 1, 1 << 31, 10_000])
@pytest.mark.parametrize("sc", [0x10, 0x20, 0x30, 0x70])
def test_core_C02_a_forged_high_counter_poisons_nothing(counter: int, sc: int) -> None:
    pair = associated(broadcast=True)
    before = pair.server_state()
    for body in (bytes(12), bytes(40), REQUEST + bytes(12)):
        effects = pair.to_meter(build(FORMS[0xC8], b"", sc, counter, body))
        assert isinstance(effects[0], Refusal)
        assert pair.server_state() == before
    assert len(replies(pair.to_meter(ask(pair)))) == 1


def test_core_C02_a_forged_answer_poisons_no_client() -> None:
    pair = associated()
    before = pair.client_state()
    for sc in (0x10, 0x20, 0x30):
        pair.client.request([get()])
        failed = single(pair.client.receive(build(FORMS[0xCC], b"", sc, LIMIT - 1, bytes(40))), Failed)
        assert failed.error.wire == (1, 5)
    after = pair.client_state()
    assert after[:4] == before[:4]
    assert pair.client.profile.setup.key().rx.lowest == before[4][1]
    assert pair.outcomes(get()) == (Outcome(0, SMALL.raw),)


def test_core_C02_encryption_alone_moves_no_counter() -> None:
    pair = associated(policy=0)
    octets = protect(pair.client.context, REQUEST, 2, Style.GLO)
    lowest = rx(pair)
    for _ in range(3):
        assert len(replies(pair.to_meter(octets))) == 1
        assert rx(pair) == lowest


# --- C03 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 1, 1 << 16, LIMIT])
def test_core_C03_a_counter_error_makes_no_client_jump(value: int) -> None:
    pair = associated()
    pair.client.request([get()])
    before = pair.client_state()
    single(pair.client.receive(CounterErrorResponse(1, 6, value).encode()), Failed)
    assert pair.client_state() == before
    assert pair.outcomes(get()) == (Outcome(0, SMALL.raw),)


# --- C05 ---------------------------------------------------------------------------------------------


def test_core_C05_a_client_at_the_end_of_the_space_stops() -> None:
    pair = associated()
    tx = SendCounter(LIMIT - 3, LIMIT)
    pair.client.profile.setup.key().tx = tx
    assert tx.rekey_due
    for _ in range(3):
        assert pair.outcomes(get()) == (Outcome(0, SMALL.raw),)
    need = single(pair.client.request([get()]), Need)
    with pytest.raises(Exception, match="does not come after"):
        need.key.tx.extend(LIMIT + 1, LIMIT + 2)
    failed = single(pair.client.resume(need.token), Failed)
    assert isinstance(failed.error, CounterExhausted)
    assert pair.client.state is State.ASSOCIATED
    assert max(c for s, _, _, c in protected_headers(pair.wire) if s == TO_METER) == LIMIT - 1


def test_core_C05_a_meter_at_the_end_of_the_space_stops() -> None:
    pair = associated()
    pair.server.profile.setup.key().tx = SendCounter(LIMIT - 1, LIMIT)
    assert len(replies(pair.to_meter(ask(pair)))) == 1
    indication = pair.server.receive(ask(pair))
    (need,) = pair.server.respond(indication[0].token, [Outcome(0, SMALL.raw)])  # type: ignore[union-attr]
    refusal, reply = pair.server.resume(need.token)  # type: ignore[union-attr]
    assert isinstance(refusal, Refusal)
    assert isinstance(refusal.error, CounterExhausted)
    assert reply == Reply(ExceptionResponse(1, 1).encode())
    assert pair.server.state is State.ASSOCIATED


def test_core_C05_received_counters_end_too() -> None:
    pair = associated()
    pair.client.profile.setup.key().tx = SendCounter(LIMIT - 1, LIMIT)
    assert len(replies(pair.to_meter(ask(pair)))) == 1
    assert rx(pair) == LIMIT
    other = Pair()
    other.client.profile.setup.key().tx = SendCounter(500, 600)
    refusal = single(pair.to_meter(protect(other.client.context, REQUEST, 3, Style.GLO)), Refusal)
    assert isinstance(refusal.error, Replayed)


# --- C06 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("general", [False, True], ids=["service-specific", "general"])
def test_core_C06_every_key_and_direction_counts_by_itself(general: bool) -> None:
    pair = associated(client={"dedicated_key": DEK, "general": general})
    for operation in (get(), put(octet_string(bytes(9000))), call(octet_string(bytes(9000)))):
        pair.outcomes(operation)
    assert pair.release() == [Released()]
    seen: dict[tuple[str, str], list[int]] = {}
    for sender, tag, _, counter in protected_headers(pair.wire):
        seen.setdefault((sender, FORMS[tag].key_set), []).append(counter)
    assert set(seen) == {(s, k) for s in (TO_METER, TO_CLIENT) for k in ("global", "dedicated")}
    for values in seen.values():
        assert values == sorted(set(values))
    assert seen[TO_METER, "dedicated"][0] == seen[TO_CLIENT, "dedicated"][0] == 0
    assert seen[TO_METER, "global"][0] == 1
    assert seen[TO_CLIENT, "global"][0] == 0x1000
    # The proofs took the value in between, each of its own side.
    assert seen[TO_METER, "global"] == [1, 3]
    assert seen[TO_CLIENT, "global"] == [0x1000, 0x1002]


def test_core_C06_two_associations_of_one_setup_share_its_counters() -> None:
    first = associated()
    second = Pair(client={"setup": first.client.profile.setup}, server={"setup": first.server.profile.setup})
    assert second.sign_on(bytes(range(40, 60))) == [Associated(None)]
    for _ in range(3):
        assert first.outcomes(get()) == second.outcomes(get()) == (Outcome(0, SMALL.raw),)
    headers = [(s, c) for s, _, _, c in protected_headers(first.wire + second.wire)]
    assert len(headers) == len(set(headers))


def test_core_C06_ones_own_frames_are_nobody_elses() -> None:
    """The directions share the key and differ by title: what the meter sent cannot be sent back to it."""
    pair = associated()
    pair.outcomes(get())
    before = pair.server_state()
    for octets in pair.sent(TO_CLIENT):
        assert isinstance(pair.to_meter(octets)[0], Refusal)
        assert pair.server_state() == before


# --- C14 ---------------------------------------------------------------------------------------------


class Repeating(SendCounter):
    """Gives the value of the token out once more, for the frame."""

    __slots__ = ("again", "pair")

    def __init__(self, pair: Pair) -> None:
        super().__init__(1, 100)
        self.pair, self.again = pair, list[int]()

    def take(self) -> int:
        if self.again:
            return self.again.pop()
        value = super().take()
        if self.pair.server.state is State.PENDING:
            self.again.append(value)
        return value


@pytest.mark.parametrize("shares", [False, True], ids=["strict", "hls_token_shares_counter"])
def test_core_C14_a_client_that_uses_one_counter_for_token_and_frame(shares: bool) -> None:
    options = frozenset({"hls_token_shares_counter"} if shares else ())
    pair = Pair(server={"options": options})
    pair.client.profile.setup.key().tx = Repeating(pair)
    effects = pair.sign_on()
    assert (effects == [Associated(None)]) is shares
    if not shares:
        assert "same invocation counter" in str(single(pair.refusals, Refusal).error)


def test_core_C14_wanting_counters_in_the_middle_of_a_sign_on() -> None:
    """Blocks of one: every token and every frame waits for its value, and none comes twice."""
    for block in (1, 2, 3):
        pair = Pair()
        for end in (pair.client, pair.server):
            end.profile.setup.key().tx = SendCounter(0, 0)
        pair.block = block
        assert pair.sign_on() == [Associated(None)]
        assert pair.outcomes(get()) == (Outcome(0, SMALL.raw),)
        headers = [(s, c) for s, _, _, c in protected_headers(pair.wire)]
        assert len(headers) == len(set(headers))
        assert {need.key.key_id for _, need in pair.needs} == {"key"}


def test_core_C08_without_counters_nothing_ciphered_is_sent() -> None:
    pair = associated()
    pair.server.profile.setup.key().tx = SendCounter(7, 7)
    indication = pair.server.receive(ask(pair))
    (need,) = pair.server.respond(indication[0].token, [Outcome(0, SMALL.raw)])  # type: ignore[union-attr]
    refusal, reply = pair.server.resume(need.token)  # type: ignore[union-attr]
    assert isinstance(refusal, Refusal)
    assert isinstance(refusal.error, CountersNeeded)
    assert isinstance(reply, Reply)
    assert reply.octets == ExceptionResponse(1, 1).encode()


# --- F02: whole conversations ---------------------------------------------------------------------------

SEED_OPTIONS: list[dict[str, Any]] = [{}, {"client": {"general": True}}, {"ciphered": False}]


def conversation(**options: Any) -> Pair:
    pair = associated(**options)
    for operations in ((get(),), (get(), get()), (put(SMALL),), (call(SMALL),)):
        pair.run(pair.client.request(operations))
    return pair


@pytest.mark.parametrize("options", SEED_OPTIONS, ids=["glo", "general", "plain"])
def test_core_F02_a_meter_takes_anything(options: dict[str, Any]) -> None:
    """Mutated requests to an association that stands: never an exception, always an answer, no change."""
    pair = conversation(**options)
    seeds = pair.sent(TO_METER)[2:]
    pair.view.default = 0  # nothing may be done, so that nothing is done
    done = len(pair.plant.done)

    def receive(octets: bytes) -> None:
        effects = pair.to_meter(octets)
        # Law 9: everything is answered, but what says that it wants no answer (and can prove it).
        assert len(replies(effects)) == 1 or not pair.server.profile.ciphered
        if pair.server.state is State.ASSOCIATED:
            return
        assert not pair.server.profile.ciphered  # a plain association may be released by anybody
        again = Pair(ciphered=False)
        again.sign_on()
        pair.server = again.server
        pair.server.profile.view = pair.view

    outcomes = hammer(receive, seeds, count=30_000)
    assert set(outcomes) == {"value"}
    assert len(pair.plant.done) == done


@pytest.mark.parametrize("options", SEED_OPTIONS, ids=["glo", "general", "plain"])
def test_core_F02_a_client_takes_anything(options: dict[str, Any]) -> None:
    pair = conversation(**options)
    seeds = pair.sent(TO_CLIENT)[2:]

    def receive(octets: bytes) -> None:
        if pair.client._asking is None:
            pair.client._given_up.clear()
            pair.client.request([get()])
        effects = pair.client.receive(octets)
        assert all(isinstance(e, Failed | Confirmed) for e in effects)
        assert pair.client.state is State.ASSOCIATED
        if pair.client.profile.ciphered:
            assert all(isinstance(e, Failed) for e in effects)

    outcomes = hammer(receive, seeds, count=20_000)
    assert set(outcomes) == {"value"}


def test_core_F02_sign_ons_of_all_kinds() -> None:
    """Mutated AARQs and AAREs at both ends."""
    pair = Pair()
    pair.sign_on()
    aarq, aare = pair.sent(TO_METER)[0], pair.sent(TO_CLIENT)[0]

    def meter(octets: bytes) -> None:
        assert isinstance(pair.server.receive(octets)[0], Refusal)
        assert pair.server.state is State.ASSOCIATED

    hammer(meter, [aarq], count=10_000)

    def client(octets: bytes) -> None:
        fresh = Pair()
        fresh.client.associate(bytes(range(0x10, 0x20)))
        effects = fresh.client.receive(octets)
        assert not [e for e in effects if isinstance(e, Associated)]

    hammer(client, [aare], count=5_000)

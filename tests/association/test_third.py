"""Third parties: what is sealed for the meter goes through a client, and the sealed answer comes back."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal.apdu import services as s
from meterseal.apdu.common import AttributeDescriptor, DataBlock, ResultCode
from meterseal.apdu.general import GeneralCiphering
from meterseal.association import Confirmed, Refusal, State, conformance
from meterseal.association.profile import BLOCKS, DEFAULT_CONFORMANCE
from meterseal.codec.data import Data, Tag
from meterseal.errors import (
    Forged,
    MetersealError,
    Misuse,
    ProtocolViolation,
    Refused,
    TooLarge,
    Unsupported,
)
from meterseal.security import SIGNED, Style, protect, unprotect
from meterseal.security.protection import policy_bits
from meterseal.security.sealed import Sealed
from tests.association.pair import (
    CLOCK,
    DEK,
    HIDDEN,
    METER_TITLE,
    SMALL,
    SWITCH,
    TO_CLIENT,
    TO_METER,
    call,
    octet_string,
)
from tests.association.pair import get as own_get
from tests.association.thirds import ALL, BOTH, TRANSACTION, UTILITY, Carrier, carrier, get, put, switch

FORMS = [(0, "wrapped"), (1, "one-pass"), (1, "static"), (2, "one-pass"), (2, "static")]


@pytest.mark.parametrize(("suite_id", "form"), FORMS)
def test_a_read_a_write_and_a_command_through_a_client(suite_id: int, form: str) -> None:
    pair = carrier(suite_id, form=form)
    answer = pair.carry(pair.seal(get()))
    assert (answer.originator, answer.recipient, answer.transaction_id) == (METER_TITLE, UTILITY, TRANSACTION)
    assert pair.opened(answer) == s.GetResponseNormal.decode(b"\xc4\x01\xc1\x00" + SMALL.raw)
    written = pair.opened(pair.carry(pair.seal(put(SMALL, 2, CLOCK, 8), b"2")))
    assert isinstance(written, s.SetResponseNormal) and written.result == 0
    done = pair.opened(pair.carry(pair.seal(switch(), b"3")))
    assert isinstance(done, s.ActionResponseNormal) and done.outcome.result == 0
    assert [operation.service.name for operation in pair.plant.done] == ["SET", "ACTION"]
    # The client's own requests go on beside them, under its own counters.
    assert pair.outcomes(own_get())[0].data == SMALL.raw


def test_E01_the_carrier_sees_the_association_and_not_what_is_inside() -> None:
    pair = carrier()
    answer = pair.carry(pair.seal(get()))
    for octets in (pair.seal(get(), b"other").octets, answer.octets):
        assert get() not in octets and SMALL.raw not in octets
    sent = [octets for octets in (*pair.sent(TO_METER), *pair.sent(TO_CLIENT)) if octets[0] == 0xDB]
    assert sent, "the association's own protection goes around, in its general form"


@pytest.mark.parametrize("who", ["association", "third party", "both"])
def test_E11_rights_are_those_of_the_association_and_of_the_third_party(who: str) -> None:
    """Each may do more than the other; through one for the other goes what both may."""
    pair = carrier()
    reads, nothing = 1, 0
    member = (False, 8, CLOCK, 2)
    pair.view.rights[member] = nothing if who in ("association", "both") else reads
    pair.limits.rights[member] = nothing if who in ("third party", "both") else reads
    answer = pair.opened(pair.carry(pair.seal(get(2, CLOCK, 8))))
    assert answer.result.code == 3, "read-write-denied, and only the utility is told"
    hidden = pair.opened(pair.carry(pair.seal(get(2, HIDDEN, 1), b"h")))
    assert hidden.result.code == 4
    pair.limits.rights[(False, 3, own_get().instance, 2)] = None
    absent = pair.opened(pair.carry(pair.seal(get(), b"i")))
    assert absent.result.code == 4


def test_a_signature_that_a_right_asks_for_may_be_the_third_partys() -> None:
    pair = carrier()
    signed = 1 | 16 | 128
    pair.view.rights[(True, 70, SWITCH, 1)] = pair.limits.rights[(True, 70, SWITCH, 1)] = signed
    assert pair.opened(pair.carry(pair.seal(switch()))).outcome.result == 0
    # The client itself has not signed.
    assert pair.outcomes(call())[0].code == 0x0D


def test_without_the_signature_that_its_policy_asks_for_it_is_not_opened() -> None:
    pair = carrier()
    pair.applied = BOTH
    assert_uniform(pair, pair.seal(switch()))
    assert not pair.plant.done


def assert_uniform(pair: Carrier, sealed: Sealed) -> str:
    """Refused with the one answer for everything inside, nothing changed; the cause in the journal."""
    before, floor = pair.server_state(), pair.third.setup.fresh.rx.lowest
    error = pair.refused(sealed)
    assert isinstance(error, Refused) and error.reason == "deciphering-error", error
    assert pair.third.setup.fresh.rx.lowest == floor
    assert pair.server_state()[0] is State.ASSOCIATED and pair.server_state()[-2:] == before[-2:]
    cause = pair.refusals[-1].error
    assert isinstance(cause, Forged)
    return str(cause)


@pytest.mark.parametrize(("suite_id", "form"), FORMS)
def test_E02_every_octet_of_what_is_sealed_is_held(suite_id: int, form: str) -> None:
    """Altered at any octet: not opened (where the client would carry it at all), and nothing done."""
    pair = carrier(suite_id, form=form)
    octets = pair.seal(switch()).octets
    carried = 0
    for at in range(1, len(octets), 1 if suite_id == 0 else 7):
        broken = octets[:at] + bytes((octets[at] ^ 0x40,)) + octets[at + 1 :]
        try:
            sealed = Sealed.of(broken)
        except MetersealError:
            continue  # not even sealed any more
        carried += 1
        assert_uniform(pair, sealed)
    assert carried > 10 and not pair.plant.done
    assert pair.opened(pair.carry(Sealed.of(octets))).outcome.result == 0


def test_E02_replayed_and_reordered_requests_are_not_done_again() -> None:
    pair = carrier()
    first, second = pair.seal(switch(), b"first"), pair.seal(switch(), b"second")
    pair.carry(second)
    assert "is acceptable" in assert_uniform(pair, first), "what was overtaken is not done any more"
    assert "is acceptable" in assert_uniform(pair, second)
    assert len(pair.plant.done) == 1


@pytest.mark.parametrize("cause", ["stranger", "other meter", "cut and paste", "not signed", "inner alone"])
def test_E03_E05_every_cause_inside_has_one_answer(cause: str) -> None:
    pair = carrier()
    pair.refusals.clear()
    utility = pair.utility
    if cause == "stranger":
        utility.setup.own_title = b"MSLUTI99"
        sealed = pair.seal(switch())
    elif cause == "other meter":
        known: Any = utility.setup.directory
        known.agreement[b"MSL00002"] = known.agreement[METER_TITLE]
        utility.peer_title = b"MSL00002"
        sealed = pair.seal(switch())
    elif cause == "cut and paste":
        # The signed layer of one exchange in the ciphered one of another.
        signed = protect(utility, switch(), 4, Style.PLAIN, pair.layers(b"earlier")[1:])
        sealed = Sealed.of(protect(utility, signed, BOTH, Style.LAYERED, pair.layers(b"now")[:1]))
    elif cause == "not signed":
        sealed = Sealed.of(protect(utility, switch(), BOTH, Style.LAYERED, pair.layers()[:1]))
    else:
        inner = pair.seal(switch()).octets
        sealed = Sealed.of(protect(utility, inner, BOTH, Style.LAYERED, pair.layers(b"around")[:1]))
    assert_uniform(pair, sealed)


@pytest.mark.parametrize("depth", [2, 3, 10])
def test_B10_layers_end_where_the_grammar_says(depth: int) -> None:
    """Sealed in sealed in sealed: refused at the first that may not be there, however many follow."""
    pair = carrier()
    octets = switch()
    for number in range(depth):
        octets = protect(pair.utility, octets, ALL, Style.LAYERED, pair.layers(number.to_bytes(2, "big")))
    assert "may not be inside" in assert_uniform(pair, Sealed.of(octets))


def test_B10_what_is_not_a_third_partys_is_not_nested() -> None:
    """Without third parties nothing but a plain APDU is inside, as before."""
    pair = carrier()
    pair.server.context.parties = {}
    error = pair.refused(pair.seal(switch()))
    assert isinstance(error, Refused)
    assert "may not be inside" in str(pair.refusals[-1].error)


def test_bare_in_an_association_whose_policy_asks_for_protection() -> None:
    """A third party's layers are no substitute for the association's own."""
    pair = carrier()
    refusal, _ = pair.server.receive(pair.seal(switch()).octets)
    assert "without the association's own protection" in str(refusal.error)  # type: ignore[union-attr]
    assert not pair.plant.done


def test_bare_in_an_association_without_a_policy() -> None:
    pair = carrier(policy=0)
    answer = pair.carry(pair.seal(get()))
    assert pair.sent(TO_METER)[-1][0] == 0xDD and pair.sent(TO_CLIENT)[-1][0] == 0xDD
    assert pair.opened(answer).result.data.raw == SMALL.raw


@pytest.mark.parametrize(("dedicated", "tag"), [(None, 0xDB), (DEK, 0xDC)])
def test_an_answer_that_policy_protects_goes_in_a_general_form(dedicated: bytes | None, tag: int) -> None:
    """Also to a request that came bare: no form of a service holds what is sealed."""
    pair = carrier(0, policy=policy_bits(0, BOTH), client={"dedicated_key": dedicated})
    answer = pair.carry(pair.seal(get()))
    assert pair.sent(TO_CLIENT)[-1][0] == tag
    assert pair.opened(answer).result.data.raw == SMALL.raw


def test_a_long_write_of_a_third_party_in_its_own_blocks() -> None:
    pair = carrier(0)
    value = octet_string(bytes(range(200)))
    clock = AttributeDescriptor(8, CLOCK, 2)
    first = s.SetRequestWithFirstDatablock(0xC1, clock, None, DataBlock(False, 1, value.raw[:90]))
    last = s.SetRequestWithDatablock(0xC1, DataBlock(True, 2, value.raw[90:]))
    taken = pair.opened(pair.carry(pair.seal(first.encode(), b"1")))
    assert taken == s.SetResponseDatablock(0xC1, 1)
    done = pair.opened(pair.carry(pair.seal(last.encode(), b"2")))
    assert done == s.SetResponseLastDatablock(0xC1, 0, 2)
    assert pair.plant.values[CLOCK, 2] == value.raw
    # What no transfer is under way for is told to it as well, sealed.
    over = pair.opened(pair.carry(pair.seal(last.encode(), b"3")))
    assert over == s.SetResponseLastDatablock(0xC1, 0x12, 2)


def test_what_it_asks_wrongly_is_told_to_the_third_party_alone() -> None:
    pair = carrier()
    wrong = pair.opened(pair.carry(pair.seal(b"\xc0\x01\xc1")))
    assert wrong.name == "exception-response"
    notification = bytes.fromhex("0F40000000000201")
    assert pair.opened(pair.carry(pair.seal(notification, b"n"))).name == "exception-response"
    # Nothing of a sign-on or a release comes from a third party.
    assert_uniform(pair, pair.seal(bytes.fromhex("6203800100"), b"r"))
    assert pair.server.state is State.ASSOCIATED


def long_answer(pair: Carrier) -> Any:
    value = Data.of(bytes(range(256)) * 8, Tag.OCTET_STRING)
    pair.plant.values[own_get().instance, 2] = value.raw
    return value


def test_long_answers_come_in_blocks_and_only_to_who_asked() -> None:
    pair = carrier(client={"max_pdu": 700})
    long_answer(pair)
    first = pair.opened(pair.carry(pair.seal(get())))
    assert isinstance(first, s.GetResponseWithDatablock) and not first.last_block
    # The client cannot fetch on: what was earned under the third party's keys is for it alone.
    (effect,) = pair.run(pair.client.request((own_get(),)))
    assert isinstance(effect, Confirmed)


def test_E01_the_carrier_cannot_fetch_the_blocks_of_a_sealed_answer() -> None:
    pair = carrier(client={"max_pdu": 700})
    value = long_answer(pair)
    pair.opened(pair.carry(pair.seal(get())))
    stolen = s.GetRequestNext(0xC1, 1).encode()
    replies = pair.to_meter(protect(pair.client.context, stolen, BOTH, Style.GLO))
    answer = unprotect(pair.client.context, replies[-1].octets)  # type: ignore[union-attr]
    assert value.raw[10:50] not in answer.apdu
    block = s.GetResponseWithDatablock.decode(answer.apdu)
    assert block.result == ResultCode(0x10), "no long get in progress for this one"
    # The third party goes on.
    following = pair.opened(pair.carry(pair.seal(stolen, b"next")))
    assert isinstance(following, s.GetResponseWithDatablock) and following.block_number == 2


def test_long_answers_whole_where_general_blocks_were_agreed() -> None:
    pair = carrier(client={"max_pdu": 700, "conformance": DEFAULT_CONFORMANCE | BLOCKS})
    value = long_answer(pair)
    answer = pair.carry(pair.seal(get()))
    assert answer.size > 2048
    assert pair.opened(answer).result.data.raw == value.raw


def test_late_and_foreign_sealed_answers_are_passed_over() -> None:
    pair = carrier()
    kept: list[bytes] = []

    def withhold(direction: str, octets: bytes) -> list[bytes]:
        if direction == TO_METER:
            return [octets]
        kept.append(octets)
        return []

    pair.tap = withhold
    assert pair.run(pair.client.forward(pair.seal(get()))) == []
    pair.client.give_up()
    pair.tap = lambda direction, octets: [octets]
    (late,) = kept
    assert pair.client.receive(late) == []
    assert pair.outcomes(own_get())[0].data == SMALL.raw


def test_what_is_not_sealed_is_not_taken_for_it() -> None:
    sealed = Carrier().seal(get())
    layer = GeneralCiphering.decode(sealed.octets)
    for broken in (
        layer.replace(recipient_system_title=b""),
        layer.replace(originator_system_title=b""),
        layer.replace(originator_system_title=b"short"),
        layer.replace(ciphered_content=b"\x11" + layer.ciphered_content[1:]),
        layer.replace(ciphered_content=b"\x21" + layer.ciphered_content[1:]),
        layer.replace(ciphered_content=b""),
        layer.replace(transaction_id=bytes(65)),
    ):
        with pytest.raises(MetersealError):
            Sealed.of(broken.encode())
    assert sealed.octets.hex().upper() not in f"{sealed!r} {sealed}"


@pytest.mark.parametrize("applied", [1, 2, 0])
def test_B04_a_layer_that_whoever_carries_could_read_or_change_is_none(applied: int) -> None:
    """Not even sealed, so no honest client carries it; the meter opens it neither."""
    pair = carrier()
    octets = protect(pair.utility, switch(), applied | SIGNED, Style.LAYERED, pair.layers())
    with pytest.raises(MetersealError):
        Sealed.of(octets)
    pair.refusals.clear()
    effects = pair.to_meter(protect(pair.client.context, octets, BOTH, Style.GENERAL_GLO))
    assert any(isinstance(effect, Refusal) and isinstance(effect.error, Forged) for effect in effects)
    assert not pair.plant.done


def test_B10_the_deepest_nesting_is_refused_at_its_third_layer() -> None:
    """Fifty layers, past every size that a client would carry."""
    pair = carrier()
    octets = switch()
    for number in range(50):
        octets = protect(pair.utility, octets, ALL, Style.LAYERED, pair.layers(number.to_bytes(2, "big")))
    with pytest.raises(Forged, match="may not be inside"):
        unprotect(pair.server.context, protect(pair.client.context, octets, BOTH, Style.GENERAL_GLO))


def test_what_is_sealed_counts_as_too_long_where_no_blocks_were_agreed() -> None:
    pair = carrier(server={"max_pdu": 512})
    with pytest.raises(TooLarge):
        pair.client.forward(pair.seal(bytes(600)))
    assert pair.opened(pair.carry(pair.seal(get(), b"shorter"))).name == "get-response-normal"


def test_forwarding_needs_an_association_with_general_protection() -> None:
    sealed = Carrier().seal(get())
    idle = Carrier()
    with pytest.raises(Misuse):
        idle.client.forward(sealed)
    plain = carrier(client={"conformance": DEFAULT_CONFORMANCE & ~conformance("general-protection")})
    with pytest.raises(Unsupported):
        plain.client.forward(sealed)
    busy = carrier()
    busy.tap = lambda direction, octets: []
    busy.run(busy.client.forward(sealed))
    with pytest.raises(Misuse, match="under way"):
        busy.client.forward(sealed)


def test_a_plain_answer_to_what_was_sealed_is_none() -> None:
    pair = carrier()
    answered = s.GetResponseNormal(0xC1, ResultCode(1)).encode()

    def instead(direction: str, octets: bytes) -> list[bytes]:
        if direction == TO_METER:
            return [octets]
        return [protect(pair.server.context, answered, BOTH, Style.GLO)]

    pair.tap = instead
    assert isinstance(pair.refused(pair.seal(get())), ProtocolViolation)


def test_E11_who_asks_through_the_client_is_told_to_the_party() -> None:
    pair = carrier()
    pair.hold = True
    pair.run(pair.client.forward(pair.seal(get())))
    (asked,) = pair.held
    assert asked.third is not None and asked.third.title == UTILITY and asked.applied == BOTH
    effects = pair.server.respond(asked.token, [pair.plant.do(asked.operations[0])])
    pair.run(effects, "meter")
    pair.hold, pair.held = True, []
    pair.run(pair.client.request([own_get()]))
    assert pair.held[0].third is None

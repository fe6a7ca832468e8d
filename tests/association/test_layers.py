"""Layers in an association: requests signed and ciphered for the meter, answers in the same layers."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal.apdu import ciphered
from meterseal.apdu.acse import Aare
from meterseal.apdu.general import GeneralCiphering, GeneralSigning
from meterseal.association import Associated, Compute, Confirmed, Failed, Indication, Reply, State
from meterseal.codec.data import Data, Tag
from meterseal.crypto import AgreementKey, SigningKey, WrappingKey, curve
from meterseal.errors import Misuse, ProtocolViolation, TooWeak, UnknownKey, Unsupported
from meterseal.security import SIGNED, Style, protect
from meterseal.security.layers import SIGNING, Layer
from meterseal.security.packing import COMPRESSION
from meterseal.security.protection import of_control, policy_bits
from tests.association.pair import (
    CLIENT_TITLE,
    DEK,
    METER_TITLE,
    REGISTER,
    SWITCH,
    TO_CLIENT,
    TO_METER,
    Pair,
    call,
    get,
    put,
    replies,
)
from tests.association.test_signon import INITIATE, good

SEALED = 3
ALL = SEALED | SIGNED
FORMS = ("absent", "identified", "wrapped", "one-pass", "static")
AGREEING = {
    id: (AgreementKey.generate(curve(name)), AgreementKey.generate(curve(name)))
    for id, name in ((1, "P-256"), (2, "P-384"))
}
SEED = bytes(range(8))
SIGN_REQUEST, SIGN_RESPONSE = SIGNED << 2, SIGNED << 5


def pair_in(
    layers: str = "", *, policy: int = policy_bits(SEALED, SEALED), suite_id: int = 1, **more: Any
) -> Pair:
    """A pair with every kind of key, not signed on yet."""
    client = {"layers": layers, **more.pop("client", {})}
    pair = Pair(suite_id=suite_id, policy=policy, client=client, **more)
    ours, theirs = AGREEING[suite_id]
    setups = pair.client.profile.setup, pair.server.profile.setup
    for setup, own, peer, title in zip(
        setups, (ours, theirs), (theirs, ours), (METER_TITLE, CLIENT_TITLE), strict=True
    ):
        setup.agreement = own
        setup.directory.agreement[title] = peer.public  # type: ignore[attr-defined]
        setup.master = WrappingKey(bytes(range(setup.suite.key_length)))
    return pair


def sign_on(pair: Pair) -> None:
    scheme = pair.client.profile.scheme
    challenge = bytes(range(0x10, 0x10 + scheme.drawn))
    assert pair.run(pair.client.associate(challenge, SEED)) == [Associated(None)], pair.refusals
    assert pair.server.state is State.ASSOCIATED


def associated_in(layers: str = "", **more: Any) -> Pair:
    pair = pair_in(layers, **more)
    sign_on(pair)
    return pair


def kinds(octets: bytes) -> list[str]:
    return {0xDD: ["general-ciphering"], 0xDF: ["general-signing"]}.get(octets[0], [f"{octets[0]:02X}"])


def test_a_dedicated_key_may_come_signed_besides() -> None:
    """More is accepted: an Initiate that is signed, authenticated and encrypted brings one as well."""
    pair = pair_in()
    initiate = INITIATE.replace(dedicated_key=DEK).encode()
    signed = protect(pair.client.context, initiate, ALL, Style.GENERAL_GLO)
    assert isinstance(signed, bytes)
    (reply,) = replies(pair.to_meter(good(pair).replace(user_information=signed).encode()))
    assert Aare.decode(reply).result == 0
    assert pair.server.context.dedicated is not None


def test_D07_I02_what_is_only_signed_and_comes_again_tells_of_no_counter() -> None:
    """The answer is that to every message that does not open, and no value to begin anew with."""
    pair = associated_in(policy=0)
    signed = Layer(SIGNING, CLIENT_TITLE, METER_TITLE, SEED)
    request = bytes.fromhex("C001C100030100010800FF0200")
    sent = protect(pair.client.context, request, SIGNED, Style.PLAIN, (signed,))
    for _ in range(2):
        pair.run(pair.server.receive(sent), TO_CLIENT)
    first, second = pair.sent(TO_CLIENT)[-2:]
    assert (first[0], second) == (0xDF, bytes.fromhex("D80105"))


@pytest.mark.parametrize("mechanism", [5, 7])
@pytest.mark.parametrize("suite_id", [1, 2])
@pytest.mark.parametrize("form", ["", *FORMS])
def test_everything_signed_in_each_form(form: str, suite_id: int, mechanism: int) -> None:
    """Pass 3 and 4, a read, a write, a call: signed both ways, in the layers of the request."""
    pair = associated_in(form, policy=policy_bits(ALL, ALL), suite_id=suite_id, mechanism=mechanism)
    assert pair.outcomes(get())[0].code == 0
    assert pair.outcomes(put(Data.of(7, Tag.UNSIGNED)))[0].code == 0
    assert pair.outcomes(call())[0].code == 0
    assert [operation.member for operation in pair.plant.done] == [2, 1]
    for octets in (*pair.sent(TO_METER)[1:], *pair.sent(TO_CLIENT)[1:]):
        assert octets[0] == (0xDD if form else 0xDB)
    pair.release()
    assert pair.client.state is State.IDLE


@pytest.mark.parametrize("form", FORMS)
def test_answers_mirror_the_layer_of_the_request(form: str) -> None:
    pair = associated_in(form)
    pair.outcomes(get())
    request, answer = (GeneralCiphering.decode(pair.sent(end)[-1]) for end in (TO_METER, TO_CLIENT))
    assert (request.originator_system_title, request.recipient_system_title) == (CLIENT_TITLE, METER_TITLE)
    assert (answer.originator_system_title, answer.recipient_system_title) == (METER_TITLE, CLIENT_TITLE)
    assert request.transaction_id == answer.transaction_id
    assert type(request.key_info) is type(answer.key_info)
    assert request.ciphered_content[0] == answer.ciphered_content[0] == 0x31
    pair.outcomes(get())
    later = GeneralCiphering.decode(pair.sent(TO_METER)[-1])
    assert later.transaction_id != request.transaction_id


@pytest.mark.parametrize("form", ["", "one-pass"])
def test_blocks_within_layers(form: str) -> None:
    """Long values both ways: each block in its layers, all of the exchange's transaction."""
    long = Data.of(bytes(3000), Tag.OCTET_STRING)
    pair = associated_in(form, policy=policy_bits(ALL, ALL), client={"max_pdu": 900}, server={"max_pdu": 900})
    assert pair.outcomes(put(long))[0].code == 0
    assert pair.outcomes(get(instance=put(long).instance, class_id=8))[0].data == long.raw
    assert all(len(octets) <= 900 for _, octets in pair.wire[2:])
    assert len(pair.sent(TO_METER)) > 10


def test_the_answer_of_another_exchange_is_none() -> None:
    pair = associated_in("static")
    effects = pair.client.request([get()])
    (compute,) = effects
    assert isinstance(compute, Compute)
    pair.client._transaction = bytes(8)
    assert isinstance(pair.client._transaction, bytes)
    (failed,) = pair.run(effects)
    assert isinstance(failed, Failed) and isinstance(failed.error, ProtocolViolation)


def test_layers_need_octets_for_their_transactions() -> None:
    for pair in (pair_in("one-pass"), pair_in(policy=policy_bits(ALL, SEALED))):
        for seed in (b"", bytes(7), bytes(9)):
            with pytest.raises(Misuse):
                pair.client.associate(bytes(16), seed)
        assert pair.client.state is State.IDLE


# --- rights ---------------------------------------------------------------------------------------------


def with_right(pair: Pair, right: int) -> Pair:
    pair.view.rights[True, 70, SWITCH, 1] = right
    return pair


@pytest.mark.parametrize("suite_id", [1, 2])
@pytest.mark.parametrize("form", ["", "identified", "one-pass"])
def test_B16_a_call_whose_right_asks_for_a_signature(form: str, suite_id: int) -> None:
    pair = with_right(associated_in(form, suite_id=suite_id), 1 | SIGN_REQUEST)
    assert pair.outcomes(call())[0].code == 0x0D
    assert not pair.plant.done
    signed = with_right(
        associated_in(form, suite_id=suite_id, policy=policy_bits(ALL, SEALED)), 1 | SIGN_REQUEST
    )
    assert signed.outcomes(call())[0].code == 0
    assert signed.plant.done


def test_B16_the_signature_taken_off() -> None:
    """Whoever holds the client's symmetric keys opens the layer and sends what is inside: refused."""
    pair = with_right(associated_in(policy=policy_bits(SEALED, SEALED)), 1 | SIGN_REQUEST)
    inner = bytes.fromhex("C301C1") + (70).to_bytes(2, "big") + SWITCH + b"\1\0"
    for style in (Style.GLO, Style.GENERAL_GLO):
        (answer,) = replies(pair.to_meter(protect(pair.client.context, inner, SEALED, style)))
        assert answer[0] in (0xCF, 0xDB)
    assert not pair.plant.done


@pytest.mark.parametrize("whose", ["stranger", "meter"])
@pytest.mark.parametrize("form", ["", "one-pass"])
def test_B17_a_disconnect_signed_by_somebody_else(whose: str, form: str) -> None:
    pair = with_right(associated_in(form, policy=policy_bits(ALL, SEALED)), 1 | SIGN_REQUEST)
    other = SigningKey.generate(curve("P-256")) if whose == "stranger" else pair.server.profile.setup.signing
    pair.client.profile.setup.signing = other
    before = pair.server_state()
    failed = pair.failure(call())
    assert "deciphering" in str(failed)
    assert pair.server_state() == before
    assert not pair.plant.done


def test_B18_a_signed_call_for_another_meter() -> None:
    pair = with_right(associated_in(policy=policy_bits(ALL, SEALED)), 1 | SIGN_REQUEST)
    before = pair.server_state()
    pair.client._layers = (pair.client._layers[0]._replace(recipient=b"MSL00002"),)

    def to_other(sender: str, octets: bytes) -> list[bytes]:
        return [octets]

    pair.tap = to_other
    pair.client._next_transaction = lambda added=0: None  # type: ignore[method-assign]
    pair.failure(call())
    assert pair.server_state() == before


def test_B20_unsigned_answers_are_refused_where_a_signature_is_asked_for() -> None:
    pair = pair_in(policy=policy_bits(ALL, ALL))
    pair.server.profile.setup.policy = policy_bits(ALL, SEALED)
    pair.server.profile.setup.signing = None
    (failed,) = pair.run(pair.client.associate(bytes(range(16)), SEED))
    assert isinstance(failed, Failed) and isinstance(failed.error, TooWeak)


@pytest.mark.parametrize("asked", [SEALED, ALL])
@pytest.mark.parametrize("policy", [SEALED, ALL])
@pytest.mark.parametrize("right", [0, SIGN_RESPONSE])
@pytest.mark.parametrize("form", ["", "identified", "one-pass"])
def test_B20_the_answer_has_what_request_policy_and_right_ask(
    form: str, right: int, policy: int, asked: int
) -> None:
    pair = pair_in(form, policy=policy_bits(asked, policy))
    pair.server.profile.setup.policy = policy_bits(SEALED, policy)
    pair.view.rights[False, 3, REGISTER, 2] = 1 | right
    sign_on(pair)
    seen: list[int] = []
    check = pair.client._check_protection

    def noted(opened: Any) -> Any:
        seen.append(opened.applied)
        return check(opened)

    pair.client._check_protection = noted  # type: ignore[method-assign]
    assert pair.outcomes(get())[0].code == 0
    if not seen:  # the usual road, where what stands in front is what the tag has proved
        seen.append(of_control(ciphered.parse(pair.wire[-1][1]).sc))
    assert seen == [asked | policy | (SIGNED if right else 0)]


def test_pass_3_must_be_signed_where_the_policy_says_so() -> None:
    pair = pair_in(policy=policy_bits(SEALED, SEALED))
    pair.server.profile.setup.policy = policy_bits(ALL, SEALED)
    (failed,) = pair.run(pair.client.associate(bytes(range(16)), SEED))
    assert isinstance(failed, Failed)
    assert pair.server.state is State.IDLE
    assert isinstance(pair.refusals[0].error, TooWeak)


# --- hostile ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("suite_id", [1, 2])
@pytest.mark.parametrize("form", ["", *FORMS])
def test_B01_every_bit_of_requests_and_answers(form: str, suite_id: int) -> None:
    """Of a session with layers: each changed frame is refused by who gets it, and changes nothing."""
    pair = associated_in(form, policy=policy_bits(ALL, ALL), suite_id=suite_id, mechanism=7)
    tried = 0

    def settle(end: Any, octets: bytes) -> list[Any]:
        effects = end.receive(octets)
        while effects and isinstance(effects[0], Compute):
            effects = end.resume(effects[0].token, effects[0].job())
        return list(effects)

    def tap(sender: str, octets: bytes) -> list[bytes]:
        nonlocal tried
        if sender == TO_METER:
            before = pair.server_state(), pair.server.profile.setup.fresh.rx.lowest
            for bit in range(0, 8 * len(octets), 5):
                changed = flipped(octets, bit)
                effects = settle(pair.server, changed)
                assert not any(isinstance(e, Indication) for e in effects), bit
                assert (pair.server_state(), pair.server.profile.setup.fresh.rx.lowest) == before
                tried += 1
        return [octets]

    pair.tap = tap
    assert pair.outcomes(get())[0].code == 0
    # Answers: the client's request fails, its counters stay; then the true one is no longer waited for.
    for bit in range(3, 600, 41):
        effects = pair.client.request([get()])
        (sent,) = finished(pair.client, effects)
        (answer,) = [e.octets for e in drive(pair, sent.octets) if isinstance(e, Reply)]
        before = pair.client_state()
        (failed,) = settle(pair.client, flipped(answer, bit * len(answer) * 8 // 600))
        assert isinstance(failed, Failed)
        assert pair.client_state() == before
        tried += 1
    assert tried > 100


def flipped(octets: bytes, bit: int) -> bytes:
    changed = bytearray(octets)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def finished(end: Any, effects: list[Any]) -> list[Any]:
    while effects and isinstance(effects[0], Compute):
        effects = end.resume(effects[0].token, effects[0].job())
    return effects


def drive(pair: Pair, octets: bytes) -> list[Any]:
    """The meter's effects for a request, its jobs and operations done."""
    todo, done = list(pair.server.receive(octets)), []
    while todo:
        effect = todo.pop(0)
        if isinstance(effect, Compute):
            todo = [*pair.server.resume(effect.token, effect.job()), *todo]
        elif isinstance(effect, Indication):
            todo = [*pair.answer(effect), *todo]
        else:
            done.append(effect)
    return done


def test_I02_one_answer_for_all_that_is_wrong_with_a_layer() -> None:
    """Bad tag, unknown key, wrong signer, wrong recipient, bad wrap: octet for octet the same."""
    answers = set()
    for form in ("identified", "wrapped", "one-pass", "static"):
        pair = associated_in(form, policy=policy_bits(ALL, SEALED))
        effects = finished(pair.client, pair.client.request([get()]))
        message = GeneralCiphering.decode(effects[0].octets)
        content = message.ciphered_content
        spoilt = [
            message.replace(ciphered_content=content[:-1] + bytes((content[-1] ^ 1,))),
            message.replace(recipient_system_title=b"MSL00002"),
            message.replace(originator_system_title=b"MSLHES02"),
            message.replace(ciphered_content=bytes((0x32,)) + content[1:]),
        ]
        for one in spoilt:
            replied = [e for e in drive(pair, one.encode()) if isinstance(e, Reply)]
            answers |= {e.octets for e in replied}
        pair.server.profile.setup.directory.signing.clear()  # type: ignore[attr-defined]
        answers |= {e.octets for e in drive(pair, message.encode()) if isinstance(e, Reply)}
    assert answers == {bytes.fromhex("D80105")}


def test_layers_only_in_an_association_that_negotiated_them() -> None:
    signed = GeneralSigning(SEED, CLIENT_TITLE, METER_TITLE, b"", b"", b"\xc0\x01", bytes(64)).encode()
    idle = pair_in()
    assert isinstance(drive(idle, signed)[0].error, ProtocolViolation)
    plain = Pair(suite_id=1, ciphered=False, mechanism=7)
    plain.sign_on()
    assert isinstance(drive(plain, signed)[0].error, Unsupported)
    narrow = pair_in("identified", client={"conformance": Pair().client.profile.conformance & ~(1 << 22)})
    general = narrow.client.profile.conformance
    assert general != Pair().client.profile.conformance
    (failed,) = narrow.run(narrow.client.associate(bytes(range(16)), SEED))
    assert isinstance(failed, Failed) and isinstance(failed.error, Unsupported)


def test_without_the_keys_of_a_form_nothing_goes_out() -> None:
    pair = associated_in("one-pass")
    pair.client.profile.setup.directory.agreement.clear()  # type: ignore[attr-defined]
    sent = len(pair.wire)
    with pytest.raises(UnknownKey):
        pair.client.request([get()])
    assert len(pair.wire) == sent


# --- compression ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMPRESSION)
@pytest.mark.parametrize("form", ["", "identified", "one-pass"])
def test_compressed_answers(form: str, name: str) -> None:
    packing = {"compression": COMPRESSION[name]}
    pair = associated_in(form, client={**packing, "general": True}, server=packing)
    long = Data.of(b"a row of a profile, " * 100, Tag.OCTET_STRING)
    pair.plant.values[REGISTER, 2] = long.raw
    assert pair.outcomes(get())[0].data == long.raw
    assert len(pair.sent(TO_CLIENT)[-1]) < len(long.raw) // 4
    # What does not get shorter goes as it is.
    assert pair.outcomes(get(member=3))[0].code == 0
    assert len(pair.sent(TO_METER)[-1]) < 400


@pytest.mark.parametrize("form", ["", "identified"])
def test_F13_what_is_compressed_is_opened_up_to_the_own_limit(form: str) -> None:
    """A packet of a few octets that stands for a megabyte, with a tag that holds: it is not opened."""
    packing = {"compression": COMPRESSION["packet-default"]}
    pair = associated_in(form, client={**packing, "general": True}, server={**packing, "max_pdu": 4096})
    before = pair.server_state()
    pair.client.server_max_pdu = 0
    (effect,) = pair.run(pair.client.request([put(Data.of(bytes(60_000), Tag.OCTET_STRING))]))
    assert len(pair.sent(TO_METER)[-1]) < 1000
    assert isinstance(effect, Failed)
    assert pair.server_state() == before
    assert "4096" in str(pair.refusals[-1].error)


def test_B07_compression_that_was_not_agreed() -> None:
    packing = {"compression": COMPRESSION["packet-default"]}
    pair = associated_in(client={**packing, "general": True})
    long = put(Data.of(bytes(500), Tag.OCTET_STRING))
    before = pair.server_state()
    (effect,) = pair.ask(long)
    assert isinstance(effect, Failed)
    assert pair.server_state() == before
    # Service-specific forms only with a peer that is known for it.
    option = {"options": frozenset({"compress_service_specific"})}
    odd = associated_in(client={**packing, **option}, server=packing)
    before = odd.server_state()
    (effect,) = odd.ask(long)
    assert isinstance(effect, Failed)
    assert odd.server_state() == before
    odd = associated_in(client={**packing, **option}, server={**packing, **option})
    (effect,) = odd.ask(long)
    assert isinstance(effect, Confirmed)
    assert odd.sent(TO_METER)[-1][0] == 0xC9 and len(odd.sent(TO_METER)[-1]) < 100

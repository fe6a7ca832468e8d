"""Layers bent: every bit, field, party, key and nesting that is not as it should be is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.apdu.general import AgreedKey, GeneralCiphering, GeneralSigning, IdentifiedKey, WrappedKey
from meterseal.codec.parts import write_octets
from meterseal.crypto import AgreementKey, SigningKey, curve
from meterseal.errors import (
    Forged,
    Malformed,
    MetersealError,
    Misuse,
    TooLarge,
    TooWeak,
    UnknownKey,
    Unsupported,
)
from meterseal.keys.counters import SendCounter
from meterseal.security import SIGNED, Context, Style, protect, unprotect
from meterseal.security.layers import CIPHERING, SIGNING, Layer
from tests.mutate import truncations
from tests.security.parties import (
    ALL,
    BOTH,
    CLIENT,
    FRESH,
    GET,
    LONGER,
    METER,
    MIRRORED,
    SIGN,
    STRANGER,
    TRANSACTION,
    both,
    by,
    ciphering,
    floors,
    party,
    refused,
    signing,
)

SET = bytes.fromhex("C10181000800000100 00FF02001100".replace(" ", ""))

plain_apdus = st.builds(
    lambda tag, rest: bytes((tag,)) + rest, st.sampled_from([0xC0, 0xC1, 0xC3, 0xC4]), st.binary(max_size=400)
)


# --- every bit, every length ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("suite_id", [1, 2])
@pytest.mark.parametrize("form", [*MIRRORED, "signed"])
def test_B01_every_bit_of_a_layer(form: str, suite_id: int) -> None:
    client, meter = both(suite_id, minimum=BOTH)
    if form == "signed":
        sent = protect(client, GET, ALL, Style.GENERAL_GLO, (signing(),))
    else:
        sent = by(client, form)
    before = floors(meter)
    for bit in range(8, 8 * len(sent)):
        changed = bytearray(sent)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(MetersealError):
            unprotect(meter, bytes(changed))
        assert floors(meter) == before, bit
    assert unprotect(meter, sent).apdu == GET


@pytest.mark.parametrize("form", MIRRORED)
def test_B02_layers_cut_short_or_longer(form: str) -> None:
    client, meter = both()
    sent = by(client, form, ALL)
    for _, cut in truncations([sent]):
        refused(meter, cut, MetersealError)
    for count in range(1, 17):
        refused(meter, sent + bytes(count), MetersealError)


# --- fields and parties -----------------------------------------------------------------------------------


FIELDS = (
    "transaction_id",
    "originator_system_title",
    "recipient_system_title",
    "date_time",
    "other_information",
)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("form", MIRRORED)
def test_B14_each_octet_of_each_field(form: str, field: str) -> None:
    client, meter = both()
    layer = ciphering(form)._replace(date_time=bytes(12), other_information=b"more")
    sent = GeneralCiphering.decode(protect(client, GET, BOTH, Style.LAYERED, (layer,)))
    value = sent[FIELDS.index(field)]
    changes = [value[:at] + bytes((value[at] ^ 1,)) + value[at + 1 :] for at in range(len(value))]
    for changed in (*changes, b"", value + value):
        refused(meter, sent.replace(**{field: changed}).encode(), MetersealError)
    assert unprotect(meter, sent.encode()).layers[0].date_time == bytes(12)


@given(st.lists(LONGER, min_size=5, max_size=5))
def test_B14_lengths_that_are_longer_than_needed_are_covered_as_they_came(before: list[bytes]) -> None:
    client, meter = both()
    usual = by(client, "identified")
    message = GeneralCiphering.decode(usual)
    header = b"".join(
        longer + bytes((len(value),)) + value for longer, value in zip(before, message[:5], strict=True)
    )
    behind = usual[1 + len(message.header()) :]
    changed = usual[:1] + header + behind
    if any(before):
        refused(meter, changed, Forged)  # somebody on the way has written them so
    key = client.setup.key().handle
    body = key.seal(0x31, CLIENT + bytes(4), GET, header)
    made = usual[:1] + header + behind[:3] + write_octets(b"\x31" + bytes(4) + body)
    assert GeneralCiphering.decode(made).header_in(made) == header
    assert unprotect(meter, made).apdu == GET


@pytest.mark.parametrize("form", MIRRORED)
def test_B14_a_message_for_another_meter(form: str) -> None:
    client, meter = both()
    other = Layer(CIPHERING, b"", STRANGER, TRANSACTION, form)
    refused(meter, protect(client, GET, BOTH, Style.LAYERED, (other,)), UnknownKey)
    signed = Layer(SIGNING, b"", STRANGER, TRANSACTION)
    refused(meter, protect(client, GET, ALL, Style.LAYERED, (ciphering(form), signed)), UnknownKey)


def test_B14_own_messages_and_those_of_strangers() -> None:
    client, meter = both()
    for form in MIRRORED:
        refused(client, by(client, form, ALL), UnknownKey)
        refused(meter, by(party(STRANGER, METER), form, ALL), UnknownKey)
    with pytest.raises(Misuse):
        by(party(CLIENT, None), "identified")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "info",
    [
        IdentifiedKey(2), IdentifiedKey(255), WrappedKey(1, bytes(24)), WrappedKey(0, bytes(24)),
        WrappedKey(0, b""), WrappedKey(0, bytes(40)), AgreedKey(b"", b""), AgreedKey(b"\0", b""),
        AgreedKey(b"\3", b""), AgreedKey(b"\1\1", b""), AgreedKey(b"\1", b""), AgreedKey(b"\1", bytes(127)),
        AgreedKey(b"\1", bytes(128)), AgreedKey(b"\1", bytes(192)), AgreedKey(b"\2", b"\0"),
    ],
    ids=repr,
)  # fmt: skip
def test_B15_key_info_that_is_none(info: Any) -> None:
    client, meter = both()
    sent = GeneralCiphering.decode(by(client, "identified"))
    refused(meter, sent.replace(key_info=info).encode(), (UnknownKey, Malformed, Forged))


def test_B15_each_form_in_the_place_of_each_other() -> None:
    client, meter = both()
    sent = {form: GeneralCiphering.decode(by(client, form)) for form in MIRRORED}
    broadcast = IdentifiedKey(1)
    for form, message in sent.items():
        for other in MIRRORED:
            if {form, other} <= {"absent", "identified"} or form == other:
                continue
            refused(meter, message.replace(key_info=sent[other].key_info).encode(), MetersealError)
        refused(meter, message.replace(key_info=broadcast).encode(), MetersealError)
    for tag in range(3, 256):
        octets = sent["identified"].encode()
        at = octets.index(bytes.fromhex("01 00 00 1E"), 20) + 1
        refused(meter, octets[:at] + bytes((tag,)) + octets[at + 1 :], Malformed)


def test_B15_keys_that_this_end_does_not_have() -> None:
    def take(context: Context, *names: str) -> Context:
        for name in names:
            setattr(context.setup, name, None)
        return context

    client, meter = both()
    for form, key in (("wrapped", "master"), ("one-pass", "agreement"), ("static", "agreement")):
        refused(take(both()[1], key), by(client, form), UnknownKey)
    for form, key in (("wrapped", "master"), ("one-pass", "signing"), ("static", "agreement")):
        with pytest.raises(UnknownKey):
            by(take(party(CLIENT, METER), key), form)
    with pytest.raises(UnknownKey):
        by(take(party(CLIENT, METER), "signing"), "identified", ALL)
    with pytest.raises(UnknownKey):
        by(client, "broadcast")
    meter.set_dedicated(bytes(range(50, 66)))
    meter.exclusive_dedicated = True
    refused(meter, by(client, "identified"), UnknownKey)


def test_B06_the_broadcast_key_by_key_info() -> None:
    """For whole requests that ask for nothing, toward the meter, to everybody or to it."""
    client, meter = both()
    group = client.setup.broadcast
    assert group is not None
    client.setup.unicast = group
    group.tx = SendCounter(1, 100)

    def sent(apdu: bytes, recipient: bytes, applied: int = BOTH) -> bytes:
        signed = Layer(SIGNING, b"", recipient, TRANSACTION)
        layer = Layer(CIPHERING, b"", recipient, TRANSACTION, "identified")
        made = GeneralCiphering.decode(protect(client, apdu, applied, Style.LAYERED, (layer, signed)))
        return made.replace(key_info=IdentifiedKey(1)).encode()

    assert unprotect(meter, sent(SET, METER)).broadcast
    client.peer_title = b""
    for applied in (BOTH, ALL):
        assert unprotect(meter, sent(SET, b"", applied)).broadcast, "to everybody"
    to_nobody = Layer(CIPHERING, b"", b"", TRANSACTION, "identified")
    refused(meter, protect(client, SET, BOTH, Style.LAYERED, (to_nobody,)), UnknownKey)
    client.peer_title = METER
    assert unprotect(meter, sent(SET, METER, ALL)).applied == ALL
    refused(meter, sent(GET, METER), UnknownKey)
    refused(meter, sent(GET, METER, ALL), UnknownKey)
    meter.serving = False
    refused(meter, sent(SET, METER), UnknownKey)


@pytest.mark.parametrize("signer", [STRANGER, METER])
def test_B17_signed_by_somebody_else(signer: bytes) -> None:
    """Another head-end's key, the meter's own: the title inside decides whose signature it must be."""
    client, meter = both()
    client.setup.signing = SIGN[1, signer]
    for style in (Style.PLAIN, Style.GENERAL_GLO, Style.LAYERED):
        applied = SIGNED if style is Style.PLAIN else ALL
        layers = (ciphering(),) if style is Style.LAYERED else ()
        refused(meter, protect(client, GET, applied, style, (*layers, signing())), Forged)
    # And the stranger under its own title, within the client's tag.
    other = party(STRANGER, METER)
    inner = protect(other, GET, SIGNED, Style.PLAIN, (signing(),))
    client.setup.signing = SIGN[1, CLIENT]
    refused(meter, protect(client, inner, BOTH, Style.GENERAL_GLO), UnknownKey)


def test_B17_a_key_on_another_curve() -> None:
    client, meter = both()
    meter.setup.directory.signing[CLIENT] = SIGN[2, CLIENT].public  # type: ignore[attr-defined]
    refused(meter, protect(client, GET, SIGNED, Style.PLAIN, (signing(),)), UnknownKey)


def test_B18_the_signed_part_carried_over_to_another_meter() -> None:
    """The recipient of the signed part is under the signature: nobody can pass it on as for somebody else."""
    client, meter = both()
    for_other = protect(party(CLIENT, STRANGER), GET, SIGNED, Style.PLAIN, (signing(),))
    refused(meter, for_other, UnknownKey)
    refused(meter, protect(client, for_other, BOTH, Style.GENERAL_GLO), UnknownKey)
    renamed = GeneralSigning.decode(for_other).replace(recipient_system_title=METER)
    refused(meter, renamed.encode(), Forged)
    refused(meter, renamed.replace(recipient_system_title=b"").encode(), UnknownKey)


@pytest.mark.parametrize("length", [*range(0, 64, 7), 63, 65, 70, 72, 96, 128])
def test_D02_signatures_of_other_lengths(length: int) -> None:
    client, meter = both()
    sent = GeneralSigning.decode(protect(client, GET, SIGNED, Style.PLAIN, (signing(),)))
    refused(meter, sent.replace(signature=(sent.signature * 2)[:length]).encode(), Forged)


# --- key agreement ----------------------------------------------------------------------------------------


def test_D06_the_ephemeral_key_must_be_signed_by_the_originator() -> None:
    client, meter = both()
    sent = GeneralCiphering.decode(by(client, "one-pass"))
    info = sent.key_info
    assert isinstance(info, AgreedKey)
    public, signature = info.key_ciphered_data[:64], info.key_ciphered_data[64:]
    other = AgreementKey.generate(curve("P-256")).public.octets
    stranger = SIGN[1, STRANGER].sign(public)
    for data in (public, public + bytes(64), public + stranger, other + signature, signature + public):
        refused(meter, sent.replace(key_info=AgreedKey(b"\1", data)).encode(), (Forged, Malformed))
    # An old signed ephemeral around a new message: the key is not the one it is sealed with.
    later = GeneralCiphering.decode(by(client, "one-pass"))
    refused(meter, later.replace(key_info=info).encode(), Forged)


@pytest.mark.parametrize("point", ["zero", "off the curve", "of P-384"])
def test_D05_a_signed_point_that_is_none(point: str) -> None:
    client, meter = both()
    public = {
        "zero": bytes(64),
        "off the curve": bytes(63) + b"\1",
        "of P-384": AgreementKey.generate(curve("P-384")).public.octets[:64],
    }[point]
    key = client.setup.signing_key()
    sent = GeneralCiphering.decode(by(client, "one-pass"))
    info = AgreedKey(b"\1", public + key.sign(public))
    refused(meter, sent.replace(key_info=info).encode(), (Malformed, Forged))


@pytest.mark.parametrize("form", ["one-pass", "static"])
def test_D08_algorithm_id_and_titles_are_part_of_the_key(form: str) -> None:
    client, meter = both()
    client.options = frozenset({"algorithm_id"})
    printed = by(client, form)
    refused(meter, printed, Forged)
    meter.options = frozenset({"algorithm_id"})
    assert unprotect(meter, printed).apdu == GET
    if form == "static":
        sent = GeneralCiphering.decode(by(client, form))
        refused(meter, sent.replace(transaction_id=b"").encode(), Forged)


def test_D09_suite_2_agrees_on_32_octets() -> None:
    for form in FRESH:
        client, meter = both(2)
        sent = by(client, form, ALL)
        assert unprotect(meter, sent).applied == ALL
        info = GeneralCiphering.decode(sent).key_info
        if isinstance(info, WrappedKey):
            assert len(info.key_ciphered_data) == 40
            short = WrappedKey(0, meter.setup.master.wrap(bytes(range(16))))  # type: ignore[union-attr]
            changed = GeneralCiphering.decode(by(client, form)).replace(key_info=short)
            refused(meter, changed.encode(), MetersealError)


def test_I04_a_wrapped_key_tells_nothing_by_its_error() -> None:
    """Not unwrapped, of another length, or sealed with another key: one answer outside."""
    client, meter = both()
    sent = GeneralCiphering.decode(by(client, "wrapped"))
    master = meter.setup.master
    assert master is not None
    wires = set()
    for blob in (bytes(24), b"", bytes(40), master.wrap(bytes(32)), master.wrap(bytes(16)), bytes(2000)):
        with pytest.raises(MetersealError) as error:
            unprotect(meter, sent.replace(key_info=WrappedKey(0, blob)).encode())
        wires.add(error.value.wire)
    assert wires == {(1, 5)}


# --- nesting, shape ---------------------------------------------------------------------------------------


def test_B10_layers_only_as_the_grammar_has_them() -> None:
    client, meter = both()
    signed = protect(client, GET, SIGNED, Style.PLAIN, (signing(),))
    ciphered = by(client, "identified")
    inner: dict[str, Callable[[bytes], bytes]] = {
        "signed": lambda octets: protect(client, octets, SIGNED, Style.PLAIN, (signing(),)),
        "layer": lambda octets: by(client, "identified", BOTH, octets),
        "general": lambda octets: protect(client, octets, BOTH, Style.GENERAL_GLO),
    }
    for around, octets in (
        ("signed", signed), ("signed", ciphered), ("layer", ciphered), ("general", ciphered), ("layer", b""),
        ("layer", b"\x60\x00"), ("general", b"\x61\x00"), ("signed", b"\xe0\x00"), ("signed", b""),
        ("signed", protect(client, GET, BOTH, Style.GLO)), ("layer", protect(client, GET, BOTH, Style.GLO)),
    ):  # fmt: skip
        refused(meter, inner[around](octets), Malformed)
    deep = GET
    for depth in range(50):
        deep = inner["signed" if depth % 2 else "general"](deep)
        if depth >= 2:
            refused(meter, deep, MetersealError)


def test_B07_the_key_set_bit_and_other_suites_in_a_layer() -> None:
    client, meter = both()
    sent = GeneralCiphering.decode(by(client, "identified"))
    content = sent.ciphered_content
    for sc in range(256):
        if sc != content[0]:
            changed = sent.replace(ciphered_content=bytes((sc,)) + content[1:]).encode()
            if sc in (0x01, 0x21):
                continue  # nothing claims to be verified: what comes out is nobody's word
            refused(meter, changed, MetersealError)
    meter.minimum = BOTH
    for sc in (0x01, 0x21):
        refused(meter, sent.replace(ciphered_content=bytes((sc,)) + content[1:]).encode(), TooWeak)


def test_bounded_fields_and_no_negotiation() -> None:
    client, meter = both()
    long = by(client, "identified", transaction=bytes(65))
    refused(meter, long, TooLarge)
    assert unprotect(meter, by(client, "identified", transaction=bytes(64))).apdu == GET
    meter.general = False
    for kind, sent in {
        "general-ciphering": by(client, "one-pass"),
        "general-signing": protect(client, GET, SIGNED, Style.PLAIN),
        "general-glo-ciphering": protect(client, GET, BOTH, Style.GENERAL_GLO),
    }.items():
        refused(meter, sent, Unsupported)
        with pytest.raises(Unsupported, match=f"^{kind}: general protection was not negotiated"):
            unprotect(meter, sent)


def test_suite_0_has_no_curve_keys() -> None:
    client, meter = both(0)
    for form in ("one-pass", "static"):
        with pytest.raises(UnknownKey):
            by(client, form)
    with pytest.raises(UnknownKey):
        protect(client, GET, SIGNED, Style.PLAIN)
    client.setup.signing = SigningKey.generate(curve("P-256"))
    refused(meter, protect(client, GET, SIGNED, Style.PLAIN), UnknownKey)

"""Layers both ways: what one end makes the other opens, and nobody else anything else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.apdu.general import GeneralCiphering
from meterseal.errors import (
    CounterExhausted,
    Forged,
    MetersealError,
    Replayed,
    TooWeak,
    UnknownKey,
    Unsupported,
)
from meterseal.keys.counters import SendCounter
from meterseal.security import AUTHENTICATED, ENCRYPTED, SIGNED, Style, protect, unprotect
from meterseal.security.layers import CIPHERING, SIGNING, Layers, answered, overhead
from meterseal.security.packing import COMPRESSION
from meterseal.security.protect import protecting, unprotecting
from meterseal.security.steps import settle
from tests.security.keys import in_use
from tests.security.parties import (
    ALL,
    BOTH,
    CLIENT,
    FRESH,
    GET,
    METER,
    MIRRORED,
    SIGN,
    STRANGER,
    both,
    by,
    ciphering,
    refused,
    signing,
)

SET = bytes.fromhex("C10181000800000100 00FF02001100".replace(" ", ""))

plain_apdus = st.builds(
    lambda tag, rest: bytes((tag,)) + rest, st.sampled_from([0xC0, 0xC1, 0xC3, 0xC4]), st.binary(max_size=400)
)


# --- round trips ------------------------------------------------------------------------------------


@given(
    plain_apdus,
    st.sampled_from(
        [AUTHENTICATED, ENCRYPTED, BOTH, SIGNED | BOTH, SIGNED | AUTHENTICATED, SIGNED | ENCRYPTED]
    ),
    st.sampled_from(MIRRORED),
    st.sampled_from([0, 1, 2]),
    st.binary(max_size=20),
    st.sampled_from([None, *COMPRESSION]),
)
def test_what_one_end_makes_the_other_opens_and_mirrors(
    apdu: bytes, applied: int, form: str, suite_id: int, transaction: bytes, compression: str | None
) -> None:
    if not suite_id:
        applied, form = (
            applied & BOTH or BOTH,
            form if form in ("absent", "identified", "wrapped") else "absent",
        )
    packing = None if compression is None else COMPRESSION[compression]
    client, meter = both(suite_id, compression=packing)
    layers = (ciphering(form, transaction), signing(transaction))
    sent = protect(client, apdu, applied, Style.LAYERED, layers)
    assert GeneralCiphering.decode(sent).encode() == sent
    opened = unprotect(meter, sent)
    assert (opened.apdu, opened.applied, opened.style) == (apdu, applied, Style.LAYERED)
    assert len(sent) <= len(apdu) + overhead(layers, client.setup.suite)
    kinds = [CIPHERING] + [SIGNING] * bool(applied & SIGNED)
    assert [layer.kind for layer in opened.layers] == kinds
    assert opened.origin == (CLIENT if applied & SIGNED else None)
    for layer in opened.layers:
        assert (layer.originator, layer.recipient, layer.transaction_id) == (CLIENT, METER, transaction)
    answer = protect(meter, b"\xc4" + apdu, applied, opened.style, answered(opened.layers))
    back = unprotect(client, answer)
    assert (back.apdu, back.applied) == (b"\xc4" + apdu, applied)
    assert [(one.kind, one.form, one.originator, one.transaction_id) for one in back.layers] == [
        (one.kind, one.form, METER, transaction) for one in opened.layers
    ]


@pytest.mark.parametrize("style", [Style.GLO, Style.DED, Style.GENERAL_GLO, Style.GENERAL_DED])
@pytest.mark.parametrize("suite_id", [1, 2])
def test_signed_inside_what_the_association_ciphers(style: Style, suite_id: int) -> None:
    """A service-specific form cannot carry a signed APDU: the general form with the same key does."""
    client, meter = both(suite_id)
    for end in (client, meter):
        end.set_dedicated(bytes(range(9, 9 + end.setup.suite.key_length)))
    sent = protect(client, GET, ALL, style, (signing(),))
    assert sent[0] == (0xDC if "DED" in style.name else 0xDB)
    opened = unprotect(meter, sent)
    assert (opened.apdu, opened.applied, opened.style) == (GET, ALL, style.carrier)
    assert unprotect(client, protect(meter, GET, ALL, opened.style, answered(opened.layers))).applied == ALL


def test_signed_and_nothing_else() -> None:
    client, meter = both()
    sent = protect(client, GET, SIGNED, Style.PLAIN, (signing(),))
    assert sent[0] == 0xDF
    opened = unprotect(meter, sent)
    assert (opened.apdu, opened.applied, opened.style) == (GET, SIGNED, Style.PLAIN)


def test_a_layer_kept_without_protection() -> None:
    """Rule 2 of the answers: SC 01, no key, no tag; taken only where nothing is asked for (security 2, 7)."""
    client, meter = both()
    kept = protect(meter, GET, 0, Style.LAYERED, (ciphering("one-pass"),))
    assert GeneralCiphering.decode(kept).encode() == kept
    opened = unprotect(client, kept)
    assert (opened.apdu, opened.applied, opened.layers[0].sc) == (GET, 0, 0x01)
    client.minimum = AUTHENTICATED
    refused(client, kept, TooWeak)


def test_the_curve_work_is_handed_out_and_nothing_else() -> None:
    client, meter = both()
    plain_ways = [
        (Style.GLO, BOTH, ()),
        (Style.GENERAL_GLO, BOTH, ()),
    ]
    for style, applied, layers in plain_ways:
        made = protecting(client, GET, applied, style, layers)
        assert isinstance(made, bytes)
        assert not hasattr(unprotecting(meter, made), "send")
    for form, jobs in (("identified", 0), ("wrapped", 0), ("one-pass", 1), ("static", 1)):
        for signed in (0, SIGNED):
            steps = protecting(client, GET, BOTH | signed, Style.LAYERED, (ciphering(form), signing()))
            assert not isinstance(steps, bytes)
            made, count = count_jobs(steps)
            assert count == jobs + bool(signed)
            opened, count = count_jobs(unprotecting(meter, made))
            assert opened.applied == BOTH | signed
            assert count == jobs + bool(signed)


def count_jobs(steps: Any) -> tuple[Any, int]:
    count, given = 0, None
    try:
        while True:
            job = steps.send(given)
            given = job()
            count += 1
    except StopIteration as done:
        return done.value, count


def test_two_copies_under_way_at_once_are_taken_once() -> None:
    """Between check and commit other associations go on: the check is made again."""
    for form in ("identified", *FRESH, "general"):
        client, meter = both()
        sent = (
            by(client, form, ALL)
            if form != "general"
            else protect(client, GET, ALL, Style.GENERAL_GLO, (signing(),))
        )
        first, second = unprotecting(meter, sent), unprotecting(meter, sent)
        assert not hasattr(first, "apdu")
        jobs = [next(first), next(second)]  # type: ignore[arg-type]
        results = []
        for steps, job in zip((first, second), jobs, strict=True):
            try:
                result = job()
                while True:
                    result = steps.send(result)()  # type: ignore[union-attr]
            except StopIteration as done:
                results.append(done.value.applied)
            except Replayed:
                results.append("replayed")
        assert results == [ALL, "replayed"], form


def test_a_failing_job_ends_the_steps() -> None:
    client, meter = both()
    meter.setup.directory.signing[CLIENT] = SIGN[1, STRANGER].public  # type: ignore[attr-defined]
    with pytest.raises(Forged):
        settle(unprotecting(meter, by(client, "one-pass")))
    assert meter.setup.fresh.rx.lowest == 0


# --- counters, replay -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", MIRRORED)
def test_D07_the_same_message_again(form: str) -> None:
    client, meter = both()
    for applied in (AUTHENTICATED, BOTH, ALL):
        sent = by(client, form, applied)
        assert unprotect(meter, sent).apdu == GET
        refused(meter, sent, Replayed)


@pytest.mark.parametrize("form", FRESH)
def test_D07_a_fresh_key_with_an_old_counter(form: str) -> None:
    """The peer begins anew with each key: refused, unless it is known for that."""
    client, meter = both()
    client.setup.fresh.tx = SendCounter(0, 10)
    assert unprotect(meter, by(client, form)).counter == 0
    client.setup.fresh.tx = SendCounter(0, 10)
    again = by(client, form, transaction=b"another")
    refused(meter, again, Replayed)
    meter.options = frozenset({"fresh_key_any_counter"})
    assert unprotect(meter, again).counter == 0
    refused(meter, again, Replayed)


def test_D07_one_transaction_of_static_keys_goes_on_upwards() -> None:
    client, meter = both()
    meter.options = frozenset({"fresh_key_any_counter"})
    frames = [by(client, "static") for _ in range(3)]
    assert unprotect(meter, frames[0]).apdu == GET
    assert unprotect(meter, frames[2]).apdu == GET
    refused(meter, frames[1], Replayed)
    # One-pass and wrapped keys come once, whatever the counter.
    for form in ("one-pass", "wrapped"):
        sent = GeneralCiphering.decode(by(client, form))
        assert unprotect(meter, sent.encode()).apdu == GET
        higher = sent.replace(ciphered_content=sent.ciphered_content[:1] + b"\0\1\0\0" + b"x" * 30)
        refused(meter, higher.encode(), Replayed)


def test_D07_a_signed_message_alone_comes_once() -> None:
    client, meter = both()
    sent = protect(client, GET, SIGNED, Style.PLAIN, (signing(),))
    assert unprotect(meter, sent).apdu == GET
    refused(meter, sent, Replayed)
    # The same within encryption that anybody could repeat.
    only_encrypted = protect(client, GET, SIGNED | ENCRYPTED, Style.GENERAL_GLO, (signing(b"2"),))
    assert unprotect(meter, only_encrypted).applied == SIGNED | ENCRYPTED
    refused(meter, only_encrypted, Replayed)
    # A signature does not tell when: where authentication is asked for it is not enough.
    meter.minimum = AUTHENTICATED
    refused(meter, protect(client, GET, SIGNED, Style.PLAIN, (signing(b"3"),)), TooWeak)


def test_counters_go_out_once_whatever_the_layer() -> None:
    """Of the global key for all that is under it, of their own for all fresh keys together."""
    client, meter = both()
    lasting: list[int] = []
    fresh: list[int] = []
    for form in MIRRORED:
        (fresh if form in FRESH else lasting).append(unprotect(meter, by(client, form)).counter)
        lasting.append(unprotect(meter, protect(client, GET, BOTH, Style.GLO)).counter)
    assert lasting == list(range(100, 100 + len(lasting)))
    assert fresh == list(range(len(FRESH)))
    client.setup.fresh.tx = SendCounter(0xFFFF_FFFF, 0xFFFF_FFFF)
    with pytest.raises(CounterExhausted):
        by(client, "one-pass")
    assert by(client, "identified")


def test_D07_a_new_global_key_does_not_let_old_messages_in_again() -> None:
    """What was agreed on before the GUEK changed would open under its key afterwards as well."""
    client, meter = both()
    old = [by(client, form) for form in FRESH]
    for octets in old:
        assert unprotect(meter, octets).apdu == GET
    ak = bytes(range(0x20, 0x30))
    for end in (client, meter):
        end.setup.unicast = in_use(bytes(range(0x70, 0x80)), ak, 0)
    for octets in old:
        refused(meter, octets, Replayed)
    assert unprotect(meter, by(client, "one-pass")).apdu == GET


def test_C02_a_forged_high_counter_moves_nothing() -> None:
    for form in MIRRORED:
        client, meter = both()
        sent = GeneralCiphering.decode(by(client, form))
        content = sent.ciphered_content
        for counter in (b"\x7f\xff\xff\xff", b"\xff\xff\xff\xfe", b"\xff\xff\xff\xff"):
            forged = sent.replace(ciphered_content=content[:1] + counter + content[5:])
            refused(meter, forged.encode(), (Forged, Replayed))
        assert unprotect(meter, sent.encode()).apdu == GET


# --- options ------------------------------------------------------------------------------------------


def test_without_an_authentication_key_by_option() -> None:
    options = frozenset({"ak_in_use"})
    for form in FRESH:
        client, meter = both()
        client.options = options
        sent = by(client, form)
        refused(meter, sent, Forged)
        meter.options = options
        assert unprotect(meter, sent).apdu == GET


def test_content_length_by_option() -> None:
    client, meter = both()
    client.options = frozenset({"content_length_signed"})
    sent = protect(client, GET, ALL, Style.GENERAL_GLO, (signing(),))
    refused(meter, sent, Forged)
    meter.options = client.options
    assert unprotect(meter, sent).applied == ALL


def test_empty_header_fields_by_option() -> None:
    client, meter = both()
    client.options = frozenset({"empty_header_fields"})
    layers = (ciphering("bare"), signing())
    sent = protect(client, GET, SIGNED | AUTHENTICATED, Style.LAYERED, layers)
    assert sent.startswith(bytes.fromhex("DD0000000000 00".replace(" ", "")))
    refused(meter, sent, UnknownKey)
    meter.options = client.options
    opened = unprotect(meter, sent)
    assert (opened.apdu, opened.applied) == (GET, SIGNED | AUTHENTICATED)
    back = protect(meter, GET, opened.applied, opened.style, answered(opened.layers))
    assert unprotect(client, back).applied == SIGNED | AUTHENTICATED
    with pytest.raises(Unsupported):
        protect(client, GET, ALL, Style.LAYERED, layers)
    # Without a signed part nothing says whose it is.
    refused(meter, protect(client, GET, AUTHENTICATED, Style.LAYERED, layers), MetersealError)


@pytest.mark.parametrize("suite_id", [0, 1, 2])
def test_what_layers_add_is_known_beforehand_to_the_octet(suite_id: int) -> None:
    """The most that they add is what they do add, with the longest key-info and long contents."""
    client, _ = both(suite_id)
    ciphered, signed = (
        layer._replace(date_time=bytes(12), other_information=b"more")
        for layer in (ciphering("one-pass" if suite_id else "wrapped"), signing(b"12"))
    )
    cases: list[tuple[Layers, int]] = [((ciphered,), BOTH)]
    if suite_id:
        cases += [((signed,), SIGNED), ((ciphered, signed), ALL)]
    apdu = b"\xc4" + bytes(0xFFFF)
    for layers, applied in cases:
        style = Style.LAYERED if ciphered in layers else Style.PLAIN
        added = len(protect(client, apdu, applied, style, layers)) - len(apdu)
        more = overhead(layers, client.setup.suite) - added
        spare = 5 if len(layers) == 2 or not suite_id else 3  # lengths below 128 take one octet
        assert 0 <= more <= spare, (layers, added)


@pytest.mark.parametrize("form", MIRRORED)
def test_long_contents_of_a_layer_are_compressed_where_that_was_agreed(form: str) -> None:
    client, meter = both(compression=COMPRESSION["packet-default"])
    long = b"\xc4" + b"A" * 400
    sent = by(client, form, ALL, long)
    assert len(sent) < len(long)
    opened = unprotect(meter, sent)
    assert (opened.apdu, opened.layers[0].sc & 0x80) == (long, 0x80)


@pytest.mark.parametrize("form", FRESH)
def test_D07_no_lasting_key_and_no_floor_where_counters_say_nothing(form: str) -> None:
    client, meter = both(options=frozenset({"fresh_key_any_counter"}))
    for applied in (BOTH, ALL):
        opened = unprotect(meter, by(client, form, applied, transaction=b"%d" % applied))
        assert opened.key is None and opened.lowest_before == 0
    signed = unprotect(meter, protect(client, GET, SIGNED, Style.PLAIN, (signing(b"s"),)))
    assert signed.key is None and signed.lowest_before == 0


@pytest.mark.parametrize("applied", [ALL, SIGNED | AUTHENTICATED, SIGNED | ENCRYPTED])
def test_D07_the_counter_around_a_signed_message_is_taken_where_a_tag_holds_it(applied: int) -> None:
    """By the floor of the lasting key; without a tag anybody may have chosen it: it moves nothing."""
    client, meter = both()
    key = meter.setup.key()
    sent = protect(client, GET, applied, Style.GENERAL_GLO, (signing(),))
    opened = unprotect(meter, sent)
    assert key.rx.lowest == (opened.counter + 1 if applied & AUTHENTICATED else 0)
    refused(meter, sent, Replayed)

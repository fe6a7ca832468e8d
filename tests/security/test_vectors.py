"""Published vectors through the two verbs and the sign-on proofs; origins in the test ids."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal.apdu import ciphered
from meterseal.apdu.ciphered import DEDICATED, FORMS, SC_BROADCAST
from meterseal.crypto import GcmKey, suite
from meterseal.errors import AuthenticationFailed, Forged, Replayed, UnknownKey
from meterseal.keys.counters import ReceiveCounter, SendCounter
from meterseal.security import (
    MECHANISMS,
    Context,
    Handshake,
    KeyInUse,
    Opened,
    SecuritySetup,
    Style,
    protect,
    unprotect,
)
from meterseal.security.protection import of_control, style_of
from tests.vectors import load, vector

Row = dict[str, Any]
PLAIN = Opened(b"", 0, Style.PLAIN)


def ids(row: Row) -> str:
    return f"{row['origin']}-{row['id']}"


def octets(row: Row, name: str) -> bytes:
    return bytes.fromhex(row["inputs"].get(name, ""))


def a_context(row: Row, sc: int, counter: int, title: bytes | None, *, own: bool) -> Context:
    """A context in which the keys of a vector are all there are."""
    key = KeyInUse(
        GcmKey(octets(row, "ek"), octets(row, "ak")),
        SendCounter(counter, counter + 1),
        ReceiveCounter(counter),
    )
    titles = (title or b"", None) if own else (b"somebody", title)
    setup = SecuritySetup(suite(sc & 0x0F), *titles, unicast=key, broadcast=key)
    return Context(setup, titles[1], dedicated=key, general=True, serving=True)


@pytest.mark.parametrize("row", load("protect"), ids=ids)
def test_protect(row: Row) -> None:
    sc, ic = octets(row, "sc")[0], int.from_bytes(octets(row, "ic"), "big")
    title, plain = octets(row, "system_title"), octets(row, "plaintext")
    expected = bytes.fromhex(row["expected"]["apdu"])
    style = style_of(FORMS[expected[0]])
    made = protect(a_context(row, sc, ic, title, own=True), plain, of_control(sc), style)
    if sc & SC_BROADCAST:
        # The same but for the key-set bit, which nobody here sends and which is authenticated.
        assert made[:2] == expected[:2]
        assert made[2] | SC_BROADCAST == expected[2]
        return
    assert made == expected


@pytest.mark.parametrize("row", load("protect"), ids=ids)
def test_what_was_protected_opens(row: Row) -> None:
    sc, ic = octets(row, "sc")[0], int.from_bytes(octets(row, "ic"), "big")
    apdu = bytes.fromhex(row["expected"]["apdu"])
    context = a_context(row, sc, ic, octets(row, "system_title"), own=False)
    if sc & SC_BROADCAST:
        with pytest.raises(UnknownKey, match="set- and action-requests only"):
            unprotect(context, apdu)
        return
    opened = unprotect(context, apdu)
    assert (opened.apdu, opened.applied, opened.counter) == (octets(row, "plaintext"), of_control(sc), ic)
    assert opened.key is not None
    assert opened.key.rx.lowest == (ic + 1 if sc & 0x10 else ic)


def field_frames() -> list[tuple[Row, bytes]]:
    """Received APDUs: as they are, and joined from M-Bus frames."""
    frames = [(row, octets(row, "apdu")) for row in load("unprotect")]
    for row in load("mbus"):
        first, second = (bytes.fromhex(frame) for frame in row["inputs"]["frames"])
        frames.append((row, first[9:-2] + second[9:-2]))
    return frames


@pytest.mark.parametrize(("row", "apdu"), field_frames(), ids=[ids(row) for row, _ in field_frames()])
def test_unprotect(row: Row, apdu: bytes) -> None:
    message = ciphered.parse(apdu)
    title = octets(row, "system_title") or message.title
    context = a_context(row, message.sc, message.counter, title, own=False)
    opened = unprotect(context, apdu)
    assert opened.apdu.hex().upper() == row["expected"]["plaintext"]
    assert opened.style.key_set == message.form.key_set
    # And back: the same octets from the same key, title and counter.
    sender = a_context(row, message.sc, message.counter, title, own=True)
    assert protect(sender, opened.apdu, opened.applied, opened.style) == apdu
    # A second time it is a replay, where a tag proves it.
    if opened.applied & 1:
        with pytest.raises(Replayed) as caught:
            unprotect(context, apdu)
        assert caught.value.lowest_acceptable == message.counter + 1


@pytest.mark.parametrize(("row", "apdu"), field_frames(), ids=[ids(row) for row, _ in field_frames()])
def test_swapped_keys_open_nothing(row: Row, apdu: bytes) -> None:
    message = ciphered.parse(apdu)
    if not row["inputs"].get("ak") or row["inputs"]["ak"] == row["inputs"]["ek"]:
        return
    swapped = {**row, "inputs": {**row["inputs"], "ek": row["inputs"]["ak"], "ak": row["inputs"]["ek"]}}
    title = octets(row, "system_title") or message.title
    with pytest.raises(Forged):
        unprotect(a_context(swapped, message.sc, message.counter, title, own=False), apdu)


# --- proofs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", load("hls_gmac"), ids=ids)
def test_hls_gmac(row: Row) -> None:
    sc, ic = octets(row, "sc")[0], int.from_bytes(octets(row, "ic"), "big")
    title, challenge = octets(row, "system_title"), octets(row, "challenge")
    mechanism = MECHANISMS[5]
    prover = a_context(row, sc, ic, title, own=True).setup
    assert mechanism.prove is not None
    assert mechanism.verify is not None
    proof = mechanism.prove(Handshake(prover, title, b"", b"", challenge))
    assert proof.hex().upper() == row["expected"]["f"]
    verifier = a_context(row, sc, ic, title, own=False).setup
    mechanism.verify(Handshake(verifier, b"somebody", title, challenge), proof, PLAIN)
    with pytest.raises(Replayed):
        mechanism.verify(Handshake(verifier, b"somebody", title, challenge), proof, PLAIN)
    other = a_context(row, sc, ic, title, own=False).setup
    with pytest.raises(AuthenticationFailed):
        mechanism.verify(Handshake(other, b"somebody", title, challenge + b"\0"), proof, PLAIN)
    assert other.key().rx.lowest == ic


@pytest.mark.parametrize("row", load("hls_hash"), ids=ids)
def test_hls_hash(row: Row) -> None:
    secret, ctos, stoc = (octets(row, name) for name in ("secret", "ctos", "stoc"))
    client_title, meter_title = octets(row, "st_c"), octets(row, "st_s")
    setup = SecuritySetup(suite(0), b"")
    client = Handshake(setup, client_title, meter_title, ctos, stoc, secret)
    meter = Handshake(setup, meter_title, client_title, stoc, ctos, secret)
    mechanism = MECHANISMS[row["inputs"]["mechanism"]]
    assert mechanism.prove is not None
    assert mechanism.verify is not None
    assert mechanism.prove(client) == bytes.fromhex(row["expected"]["pass3"])
    assert mechanism.prove(meter) == bytes.fromhex(row["expected"]["pass4"])
    mechanism.verify(meter, bytes.fromhex(row["expected"]["pass3"]), PLAIN)
    mechanism.verify(client, bytes.fromhex(row["expected"]["pass4"]), PLAIN)
    for liar, verifier in (("pass4", meter), ("pass3", client)):
        with pytest.raises(AuthenticationFailed):
            mechanism.verify(verifier, bytes.fromhex(row["expected"][liar]), PLAIN)


def test_a_recorded_dedicated_key_comes_out_of_its_initiate() -> None:
    """The capture: the key inside the glo-initiateRequest opens the ded- frames that follow it."""
    from meterseal.apdu.initiate import InitiateRequest

    row = vector("gosem-glo-initiate-request")
    message = ciphered.parse(octets(row, "apdu"))
    context = a_context(row, message.sc, message.counter, octets(row, "system_title"), own=False)
    context.dedicated = None
    request = InitiateRequest.decode(unprotect(context, octets(row, "apdu")).apdu)
    assert request.dedicated_key is not None
    context.set_dedicated(request.dedicated_key)
    later = vector("gosem-ded-get-request")
    opened = unprotect(context, octets(later, "apdu"))
    assert opened.apdu.hex().upper() == later["expected"]["plaintext"]
    assert opened.style.key_set == DEDICATED

"""Third parties: whose layers are whose, at the meter and at the client that carries (security 7)."""

from __future__ import annotations

import pytest

from meterseal.apdu.general import GeneralCiphering, GeneralSigning
from meterseal.errors import Forged, MetersealError
from meterseal.security import AUTHENTICATED, ENCRYPTED, SIGNED, Context, Style, protect
from meterseal.security.layers import CIPHERING, SIGNING, Layer
from meterseal.security.protection import policy_bits
from meterseal.security.steps import settle
from meterseal.security.third import nests, of_others, open_third
from tests.security.parties import (
    ALL,
    BOTH,
    CLIENT,
    GET,
    METER,
    STRANGER,
    TRANSACTION,
    both,
    ciphering,
    party,
    signing,
)

LAYERS = (ciphering("static"), signing())


def meter(asked: int = 0) -> Context:
    """The client's meter, where the stranger is a third party of whom the policy asks this."""
    made = party(METER, CLIENT)
    third = party(METER, STRANGER)
    third.setup.policy = policy_bits(asked, 0)
    made.parties = {STRANGER: third}
    return made


def sent(applied: int = ALL, layers: tuple[Layer, ...] = LAYERS) -> bytes:
    return protect(party(STRANGER, METER), GET, applied, Style.LAYERED, layers)


def test_at_the_meter_it_is_of_those_that_it_knows_and_never_of_its_client() -> None:
    end = meter()
    assert of_others(end, sent())
    assert not of_others(end, protect(party(CLIENT, METER), GET, BOTH, Style.LAYERED, LAYERS))
    end.parties = {CLIENT: end}
    assert not of_others(end, sent())
    assert not of_others(end, protect(party(CLIENT, METER), GET, BOTH, Style.LAYERED, LAYERS))


@pytest.mark.parametrize(("recipient", "other"), [(STRANGER, True), (CLIENT, False), (b"", False)])
def test_at_a_client_it_is_for_whom_it_names(recipient: bytes, other: bool) -> None:
    client = party(CLIENT, METER, carrying=True)
    octets = GeneralCiphering.decode(sent()).replace(recipient_system_title=recipient).encode()
    assert of_others(client, octets) is other


def test_only_a_ciphered_layer_nests_and_only_where_somebody_may_be_inside() -> None:
    for tag in (0xDB, 0xDC, 0xDF, 0xC0):
        assert not nests(meter(), tag)
    assert nests(meter(), 0xDD) is True
    assert nests(party(CLIENT, METER, carrying=True), 0xDD) is True
    assert nests(party(METER, CLIENT), 0xDD) is False


@pytest.mark.parametrize("asked", [0, AUTHENTICATED, BOTH, ALL])
@pytest.mark.parametrize("applied", [BOTH, ALL])
def test_what_its_policy_asks_for(asked: int, applied: int) -> None:
    if asked & ~applied:
        with pytest.raises(Forged, match="less than authenticated"):
            settle(open_third(meter(asked), sent(applied)))
        return
    third = settle(open_third(meter(asked), sent(applied)))
    assert (third.apdu, third.applied, third.title) == (GET, applied, STRANGER)
    assert [layer.kind for layer in third.layers] == [CIPHERING, SIGNING][: 1 + bool(applied & SIGNED)]
    assert third.guard.key is None and third.guard.lowest == 0


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (lambda: sent(AUTHENTICATED), "only authenticated, a third party's layer is authenticated.encrypted"),
        (lambda: sent(ENCRYPTED), "only encrypted, a third"),
        (lambda: sent(ALL, (ciphering("static"), signing(b"another"))), "another exchange"),
        (lambda: protect(party(CLIENT, METER), GET, ALL, Style.LAYERED, LAYERS), "4845533031 is no third"),
        (lambda: of_nobody(), "nobody is no third"),
        (lambda: inside(b""), "nothing inside"),
        (lambda: inside(b"\xdb\0\0"), "may not be inside"),
        (lambda: inside(b"\x60\0"), "may not be inside"),
        (lambda: inside(for_everybody()), "for nobody, not for this end"),
    ],
    ids=["authenticated", "encrypted", "exchange", "stranger", "nobody", "empty", "ciphered", "acse", "all"],
)  # fmt: skip
def test_E03_E05_whatever_is_wrong_is_forged_and_moves_nothing(octets: object, text: str) -> None:
    end = meter()
    with pytest.raises(Forged, match=f"layers of a third party: .*{text}"):
        settle(open_third(end, octets()))  # type: ignore[operator]
    assert end.parties[STRANGER].setup.fresh.rx.lowest == 0


def of_nobody() -> bytes:
    return GeneralCiphering.decode(sent()).replace(originator_system_title=b"").encode()


def inside(apdu: bytes) -> bytes:
    """Sealed by the third party, whatever it may be."""
    return protect(party(STRANGER, METER), apdu, BOTH, Style.LAYERED, LAYERS[:1])


def for_everybody() -> bytes:
    """Signed by the third party, for nobody by name."""
    key = party(STRANGER, METER).setup.signing_key()
    made = GeneralSigning(TRANSACTION, STRANGER, b"", b"", b"", GET, b"")
    return made.replace(signature=key.sign(made.signed(content_length=True))).encode()


def test_its_counter_is_judged_when_it_is_committed() -> None:
    end = meter()
    octets = sent()
    first, second = (settle(open_third(end, octets)) for _ in range(2))
    for step in (first.guard.check, second.guard.check, first.guard.commit):
        step()
    with pytest.raises(MetersealError):
        second.guard.check()
    assert both()[1].setup.fresh.rx.lowest == 0

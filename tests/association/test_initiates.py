"""Initiates in general-ciphering under the GUEK, and signed besides: at both ends, and at the release."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal.apdu.acse import Aare, Rlre, Rlrq
from meterseal.apdu.initiate import InitiateResponse
from meterseal.association import Associated, Failed, Refusal, State
from meterseal.errors import Forged, TooWeak, UnknownKey
from meterseal.security import AUTHENTICATED, ENCRYPTED, SIGNED, Opened, Style, protect, unprotect
from meterseal.security.layers import CIPHERING, SIGNING, Layer
from tests.association.pair import CLIENT_TITLE, DEK, METER_TITLE, Pair, replies
from tests.association.test_layers import SEED, pair_in
from tests.association.test_signon import INITIATE, good
from tests.wired import spoilt

BOTH = AUTHENTICATED | ENCRYPTED
FORMS = pytest.mark.parametrize("form", ["absent", "identified"])


def ciphered(form: str, originator: bytes = CLIENT_TITLE, recipient: bytes = METER_TITLE) -> Layer:
    return Layer(CIPHERING, originator, recipient, SEED, form)


def sent(pair: Pair, octets: bytes, applied: int, *layers: Layer) -> bytes:
    """As the client would protect it."""
    style = Style.LAYERED if any(one.kind == CIPHERING for one in layers) else Style.GENERAL_GLO
    return protect(pair.client.context, octets, applied, style, layers)


def opened_at(pair: Pair, octets: bytes | None) -> Opened:
    """As the client would open an answer."""
    context = pair.client.context
    context.general, context.peer_title = True, METER_TITLE
    return unprotect(context, octets or b"")


@FORMS
@pytest.mark.parametrize("applied", [BOTH, BOTH | SIGNED])
def test_the_meter_answers_in_the_same_layer(form: str, applied: int) -> None:
    """Key-info, transaction-id and protection of the request; a dedicated key may come so as well."""
    pair = pair_in()
    octets = INITIATE.replace(dedicated_key=DEK).encode()
    aarq = good(pair).replace(user_information=sent(pair, octets, applied, ciphered(form)))
    (reply,) = replies(pair.to_meter(aarq.encode()))
    answer = Aare.decode(reply)
    assert answer.result == 0
    found = opened_at(pair, answer.user_information)
    assert found.apdu[:1] == InitiateResponse.tag and found.applied == applied
    assert [(one.kind, one.transaction_id, one.form) for one in found.layers] == [
        (CIPHERING, SEED, form), *([(SIGNING, SEED, "")] if applied & SIGNED else [])
    ]  # fmt: skip
    assert pair.server.context.dedicated is not None


def test_a_signed_initiate_is_answered_in_its_exchange() -> None:
    pair = pair_in()
    signed = Layer(SIGNING, CLIENT_TITLE, METER_TITLE, SEED)
    aarq = good(pair).replace(user_information=sent(pair, INITIATE.encode(), BOTH | SIGNED, signed))
    (reply,) = replies(pair.to_meter(aarq.encode()))
    found = opened_at(pair, Aare.decode(reply).user_information)
    assert [one.transaction_id for one in found.layers] == [SEED]


@pytest.mark.parametrize("form", ["wrapped", "one-pass", "static", "identified"])
def test_F24_no_curve_and_no_other_key_before_the_sign_on(form: str) -> None:
    """Refused by its look, with the one answer to all that depends on keys; weak, spoilt or cut too."""
    pair = pair_in()
    aarq, lasting = good(pair), form == "identified"
    whole = sent(pair, INITIATE.encode(), AUTHENTICATED if lasting else BOTH, ciphered(form))
    for octets in (whole, spoilt(whole), whole[:-1], whole[:3]):
        refusal, reply = pair.to_meter(aarq.replace(user_information=octets).encode())
        answer = Aare.decode(replies([reply])[0])
        assert (answer.result, answer.user_diagnostic, answer.user_information) == (1, 1, None)
        assert pair.server.state is State.IDLE and isinstance(refusal, Refusal)
        if octets is whole:
            assert isinstance(refusal.error, TooWeak if lasting else UnknownKey)


@FORMS
def test_a_release_comes_and_goes_in_the_same_layer(form: str) -> None:
    pair = pair_in()
    assert pair.run(pair.client.associate(bytes(range(16)), SEED)) == [Associated(None)]
    first = sent(pair, INITIATE.encode(), AUTHENTICATED, ciphered(form))
    (reply,) = replies(pair.to_meter(Rlrq(0, first).encode()))
    assert Rlre.decode(reply).reason == 1, "less protection than the AARQ had"
    (reply,) = replies(pair.to_meter(Rlrq(0, sent(pair, INITIATE.encode(), BOTH, ciphered(form))).encode()))
    answer = Rlre.decode(reply)
    assert answer.reason == 0
    assert opened_at(pair, answer.user_information).layers[0].form == form
    assert pair.server.state is State.IDLE


@pytest.mark.parametrize(("form", "error"), [("absent", None), ("identified", None), ("wrapped", UnknownKey)])
def test_the_client_takes_such_an_answer(form: str, error: type[Exception] | None) -> None:
    pair = pair_in()
    layer = ciphered(form, METER_TITLE, CLIENT_TITLE)

    def layered(octets: bytes, opened: Any, context: Any) -> bytes:
        return protect(context, octets, BOTH, Style.LAYERED, (layer,))

    pair.server._like_initiate = layered  # type: ignore[method-assign]
    found = pair.run(pair.client.associate(bytes(range(16)), SEED))
    if error is None:
        assert found == [Associated(None)]
        return
    assert isinstance(found[0], Failed) and isinstance(found[0].error, error)


@FORMS
def test_B14_the_client_takes_no_answer_that_was_changed(form: str) -> None:
    pair = pair_in()
    layer = ciphered(form, METER_TITLE, CLIENT_TITLE)
    pair.server._like_initiate = lambda octets, opened, context: spoilt(  # type: ignore[method-assign]
        protect(context, octets, BOTH, Style.LAYERED, (layer,))
    )
    found = pair.run(pair.client.associate(bytes(range(16)), SEED))
    assert isinstance(found[0], Failed) and isinstance(found[0].error, Forged)

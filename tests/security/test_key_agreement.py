"""Keys that client and meter agree on by class 64: what is sent, what is believed, what comes of it."""

from __future__ import annotations

import pytest

from meterseal.crypto import SUITES, AgreementKey, SigningKey, curve
from meterseal.errors import Forged, Malformed, Misuse, UnknownKey, Unsupported
from meterseal.keys.kinds import KEK
from meterseal.security.agreement import AS_PRINTED, CORRECTED, EPHEMERAL, Parties, Use, agree
from meterseal.security.key_agreement import agreed, answer, conclusion, offer, offered, question
from tests.security.parties import CLIENT, CURVES, METER, SIGN

PARTIES = Parties(CLIENT, METER)
GUEK = 0


def exchange(suite_id: int, key_id: int, **options: frozenset[str]) -> tuple[bytes, bytes]:
    """The key at the client and at the meter, each from what the other sent."""
    suite = SUITES[suite_id]
    ours, theirs = (AgreementKey.generate(curve(CURVES[suite_id])) for _ in range(2))
    sent = offer(key_id, ours, SIGN[suite_id, CLIENT])
    answered = offer(key_id, theirs, SIGN[suite_id, METER])
    at_meter = offered(suite, key_id, sent, SIGN[suite_id, CLIENT].public)
    at_client = offered(suite, key_id, answered, SIGN[suite_id, METER].public)
    mine = agreed(suite, key_id, ours, at_client, PARTIES, **options)
    return mine, agreed(suite, key_id, theirs, at_meter, PARTIES, **options)


@pytest.mark.parametrize("suite_id", CURVES)
@pytest.mark.parametrize("key_id", [GUEK, 1, 2, KEK])
def test_both_ends_get_the_same_key(suite_id: int, key_id: int) -> None:
    mine, theirs = exchange(suite_id, key_id)
    assert mine == theirs and len(mine) == SUITES[suite_id].key_length
    assert exchange(suite_id, key_id)[0] != mine, "fresh keys each time"


@pytest.mark.parametrize("suite_id", CURVES)
def test_all_keys_of_a_call_are_answered_at_once(suite_id: int) -> None:
    suite, signing = SUITES[suite_id], SIGN[suite_id, METER]
    ours = {i: AgreementKey.generate(curve(CURVES[suite_id])) for i in (GUEK, KEK)}
    items = [(i, offer(i, one, SIGN[suite_id, CLIENT])) for i, one in ours.items()]
    answers, new = answer(suite, items, SIGN[suite_id, CLIENT].public, signing, PARTIES)
    points = {i: offered(suite, i, data, signing.public) for i, data in answers}
    assert new == {i: agreed(suite, i, ours[i], point, PARTIES) for i, point in points.items()}
    assert list(new) == [GUEK, KEK] and new[GUEK] != new[KEK]
    items[1] = (KEK, items[0][1])
    with pytest.raises(Forged):
        answer(suite, items, SIGN[suite_id, CLIENT].public, signing, PARTIES)


@pytest.mark.parametrize("suite_id", CURVES)
@pytest.mark.parametrize("options", [frozenset(), frozenset({"algorithm_id"})])
def test_question_answer_and_conclusion(suite_id: int, options: frozenset[str]) -> None:
    suite, client, meter = SUITES[suite_id], SIGN[suite_id, CLIENT], SIGN[suite_id, METER]
    ephemeral, items = question(suite, (GUEK, KEK), client)
    answers, at_meter = answer(suite, items, client.public, meter, PARTIES, options)
    with pytest.raises(Forged):  # and nothing is agreed on: the ephemeral keys are still there
        conclusion(suite, dict(answers), ephemeral, client.public, PARTIES, options)
    assert conclusion(suite, dict(answers), ephemeral, meter.public, PARTIES, options) == at_meter
    assert list(at_meter) == [GUEK, KEK]


@pytest.mark.parametrize("as_printed_at", ["client", "meter"])
def test_ends_of_different_editions_agree_on_different_keys(as_printed_at: str) -> None:
    """Each end goes by its own `algorithm_id`, in the answer and in the conclusion."""
    suite, client, meter = SUITES[1], SIGN[1, CLIENT], SIGN[1, METER]
    at = {as_printed_at: frozenset({"algorithm_id"})}
    ephemeral, items = question(suite, (GUEK,), client)
    answers, at_meter = answer(suite, items, client.public, meter, PARTIES, at.get("meter", frozenset()))
    at_client = conclusion(
        suite, dict(answers), ephemeral, meter.public, PARTIES, at.get("client", frozenset())
    )
    assert at_client[GUEK] != at_meter[GUEK]


@pytest.mark.parametrize("key_id", [GUEK, KEK])
@pytest.mark.parametrize("options", [frozenset(), frozenset({"algorithm_id"})])
def test_the_key_is_of_its_use_and_form(key_id: int, options: frozenset[str]) -> None:
    """A master key is agreed on for wrapping, all others for GCM; as printed only where the peer wants it."""
    suite, on = SUITES[1], curve("P-256")
    ours, theirs = AgreementKey.generate(on), AgreementKey.generate(on)
    use = Use.WRAP if key_id == KEK else Use.GCM
    form = AS_PRINTED if options else CORRECTED
    expected = agree(suite, EPHEMERAL, theirs, ours.public, PARTIES, use=use, form=form)
    assert agreed(suite, key_id, ours, theirs.public, PARTIES, options) == expected


def test_an_ephemeral_key_serves_once() -> None:
    """Also where nothing came of it."""
    suite, on = SUITES[1], curve("P-256")
    ours, theirs = AgreementKey.generate(on), AgreementKey.generate(on)
    agreed(suite, GUEK, ours, theirs.public, PARTIES)
    with pytest.raises(Misuse):
        agreed(suite, GUEK, theirs, AgreementKey.generate(curve("P-384")).public, PARTIES)
    for spent in (ours, theirs):
        with pytest.raises(UnknownKey, match="destroyed"):
            agreed(suite, GUEK, spent, AgreementKey.generate(on).public, PARTIES)


@pytest.mark.parametrize("suite_id", CURVES)
def test_D20_key_data_has_one_length(suite_id: int) -> None:
    suite = SUITES[suite_id]
    sent = offer(GUEK, AgreementKey.generate(curve(CURVES[suite_id])), SIGN[suite_id, CLIENT])
    assert len(sent) == suite.public_length + suite.signature_length
    for wrong in (b"", sent[:-1], sent + b"\x00", sent[: suite.public_length]):
        with pytest.raises(Malformed, match=f"{len(wrong)} octets: suite {suite_id} has {len(sent)}"):
            offered(suite, GUEK, wrong, SIGN[suite_id, CLIENT].public)


def test_D20_a_signed_key_is_for_one_key_id_by_one_signer() -> None:
    suite = SUITES[1]
    sent = offer(GUEK, AgreementKey.generate(curve("P-256")), SIGN[1, CLIENT])
    for key_id, signer in ((1, SIGN[1, CLIENT]), (GUEK, SIGN[1, METER])):
        with pytest.raises(Forged):
            offered(suite, key_id, sent, signer.public)
    for at in range(0, len(sent), 7):
        spoilt = sent[:at] + bytes((sent[at] ^ 1,)) + sent[at + 1 :]
        with pytest.raises(Forged):
            offered(suite, GUEK, spoilt, SIGN[1, CLIENT].public)


def test_D20_a_signed_point_off_the_curve_is_none() -> None:
    suite, point = SUITES[1], bytes(63) + b"\x01"
    sent = point + SIGN[1, CLIENT].sign(bytes((GUEK,)) + point)
    with pytest.raises(Malformed):
        offered(suite, GUEK, sent, SIGN[1, CLIENT].public)


def test_suite_0_agrees_on_nothing() -> None:
    with pytest.raises(Unsupported):
        offered(SUITES[0], GUEK, b"", SigningKey.generate(curve("P-256")).public)

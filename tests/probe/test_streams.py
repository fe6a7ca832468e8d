"""What a stream teaches the frames that follow: titles, dedicated keys, counters; and what ends that."""

from __future__ import annotations

import pytest

from meterseal import apdu
from meterseal.errors import Replayed
from meterseal.probe import Dissector, Keyring, dissect
from tests.framing.captures import p1_telegram
from tests.probe import samples
from tests.probe.samples import AK, EK, GOSEM_METER, GOSEM_RING, RING, TITLE, glo, of, sealed, wrapped

GET = bytes.fromhex("C001C100080000010000FF0200")
ANSWER = bytes.fromhex("C401C10009020102")
INITIATE_ANSWER = of("gosem-glo-initiate-response")
CLIENT_TITLE = bytes.fromhex("4D534C4845530001")
AARQ = of("aarq-gosem-ciphered")


def aare() -> bytes:
    """The recorded InitiateResponse in an AARE with the meter's title."""
    message = apdu.decode(of("aare-ln-ok"))
    return message.replace(
        responding_ap_title=bytes.fromhex(GOSEM_METER), user_information=INITIATE_ANSWER
    ).encode()


SESSION = wrapped(
    (2, 1, AARQ),
    (1, 2, aare()),
    (2, 1, of("gosem-ded-get-request")),
    (1, 2, of("gosem-ded-get-response")),
    (2, 1, of("rlrq-plain")),
)


def test_a_recorded_session_from_two_keys_alone() -> None:
    found = dissect(SESSION, GOSEM_RING)
    assert [one.error for one in found] == [None] * 5
    assert [one.apdu for one in found] == [
        "aarq",
        "aare",
        "get-request-normal",
        "get-response-normal",
        "rlrq",
    ]
    titles = [one.layers[1]["system_title"] for one in found[:4]]
    assert titles == ["4349520000000001", GOSEM_METER, "4349520000000001", GOSEM_METER]
    assert all(one.layers[1]["verified"] is True for one in found[:4])
    assert found[3].value == {"invoke_id_and_priority": 193, "result": {"data": "07E7020F0311371500800000"}}


def test_dedicated_key_under_user_information() -> None:
    (one,) = dissect(AARQ, GOSEM_RING)
    assert one.value["user_information"]["dedicated_key"] == "5E168412318BA71848C99B2B2AB33294"
    assert one.value["application_context_name"] == "logical-names-with-ciphering"
    assert one.value["mechanism_name"] == "lls"


def test_the_dedicated_key_is_of_its_line_only() -> None:
    other = wrapped((2, 1, AARQ), (3, 1, of("gosem-ded-get-request")))
    first, second = dissect(other, GOSEM_RING)
    assert first.error is None
    assert second.error is not None and second.error.kind == "unknown-key"


@pytest.mark.parametrize("end", [of("aarq-ln-nosec"), bytes.fromhex("6303800100")])
def test_aarq_and_rlre_end_the_dedicated_key(end: bytes) -> None:
    frames = wrapped((2, 1, AARQ), (2, 1, end), (2, 1, of("gosem-ded-get-request")))
    assert dissect(frames, GOSEM_RING)[2].error is not None


def test_a_dedicated_key_in_clear_is_not_learned() -> None:
    plain = of("aarq-ln-nosec")
    message = apdu.decode(plain)
    initiate = bytes.fromhex("0101105E168412318BA71848C99B2B2AB332940000065F1F040000181F0200")
    bare = message.replace(user_information=initiate, calling_ap_title=bytes.fromhex("4349520000000001"))
    found = dissect(wrapped((2, 1, bare.encode()), (2, 1, of("gosem-ded-get-request"))), GOSEM_RING)
    assert found[0].error is None
    assert found[1].error is not None and found[1].error.kind == "unknown-key"


def test_a_given_dedicated_key_serves_too() -> None:
    ring = Keyring.of(
        guek=samples.GOSEM_KEY,
        gak=samples.GOSEM_KEY,
        dedicated=bytes.fromhex("5E168412318BA71848C99B2B2AB33294"),
        title=bytes.fromhex("4349520000000001"),
    )
    (one,) = dissect(of("gosem-ded-get-request"), ring)
    assert one.error is None


# --- counters ----------------------------------------------------------------------------------------


def test_counter_went_back() -> None:
    ring = Keyring.of(guek=EK, gak=AK)
    stream = b"".join(samples.wrapped((1, 2, sealed(GET, ic=ic))) for ic in (5, 9, 7, 9, 10))
    found = dissect(stream, ring)
    assert [one.error.kind if one.error else None for one in found] == [
        None,
        None,
        "replayed",
        "replayed",
        None,
    ]
    error = found[2].error
    assert isinstance(error, Replayed) and error.lowest_acceptable == 10
    assert found[2].to_json()["error"]["lowest_acceptable"] == 10
    assert TITLE.hex().upper() in str(error) and found[2].plain is None


def test_counters_are_per_title() -> None:
    stream = wrapped((1, 2, sealed(GET, ic=9)), (2, 1, sealed(GET, ic=3, title=CLIENT_TITLE)))
    assert [one.error for one in dissect(stream, RING)] == [None, None]


def test_a_forged_frame_moves_no_counter() -> None:
    """C02: a wrong tag with a high counter does not make the next true frame a replay."""
    high = bytearray(sealed(GET, ic=0xFFFFFF00))
    high[-1] ^= 1
    found = dissect(wrapped((1, 2, bytes(high)), (1, 2, sealed(GET, ic=3))), RING)
    assert found[0].error is not None and found[0].error.kind == "forged"
    assert found[1].error is None


def test_what_has_no_tag_moves_no_counter() -> None:
    found = dissect(wrapped((1, 2, sealed(GET, ic=900, sc=0x20)), (1, 2, sealed(GET, ic=3))), RING)
    assert [one.error for one in found] == [None, None]


def test_a_new_association_may_bring_the_same_dedicated_key_again() -> None:
    ended = wrapped(
        (2, 1, AARQ), (1, 2, aare()), (2, 1, of("gosem-ded-get-request")), (1, 2, bytes.fromhex("6303800100"))
    )
    again = of("gosem-rlrq-glo-initiate-request")  # the same key, the next counter
    opened = apdu.decode(AARQ).replace(user_information=again).encode()
    found = dissect(ended + wrapped((2, 1, opened), (2, 1, of("gosem-ded-get-request"))), GOSEM_RING)
    assert [one.error for one in found] == [None] * 6


# --- titles -------------------------------------------------------------------------------------------


def test_titles_by_direction_over_several_pieces() -> None:
    hello = apdu.decode(of("aarq-ln-nosec")).replace(calling_ap_title=CLIENT_TITLE).encode()
    answer = apdu.decode(of("aare-ln-ok")).replace(responding_ap_title=TITLE).encode()
    dissector = Dissector(RING)
    for frame in (
        wrapped((2, 1, hello)),
        wrapped((1, 2, answer)),
        wrapped((2, 1, glo(0xC8, GET, ic=4, title=CLIENT_TITLE))),
        wrapped((1, 2, glo(0xCC, ANSWER, ic=4, title=TITLE))),
    ):
        (one,) = dissector.feed(frame)
        assert one.error is None


def test_general_form_without_a_title_goes_by_the_side_that_sent() -> None:
    hello = apdu.decode(of("aarq-ln-nosec")).replace(calling_ap_title=CLIENT_TITLE).encode()
    answer = apdu.decode(of("aare-ln-ok")).replace(responding_ap_title=TITLE).encode()
    bare = sealed(ANSWER)
    nameless = b"\xdb\x00" + bare[10:]
    found = dissect(wrapped((2, 1, hello), (1, 2, answer), (1, 2, nameless)), RING)
    assert found[2].error is None
    assert found[2].layers[1]["system_title"] == TITLE.hex().upper()


# --- frames without an APDU ------------------------------------------------------------------------------


def test_link_frames_show_only_when_there_is_nothing_else() -> None:
    snrm, aarq = of("hdlc-snrm-4byte", "frame"), of("hdlc-i-aarq", "frame")
    assert [one.apdu for one in dissect(snrm)] == [None]
    assert [one.apdu for one in dissect(b"\x7e" + snrm + b"\x7e" + aarq)] == ["aarq"]


def test_bare_data() -> None:
    (one,) = dissect(bytes.fromhex("02020F00161E"))
    assert (one.apdu, one.value) == ("data", [0, 30])
    (one,) = dissect(bytes.fromhex("0F0500"))
    assert one.error is not None and "as data-notification" in str(one.error) and "as Data" in str(one.error)


# --- captures that begin in the middle of a frame ---------------------------------------------------------


@pytest.mark.parametrize(
    ("capture", "ring", "names"),
    [
        (samples.E450_OCTETS, samples.E450_RING, ["data-notification"]),
        (samples.TIROL, samples.TIROL_RING, ["data-notification"]),
        (samples.ciphered_p1(), RING, ["p1-telegram"]),
        (p1_telegram(), RING, ["p1-telegram"]),
    ],
)
def test_a_capture_that_begins_in_the_middle_of_a_frame(
    capture: bytes, ring: Keyring, names: list[str]
) -> None:
    for cut in (7, len(capture) // 3, len(capture) - 3):
        torn, *whole = dissect(capture[cut:] + capture, ring)
        assert torn.error is not None and torn.error.kind == "malformed"
        assert [one.apdu for one in whole] == names


def test_a_capture_that_ends_in_the_middle_of_a_frame() -> None:
    whole, torn = dissect(samples.TIROL + samples.TIROL[:40], samples.TIROL_RING)
    assert whole.apdu == "data-notification"
    assert torn.error is not None and torn.error.kind == "truncated"

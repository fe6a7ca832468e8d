"""Published ACSE and service octets: fields as printed, and the same octets back; origins in the test ids."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal import apdu
from meterseal.apdu import access, acse, ciphered, initiate, services
from meterseal.apdu.acse import Aare, Aarq, Rlre, Rlrq
from meterseal.codec.message import Message
from meterseal.errors import Unsupported
from tests.apdu.shapes import ber_rows
from tests.vectors import load, vector

Row = dict[str, Any]

ACSE: dict[int, type[Message]] = {0x60: Aarq, 0x61: Aare, 0x62: Rlrq, 0x63: Rlre}


def ids(row: Row) -> str:
    return f"{row['origin']}-{row['id']}"


def octets(row: Row, name: str = "apdu") -> bytes:
    return bytes.fromhex(row["inputs"][name])


def elements(message: Message) -> list[list[str]]:
    """The fields of an ACSE message as the vectors write them: tag and contents."""
    found = []
    for name, row in ber_rows(type(message)):
        value: Any = getattr(message, name)
        if value is None:
            continue
        contents = value if isinstance(value, bytes) else bytes((value,))
        for tag in reversed(row.tags[1:]):
            contents = bytes((tag, len(contents))) + contents
        found.append([f"{row.tags[0]:02X}", contents.hex().upper()])
    return found


@pytest.mark.parametrize("row", load("acse"), ids=ids)
def test_acse(row: Row) -> None:
    assert row["verified"]
    raw = octets(row)
    message = apdu.decode(raw)
    assert type(message) is ACSE[int(row["expected"]["tag"], 16)]
    assert elements(message) == row["expected"]["fields"]
    assert message.encode() == raw


@pytest.mark.parametrize("row", load("acse"), ids=ids)
def test_what_acse_carries(row: Row) -> None:
    message: Any = apdu.decode(octets(row))
    inside = message.user_information
    if inside is None:
        assert row["id"] in ("rlrq-plain", "aare-auth-failure")
    elif inside[0] in ciphered.FORMS:
        parts = ciphered.parse(inside)
        assert ciphered.build(parts.form, b"", parts.sc, parts.counter, parts.body) == inside
    else:
        opened = apdu.decode(inside)
        assert opened.encode() == inside
        assert isinstance(
            opened, (initiate.InitiateRequest, initiate.InitiateResponse, initiate.ConfirmedServiceError)
        )


def test_the_green_book_aarq_in_words() -> None:
    aarq = Aarq.decode(octets(vector("aarq-ln-hls-gmac")))
    assert acse.number_of(aarq.application_context_name, acse.OID_PREFIX) == 1
    assert acse.number_of(aarq.mechanism_name, acse.MECHANISM_PREFIX) == 5
    assert aarq.sender_acse_requirements == acse.AUTHENTICATION_UNIT
    assert aarq.calling_authentication_value == b"K56iVagY"
    assert aarq.user_information is not None
    request = initiate.InitiateRequest.decode(aarq.user_information)
    assert request == initiate.InitiateRequest(None, True, None, 6, 0x007E1F, 0x04B0)


def test_the_green_book_aare_in_words() -> None:
    aare = Aare.decode(octets(vector("aare-hls-gmac")))
    assert (aare.result, aare.user_diagnostic, aare.provider_diagnostic) == (0, 14, None)
    assert aare.responding_authentication_value == b"P6wRJ21F"
    assert aare.user_information is not None
    response = initiate.InitiateResponse.decode(aare.user_information)
    assert response == initiate.InitiateResponse(None, 6, 0x00501F, 0x01F4, initiate.LN_VAA_NAME)


@pytest.mark.parametrize("name", [acse.context_name(3), acse.mechanism_name(5)], ids=bytes.hex)
def test_a_name_is_known_under_its_own_prefix_only(name: bytes) -> None:
    prefixes = (acse.OID_PREFIX, acse.MECHANISM_PREFIX)
    numbers = [acse.number_of(name, prefix) for prefix in prefixes]
    assert sorted(n is None for n in numbers) == [False, True]
    for other in (None, b"", name[:-1], name + b"\0"):
        assert [acse.number_of(other, prefix) for prefix in prefixes] == [None, None]


PLAIN = [
    (row, row["inputs"]["plaintext"] if row["kind"] == "protect" else row["expected"]["plaintext"])
    for kind in ("protect", "unprotect", "mbus", "general_ciphering")
    for row in load(kind)
]


@pytest.mark.parametrize(("row", "plain"), PLAIN, ids=[ids(row) for row, _ in PLAIN])
def test_plain_apdus_of_all_vectors(row: Row, plain: str) -> None:
    raw = bytes.fromhex(plain)
    if raw[0] in apdu.UNDECODED:
        with pytest.raises(Unsupported):
            apdu.decode(raw)
        assert apdu.name(raw) == apdu.UNDECODED[raw[0]]
        return
    message = apdu.decode(raw)
    assert message.encode() == raw
    assert apdu.name(raw) == message.name


def test_every_data_notification_is_among_them() -> None:
    pushes = [apdu.decode(bytes.fromhex(plain)) for _, plain in PLAIN if plain.startswith("0F")]
    assert len(pushes) >= 2
    for push in pushes:
        assert isinstance(push, services.DataNotification)
        assert len(push.date_time) in (0, 12)
        assert isinstance(push.notification_body.value, (tuple, list, bytes))


@pytest.mark.parametrize("row", load("wrapper"), ids=ids)
def test_apdus_inside_wrapper_frames(row: Row) -> None:
    raw = octets(row, "wpdu")[8:]
    if raw[0] in ciphered.FORMS:
        parts = ciphered.parse(raw)
        assert ciphered.build(parts.form, parts.title or b"", parts.sc, parts.counter, parts.body) == raw
    else:
        assert apdu.decode(raw).encode() == raw


@pytest.mark.parametrize("row", load("access"), ids=ids)
def test_access(row: Row) -> None:
    message = apdu.decode(octets(row))
    assert isinstance(message, access.AccessRequest)
    assert [one.tag[0] for one in message.specifications] == row["expected"]["kinds"]
    assert len(message.data) == len(message.specifications)
    assert message.long_invoke_id_and_priority & access.CONFIRMED
    assert message.encode() == octets(row)


LATER = [row for kind in ("general_ciphering", "general_signing") for row in load(kind)]


@pytest.mark.parametrize("row", LATER, ids=ids)
def test_what_is_known_by_name_only(row: Row) -> None:
    """Among them the two whose printed tag does not reproduce: tests of the key handle hold them to that."""
    name = {0xDD: "general-ciphering", 0xDF: "general-signing"}[octets(row)[0]]
    assert apdu.name(octets(row)) == name
    with pytest.raises(Unsupported, match=name):
        apdu.decode(octets(row))

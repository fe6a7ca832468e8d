"""general-ciphering, general-signing (B14 to B18) and pushes (B22) as far as suite 0 reaches.

Neither end of suite 0 agrees on keys or checks signatures, so both layers are refused by name whatever they
hold, never taken for what is inside them; dissection never calls such a layer verified.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from meterseal.apdu.general import AgreedKey, GeneralCiphering, GeneralSigning, IdentifiedKey, WrappedKey
from meterseal.codec.types import Tag
from meterseal.crypto import GcmKey
from meterseal.errors import TooWeak, UnknownKey, Unsupported
from meterseal.probe import Keyring, dissect
from meterseal.security import Style
from tests.client.fake_meter import Exchange, FakeMeter
from tests.hostile.client_side import READ, VALUE, Requests, signed_on
from tests.hostile.raw import Running, running
from tests.meter.world import Client, write
from tests.mutate import MEMORY_FREE
from tests.probe.samples import AK, EK, RING, TITLE, sealed
from tests.vectors import load

POINT, CLOCK = "0.0.96.1.10.255", "0.0.1.0.0.255"
GET = bytes.fromhex("C001C100080000010000FF0200")
SET = bytes.fromhex("C101C10001000060010AFF0200 0902AAAA")
PUSH = bytes.fromhex("0F000000010006DEADBEEF")
STRANGER = b"MSLHES99"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("meter")) as found:
        yield found


def ciphering(client: Client, plain: bytes, **changes: Any) -> bytes:
    """A general-ciphering APDU under the association's own GUEK, as a larger suite would seal it."""
    key, setup = client.machine.profile.setup.unicast, client.machine.profile.setup
    assert key is not None and setup.peer_title is not None
    base: dict[str, Any] = {
        "transaction_id": bytes(8),
        "originator_system_title": setup.own_title,
        "recipient_system_title": setup.peer_title,
        "date_time": b"",
        "other_information": b"",
        "key_info": IdentifiedKey(0),
        "ciphered_content": b"",
    }
    made = GeneralCiphering(**base | changes)
    counter = key.tx.take().to_bytes(4, "big")
    body = key.handle.seal(0x30, setup.own_title + counter, plain, made.header())
    return made.replace(ciphered_content=b"\x30" + counter + body).encode()


def signing(content: bytes, **changes: Any) -> bytes:
    base: dict[str, Any] = {
        "transaction_id": bytes(8),
        "originator_system_title": STRANGER,
        "recipient_system_title": b"MSL\x00\x00\x00\x00\x01",
        "date_time": b"",
        "other_information": b"",
        "content": content,
        "signature": bytes(64),
    }
    return GeneralSigning(**base | changes).encode()


def refused_by_the_meter(here: Running, client: Client, frames: list[bytes]) -> None:
    """Each is refused, in the association and without one, and changes nothing."""
    value, floors = client.get(1, POINT), here.counters()
    floors_after = here.counters()
    stranger = here.line()
    for octets in frames:
        for line in (client.line, stranger):
            answer = line.ask(octets, client.sap)
            assert answer[:1] == b"\xd8", octets.hex()
        assert here.counters() == floors_after == floors
    assert client.get(1, POINT) == value


# --- B14, B15: general-ciphering ------------------------------------------------------------------


def test_B14_fields_of_general_ciphering_at_the_meter(here: Running) -> None:
    """Well sealed or with any field changed: a layer that this suite does not take, and does not open."""
    client = here.signed_on("installer")
    setup = client.machine.profile.setup
    assert setup.peer_title is not None
    edits: list[dict[str, Any]] = [
        {},
        {"transaction_id": b""},
        {"transaction_id": bytes(255)},
        {"originator_system_title": STRANGER},
        {"originator_system_title": setup.peer_title},
        {"originator_system_title": bytes(7)},
        {"recipient_system_title": STRANGER},
        {"recipient_system_title": b""},
        {"date_time": bytes.fromhex("07E9070F020C000000FF8880")},
        {"other_information": b"other"},
    ]
    frames = [ciphering(client, plain, **edit) for edit in edits for plain in (GET, SET)]
    whole = frames[1]
    frames += [whole[:at] + bytes((o ^ 1,)) + whole[at + 1 :] for at, o in enumerate(whole) if at]
    refused_by_the_meter(here, client, frames)


def test_B15_forms_of_key_info_at_the_meter(here: Running) -> None:
    client = here.signed_on("installer")
    infos = [
        None,
        IdentifiedKey(0),
        IdentifiedKey(1),
        IdentifiedKey(2),
        WrappedKey(0, bytes(24)),
        WrappedKey(0, b""),
        WrappedKey(9, bytes(40)),
        AgreedKey(b"\x01", bytes(128)),
        AgreedKey(b"\x02", b""),
        AgreedKey(b"\x03", b""),
        AgreedKey(b"", bytes(300)),
    ]
    frames = [ciphering(client, SET, key_info=info) for info in infos]
    whole = ciphering(client, SET)
    at = whole.index(bytes.fromhex("010000"), 30)  # key-info: present, identified, unicast
    frames += [whole[:at] + bytes((1, other)) + whole[at + 2 :] for other in (3, 4, 0x7F, 0xFF)]
    refused_by_the_meter(here, client, frames)


@pytest.mark.parametrize("tag", [0xDD, 0xDF])
def test_B14_B16_general_layers_at_the_client(tag: int) -> None:
    """An answer in a layer that nobody asked for: the request fails by name, the next one is true."""

    def lie(exchange: Exchange) -> list[bytes]:
        plain = b"\xc4\x01\xc2\x00" + VALUE
        if tag == 0xDF:
            return [signing(plain), exchange.reply]
        made = GeneralCiphering(bytes(8), exchange.meter.title, b"", b"", b"", IdentifiedKey(0), b"")
        inner = exchange.seal(plain, 3, Style.GENERAL_GLO)
        return [made.replace(ciphered_content=inner[11:]).encode(), exchange.reply]

    with signed_on(FakeMeter(alter=Requests({3: lie}))) as meter:
        with pytest.raises((Unsupported, TooWeak, UnknownKey)):
            meter.get(*READ)
        assert meter.get(*READ) == VALUE


# --- B16, B17, B18: general-signing ----------------------------------------------------------------


def test_B16_B17_B18_signed_layers_at_the_meter(here: Running) -> None:
    """No, anybody's and moved signatures, bare and sealed: none is taken, nor what is inside."""
    client = here.signed_on("installer")
    title, meter = client.machine.profile.setup.own_title, here.meter.system_title
    signed = [
        signing(content, originator_system_title=who, recipient_system_title=whom, signature=proof)
        for content in (GET, SET)
        for who in (title, meter, STRANGER, b"")
        for whom in (meter, STRANGER)
        for proof in (b"", bytes(64), b"\xff" * 64, bytes(96))
    ]
    published = [
        bytes.fromhex(row["inputs"]["apdu"])
        for row in load()
        if isinstance(row["inputs"].get("apdu"), str) and row["inputs"]["apdu"][:2].upper() == "DF"
    ]
    refused_by_the_meter(here, client, signed + published)
    for octets in signed[::7]:
        # Inside a genuine ciphered layer: it opens, its counter is spent, and the layer in it is refused.
        answer = client.line.ask(client.sealed(octets, 3, Style.GENERAL_GLO), client.sap)
        assert client.opened(answer)[:1] == b"\xd8", octets.hex()
    assert client.get(1, POINT) != b"\xaa\xaa"


def test_B18_an_inner_message_moved_to_another_recipient(here: Running) -> None:
    """What one role has sealed is nothing to another one, whoever carries it there."""
    installer, manager = here.signed_on("installer"), here.signed_on("manager")
    operation = write(1, POINT, 2, b"moved", Tag.OCTET_STRING)
    assert operation.data is not None
    plain = SET[:-4] + operation.data.raw
    for style in (Style.GLO, Style.GENERAL_GLO):
        octets = installer.sealed(plain, 3, style)
        for line, sap in ((manager.line, 1), (installer.line, 1), (manager.line, 2), (manager.line, 3)):
            assert line.ask(octets, sap)[:1] == b"\xd8"
    assert manager.get(1, POINT) != b"moved"


def test_B14_B16_dissection_calls_a_layer_verified_only_by_a_key_that_it_has() -> None:
    """The GUEK of the ring proves what names the GUEK; keys agreed on and signatures are nothing to it."""
    proved = []
    for row in load():
        octets = row["inputs"].get("apdu")
        if not isinstance(octets, str) or octets[:2].upper() not in ("DD", "DF"):
            continue
        (one,) = dissect(bytes.fromhex(octets), RING)
        outer = [layer for layer in one.layers if layer["kind"] in ("general-ciphering", "general-signing")]
        assert outer
        if any(layer["verified"] for layer in outer):
            proved.append(row["id"].removeprefix("derived-general-ciphering-"))
            assert one.plain is not None and one.plain.hex().upper() == row["expected"]["plaintext"]
        else:
            assert one.plain is None and one.error is not None
    assert sorted(proved) == ["auth-only", "identified-guek", "no-key-info"]


# --- B22: pushes -----------------------------------------------------------------------------------


def test_B22_a_forged_push_is_an_error_and_shows_nothing() -> None:
    genuine = sealed(PUSH, ic=7)
    for bit in range(8 * len(genuine)):
        changed = bytearray(genuine)
        changed[bit // 8] ^= 0x80 >> bit % 8
        for one in dissect(bytes(changed), RING):
            if one.error is None:  # octets that are something else now, and were never protected
                assert not any("verified" in layer for layer in one.layers), bit
            assert b"\xde\xad\xbe\xef" not in (one.plain or b""), bit
            assert b"\xde\xad\xbe\xef" not in (one.opened or b""), bit
    (one,) = dissect(genuine, RING)
    assert one.error is None and one.plain == PUSH and one.layers[-1]["verified"] is True


def test_B22_a_push_in_the_clear_is_never_verified() -> None:
    (one,) = dissect(PUSH, RING)
    assert not any(layer.get("verified") for layer in one.layers)
    weaker = sealed(PUSH, sc=0x20)
    (two,) = dissect(weaker, RING)
    assert not any(layer.get("verified") for layer in two.layers)


def test_B22_many_unknown_titles_cost_no_memory() -> None:
    """10^5 pushes of strangers between request and answer: typed errors, nothing kept, no end of the line."""
    ours = GcmKey(EK, AK)
    body = ours.seal(0x30, TITLE + bytes(4), PUSH)
    content = b"\x30" + bytes(4) + body
    number = 0

    def stranger(exchange: Exchange) -> list[bytes]:
        nonlocal number
        number += 1
        return [b"\xdb\x08" + number.to_bytes(8, "big") + bytes((len(content),)) + content]

    fake = FakeMeter()
    with signed_on(fake) as meter:
        association = meter._session.association
        title = association.context.peer_title
        fake.alter = stranger
        for _ in range(5):
            with pytest.raises(UnknownKey):
                meter.get(*READ)
        for count in range(100_000):
            if count == 95_000:  # measured at the end, because measuring is slow
                tracemalloc.start()
            octets = b"\xdb\x08" + count.to_bytes(8, "big") + bytes((len(content),)) + content
            association.receive(octets)
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert kept < MEMORY_FREE // 16 and association.context.peer_title == title
        fake.alter = None
        assert meter.get(*READ) == VALUE


def test_B22_unknown_titles_in_a_capture() -> None:
    keyring = Keyring.of(guek=EK, gak=AK, title=TITLE)
    frames = [sealed(PUSH, ic=3, title=number.to_bytes(8, "big")) for number in range(300)]
    found = dissect(sealed(PUSH, ic=2), keyring)
    assert found[0].error is None
    for octets in frames:
        (one,) = dissect(octets, keyring)
        # Sealed under the same key by hand: it opens, and says whose title it names.
        assert one.error is not None or one.layers[-1]["system_title"] == octets[2:10].hex().upper()

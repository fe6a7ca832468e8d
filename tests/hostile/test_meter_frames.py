"""Frames changed on their way to the meter, by a bit, by their end, by more behind it: B01, B02, B12."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from meterseal.apdu.acse import Aare, Aarq
from meterseal.association import Associated, Operation, Reply, State
from meterseal.codec.types import Tag
from meterseal.crypto import random_octets
from meterseal.security import KeyInUse, Style
from tests.hostile.raw import NOT_POSSIBLE, REJECTED, Running, frame, running
from tests.meter import forms
from tests.meter.world import call, read, write

CLOCK, POINT, REGISTER = "0.0.1.0.0.255", "0.0.96.1.10.255", "1.0.1.8.0.255"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("meter")) as found:
        yield found


def flipped(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Every variant with one bit changed."""
    for bit in range(8 * len(octets)):
        at = bit // 8
        yield bit, octets[:at] + bytes((octets[at] ^ 0x80 >> bit % 8,)) + octets[at + 1 :]


def refused(octets: bytes) -> bool:
    """True for an answer that says no: D8, an AARE that rejects, an RLRE that does not release."""
    if octets[0] == 0x61:
        return Aare.decode(octets).result == 1
    return octets[0] == 0xD8 or octets == bytes.fromhex("6303800101")


def state(here: Running) -> tuple[object, ...]:
    """All that a refused frame may not change: counters, keys, values, the clock."""
    plant, devices = here.meter.plant, here.meter.devices

    def look() -> tuple[object, ...]:
        point = devices[1].objects[1, bytes.fromhex("00006001 0AFF")]
        return plant.offset, plant.connected, point._value, here.meter.store.get("association/1/3/view")  # type: ignore[attr-defined]

    return (here.counters(), *here.do(look))


SESSION: list[tuple[str, list[Operation], forms.Form]] = [
    ("get", [read(8, CLOCK)], forms.get_normal),
    ("get list", [read(8, CLOCK), read(1, POINT), read(3, REGISTER)], forms.get_list),
    ("set", [write(1, POINT, 2, b"0123456789", Tag.OCTET_STRING)], forms.set_normal),
    ("set list", [write(1, POINT, 2, b"abc", Tag.OCTET_STRING)] * 2, forms.set_list),
    ("set block", [write(1, POINT, 2, bytes(30), Tag.OCTET_STRING)], forms.set_blocks),
    ("action", [call(8, CLOCK, 6, 1, Tag.LONG)], forms.action_normal),
    ("action list", [call(8, CLOCK, 6, -1, Tag.LONG)] * 2, forms.action_list),
    ("action block", [call(8, CLOCK, 6, 1, Tag.LONG)], forms.action_blocks),
]


@pytest.mark.parametrize("style", [Style.GLO, Style.GENERAL_GLO, Style.DED, Style.GENERAL_DED])
@pytest.mark.parametrize(("name", "operations", "form"), SESSION, ids=[row[0] for row in SESSION])
def test_B01_every_bit_of_every_request(
    name: str, operations: list[Operation], form: forms.Form, style: Style, here: Running
) -> None:
    dedicated = random_octets(16) if "DED" in style.name else None
    client = here.signed_on("installer", dedicated_key=dedicated)
    (message,) = form(operations)
    genuine = client.sealed(message.encode(), 3, style)
    before = state(here)
    count = 0
    for bit, octets in flipped(genuine):
        answer = client.line.ask(octets, client.sap)
        assert refused(answer), (bit, answer.hex())
        count += 1
    assert count == 8 * len(genuine) and state(here) == before
    answer = client.opened(client.line.ask(genuine, client.sap))
    assert 0 in (forms.codes(answer) or [])


def test_B01_every_bit_of_pass_3(here: Running) -> None:
    client = here.client("installer")
    (effect,) = client.machine.associate(random_octets(16))
    (proof,) = client.machine.receive(client.line.ask(effect.octets, client.sap))  # type: ignore[union-attr]
    genuine: bytes = proof.octets  # type: ignore[union-attr]
    before = state(here)
    for bit, octets in flipped(genuine):
        assert refused(client.line.ask(octets, client.sap)), bit
    assert state(here) == before
    effects = client.machine.receive(client.line.ask(genuine, client.sap))
    assert any(isinstance(e, Associated) for e in effects)


def test_B01_every_bit_of_the_AARQ(here: Running) -> None:
    """Parts of an AARQ travel bare.  Whatever is changed, no association comes out of it at both ends."""
    bits, opened = 0, []
    for bit in range(10_000):
        client = here.client("installer")
        (effect,) = client.machine.associate(random_octets(16))
        genuine: bytes = effect.octets  # type: ignore[union-attr]
        bits = 8 * len(genuine)
        if bit >= bits:
            client.line.close()
            break
        (octets,) = [changed for at, changed in flipped(genuine) if at == bit]
        answer = client.line.ask(octets, client.sap)
        effects = client.machine.receive(answer)
        if client.machine.state is State.OPENING or not effects or not isinstance(effects[0], Reply):
            client.line.close()
            continue
        effects = client.machine.receive(client.line.ask(effects[0].octets, client.sap))
        if any(isinstance(e, Associated) for e in effects):
            opened.append((bit, genuine.hex(), octets.hex()))
        client.line.close()
    assert bits > 700
    assert not opened, opened


def test_B01_every_bit_of_the_release(here: Running) -> None:
    client = here.signed_on("installer")
    (effect,) = client.machine.release()
    genuine: bytes = effect.octets  # type: ignore[union-attr]
    before = state(here)
    for bit, octets in flipped(genuine):
        assert refused(client.line.ask(octets, client.sap)), bit
    assert state(here) == before
    assert client.line.ask(genuine, client.sap)[0] == 0x63
    assert client.line.ask(genuine, client.sap) == NOT_POSSIBLE


def test_B01_every_bit_of_the_wrapper(here: Running) -> None:
    """Another version or length loses the stream, other SAPs find no association: never an effect."""
    before = state(here)
    for bit in range(64):
        client = here.signed_on("installer")
        floors = here.counters()
        octets = frame(client.sealed(bytes.fromhex("C001C100080000010000FF0200")), client.sap)
        (changed,) = [variant for at, variant in flipped(octets) if at == bit]
        client.line.raw(changed)
        if 48 <= bit < 64:  # length: too long waits for more, too short leaves octets that are no header
            client.line.socket.shutdown(1)
        answer = client.line.take()
        assert answer is None or refused(answer), (bit, answer.hex())
        assert here.counters() == floors
        client.line.close()
    assert state(here)[1:] == before[1:]


# --- B02 ------------------------------------------------------------------------------------------


def test_B02_a_tag_has_twelve_octets_and_there_is_something_inside(here: Running) -> None:
    client = here.signed_on("operator")
    key = client.machine.profile.setup.unicast
    assert key is not None
    before = here.counters()
    plain = bytes.fromhex("C001C100080000010000FF0200")
    title = client.machine.profile.setup.own_title
    counter = key.tx.take()
    nonce = title + counter.to_bytes(4, "big")
    header = b"\x30" + counter.to_bytes(4, "big")
    body = key.handle.seal(0x30, nonce, plain)
    assert len(body) == 25
    for length in range(41):
        content = (header + body + bytes(16))[:length]
        if content == header + body:
            continue
        assert refused(client.line.ask(bytes((0xC8, len(content))) + content, 2)), length
        assert refused(client.line.ask(b"\xdb\x08" + title + bytes((len(content),)) + content, 2)), length
    for cut in range(12):  # a tag cut short behind the whole ciphertext
        content = header + body[: 13 + cut]
        assert refused(client.line.ask(bytes((0xC8, len(content))) + content, 2)), cut
    for nothing in (key.handle.seal(0x30, nonce, b""), key.handle.seal(0x10, nonce, b"")[-12:]):
        content = header + nothing
        assert refused(client.line.ask(bytes((0xC8, len(content))) + content, 2))
        assert refused(client.line.ask(b"\xdb\x00" + bytes((len(content),)) + content, 2))
    assert here.counters() == before
    assert client.line.ask(bytes((0xC8, 30)) + header + body, 2)[0] == 0xCC


# --- B12 ------------------------------------------------------------------------------------------


def test_B12_nothing_follows_a_complete_APDU(here: Running) -> None:
    client = here.signed_on("operator")
    plain = bytes.fromhex("C001C100080000010000FF0200")
    before = here.counters()
    for more in range(1, 17):
        for octet in (0, 0xFF):
            genuine = client.sealed(plain)
            tail = bytes([octet]) * more
            assert refused(client.line.ask(genuine + tail, 2)), "behind the ciphered APDU"
            assert here.counters() == before
            inside = client.sealed(plain + tail)
            assert refused(client.line.ask(inside, 2)), "behind the plain APDU inside it"
            before = here.counters()  # it was verified: its counter is spent
            (effect,) = here.client("operator").machine.associate(random_octets(16))
            assert refused(client.line.ask(effect.octets + tail, 2)), "behind an AARQ"  # type: ignore[union-attr]
            assert here.counters() == before
    public = here.signed_on("public")
    for more in range(1, 17):
        assert refused(public.line.ask(plain + bytes(more), 16))
        assert refused(public.line.ask(bytes.fromhex("6203800100") + bytes(more), 16))
    assert public.get(8, CLOCK) and client.get(8, CLOCK)


def test_B12_inside_the_ciphered_initiate(here: Running) -> None:
    client = here.client("operator")
    (effect,) = client.machine.associate(random_octets(16))
    aarq = Aarq.decode(effect.octets)  # type: ignore[union-attr]
    key: KeyInUse | None = client.machine.profile.setup.unicast
    assert key is not None and aarq.user_information is not None
    octets = aarq.user_information
    plain = key.handle.open(octets[2], client.machine.profile.setup.own_title + octets[3:7], octets[7:])
    counter = key.tx.take().to_bytes(4, "big")
    body = key.handle.seal(0x30, client.machine.profile.setup.own_title + counter, plain + b"\0")
    content = b"\x30" + counter + body
    longer = aarq.replace(user_information=bytes((0x21, len(content))) + content)
    assert client.line.ask(longer.encode(), 2) == REJECTED

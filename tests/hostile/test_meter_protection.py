"""Protection of requests and answers over a socket: B03 to B08, B10, B11, B13, B20."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from meterseal import apdu
from meterseal.apdu import ciphered
from meterseal.apdu.acse import Aarq
from meterseal.apdu.ciphered import FORMS
from meterseal.association import Operation, Service
from meterseal.codec import data as codec
from meterseal.codec.octets import length_octets
from meterseal.codec.types import Tag
from meterseal.cosem.obis import Obis
from meterseal.crypto import GcmKey, WrappingKey, random_octets
from meterseal.keys.counters import ReceiveCounter, SendCounter
from meterseal.keys.kinds import GBEK
from meterseal.security import KeyInUse, Style, protect
from meterseal.security.protection import from_text, of_control
from tests.hostile.raw import DECIPHERING, REJECTED, Running, running
from tests.meter import forms
from tests.meter.killed import ITEMS
from tests.meter.world import Client, call, write

CLOCK, POINT, REGISTER = "0.0.1.0.0.255", "0.0.96.1.10.255", "1.0.1.8.0.255"
GET = bytes.fromhex("C001C100080000010000FF0200")
SCOPE = 0x0D
WORDS = ("none", "authenticated", "encrypted", "authenticated+encrypted")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("meter")) as found:
        yield found


def sealed_as(client: Client, plain: bytes, sc: int, tag: int = 0xC8, title: bytes | None = None) -> bytes:
    """A ciphered APDU with any security control, sealed just as that says, under the unicast key."""
    key, setup = client.machine.profile.setup.unicast, client.machine.profile.setup
    assert key is not None
    return sealed_under(key, setup.own_title, plain, sc, tag, title)


def sealed_under(
    key: KeyInUse, own: bytes, plain: bytes, sc: int, tag: int = 0xC8, title: bytes | None = None
) -> bytes:
    counter = key.tx.take().to_bytes(4, "big")
    header = b"" if sc & 0x30 else b"\0"  # an SC that says neither is sealed as a bare layer
    body = key.handle.seal(sc, (title or own)[:8].ljust(8, b"\0") + counter, plain, header)
    content = bytes((sc,)) + counter + body
    head = bytes((tag,))
    if tag in (0xDB, 0xDC):
        named = own if title is None else title
        head += length_octets(len(named)) + named
    return head + length_octets(len(content)) + content


def is_refused(answer: bytes) -> bool:
    return answer[0] == 0xD8


def test_B03_plain_requests_inside_a_ciphered_association(here: Running) -> None:
    client = here.signed_on("manager")
    before = client.get(1, POINT)
    floors = here.counters()
    operations = {
        Service.GET: Operation(Service.GET, 3, Obis(REGISTER), 2),
        Service.SET: write(1, POINT, 2, b"plain", Tag.OCTET_STRING),
        Service.ACTION: call(70, "0.0.96.3.10.255", 1),
    }
    for service, operation in operations.items():
        for form in forms.ONE[service]:
            answer = b""
            for message in form([operation]):
                answer = client.line.ask(message.encode(), 1)
            assert answer[0] in FORMS, "what the policy asks of answers is kept to"
            assert forms.codes(client.opened(answer)) == [SCOPE], form.__name__
    others = (
        bytes.fromhex("0F00000001000200"),
        bytes.fromhex("D80101"),
        bytes.fromhex("D8010600000001"),
        bytes.fromhex("0E010600"),
        bytes.fromhex("C40100C10006"),
        bytes.fromhex("6303800100"),
    )
    for octets in others:
        assert is_refused(client.line.ask(octets, 1)), octets.hex()
    assert here.counters() == floors
    assert client.get(1, POINT) == before and client.get(70, "0.0.96.3.10.255", 3) == 1


@pytest.mark.parametrize("policy", WORDS)
def test_B04_a_request_carries_at_least_what_the_policy_says(policy: str, tmp_path: Path) -> None:
    needed = from_text(policy)
    config = (
        f'[roles.installer]\nciphered = true\nallow_weak = true\npolicy = {{ request = "{policy}", '
        'response = "none" }\n[[roles.installer.rights]]\nobjects = ["0.0.1.0.0.255", "0.0.96.1.10.255"]\n'
        'attributes = "read write"\n'
    )
    with running(tmp_path, config) as meter:
        client = meter.signed_on("installer", policy=needed << 2)
        for number, applied in enumerate((0, 1, 2, 3, 3, 2, 1, 0)):
            value = bytes((number,)) * 3
            held = meter.do(lambda: meter.meter.devices[1].objects[1, Obis(POINT)]._value[0])  # type: ignore[attr-defined]
            (message,) = forms.set_normal([write(1, POINT, 2, value, Tag.OCTET_STRING)])
            plain = message.encode()
            octets = plain if not applied else sealed_as(client, plain, applied << 4, 0xC9)
            answer = client.line.ask(octets, client.sap)
            now = meter.do(lambda: meter.meter.devices[1].objects[1, Obis(POINT)]._value[0])  # type: ignore[attr-defined]
            if needed & ~applied:
                assert now == held and (
                    answer == DECIPHERING or forms.codes(client.opened(answer)) == [SCOPE]
                )
            else:
                assert now == value and forms.codes(client.opened(answer)) == [0]


@pytest.mark.parametrize("policy", WORDS)
def test_B20_an_answer_carries_what_policy_and_request_ask_for(policy: str, tmp_path: Path) -> None:
    """At least the policy's protection of responses, at least what the request had, in the request's form."""
    needed = from_text(policy)
    config = (
        f'[roles.installer]\nciphered = true\nallow_weak = true\npolicy = {{ request = "none", '
        f'response = "{policy}" }}\n[[roles.installer.rights]]\nobjects = ["0.0.1.0.0.255", "{POINT}"]\n'
        'attributes = { 1 = "read", 2 = "read auth-response", 3 = "read auth-response enc-response" }\n'
    )
    hidden = bytes.fromhex("C001C1000100002A0000FF0300")
    with running(tmp_path, config) as meter:
        for dedicated in (None, random_octets(16)):
            client = meter.signed_on("installer", policy=0, dedicated_key=dedicated)
            styles = (Style.DED, Style.GENERAL_DED) if dedicated else (Style.GLO, Style.GENERAL_GLO)
            for applied in range(4):
                for style in styles:
                    for member, right in ((1, 0), (2, 1), (3, 3)):
                        plain = GET[:11] + bytes((member,)) + GET[12:]
                        wanted = needed | applied | right
                        check_answer(client, plain, applied, style, wanted)
                    check_answer(client, hidden, applied, style, needed | applied)


def check_answer(client: Client, plain: bytes, applied: int, style: Style, wanted: int) -> None:
    octets = plain if not applied else protect(client.machine.context, plain, applied, style)
    answer = client.line.ask(octets, client.sap)
    if not wanted:
        assert answer[:2] == b"\xc4\x01"
        return
    message = ciphered.parse(answer)
    assert of_control(message.sc) == wanted, (applied, style, wanted)
    if applied:
        assert (message.form.key_set, message.form.general) == (style.key_set, style.general)
    else:
        assert not message.form.general


def test_B20_refusals_and_block_errors_are_protected_as_well(here: Running) -> None:
    client = here.signed_on("operator")
    for octets in (
        bytes.fromhex("C001C100030100C80800FF0200"),
        bytes.fromhex("C101C100080000010000FF0200090C") + bytes(12),
        bytes.fromhex("C002C100000007"),
        bytes.fromhex("C103C1010000000501AA"),
        bytes.fromhex("C306C1010000000501AA"),
    ):
        answer = ciphered.parse(client.line.ask(client.sealed(octets), 2))
        assert of_control(answer.sc) == 3


def test_B05_only_the_suite_of_the_meter(here: Running) -> None:
    client = here.signed_on("operator")
    for number in range(16):
        for bits in (0x10, 0x30):
            answer = client.line.ask(sealed_as(client, GET, bits | number), 2)
            if number:
                assert answer == DECIPHERING
            elif bits == 0x30:
                assert answer[0] == 0xCC
            else:
                assert forms.codes(client.opened(answer)) == [SCOPE]
    assert client.line.ask(sealed_as(client, GET, 0x00), 2) == DECIPHERING, "no protection at all"


def test_B07_no_compression_in_any_form(here: Running) -> None:
    plain = here.signed_on("operator")
    dedicated = here.signed_on("operator", dedicated_key=random_octets(16))
    own = dedicated.machine.context.dedicated
    assert own is not None
    title = plain.machine.profile.setup.own_title
    before = here.counters()
    for sc in (0x90, 0xA0, 0xB0, 0xC0, 0xD0, 0xF0):
        for tag in (0xC8, 0xDB):
            assert is_refused(plain.line.ask(sealed_as(plain, GET, sc, tag), 2))
        for tag in (0xD0, 0xDC):
            assert is_refused(dedicated.line.ask(sealed_under(own, title, GET, sc, tag), 2))
    assert here.counters() == before
    assert plain.get(8, CLOCK)


BROADCAST = """# what the head-end may send to all meters at once
[roles.manager]
broadcast = ["8/0.0.1.0.0.255:2", "8/0.0.1.0.0.255:6()"]
"""


def test_B06_the_broadcast_key_does_what_is_listed_unconfirmed_and_nothing_else(tmp_path: Path) -> None:
    with running(tmp_path, BROADCAST) as meter:
        client = meter.signed_on("manager", dedicated_key=None)
        given = meter.credentials.roles["manager"]
        gbek, gak, kek = (given.octets(name) for name in ("gbek", "gak", "kek"))
        assert gbek is not None and gak is not None and kek is not None
        key = KeyInUse(GcmKey(gbek, gak), SendCounter(0, 10_000), ReceiveCounter())
        title = client.machine.profile.setup.own_title
        line, sap = client.line, client.sap

        def under(plain: bytes, tag: int, sc: int = 0x70) -> bytes:
            return sealed_under(key, title, plain, sc, tag)

        offset = meter.meter.plant
        shift = call(8, CLOCK, 6, 60, Tag.LONG)
        (message,) = forms.action_normal([shift])
        confirmed = message.encode()
        unconfirmed = confirmed[:2] + b"\x81" + confirmed[3:]
        line.put(under(unconfirmed, 0xCB), sap)
        assert client.get(8, CLOCK) and meter.do(lambda: offset.offset) == 60, (
            "listed: done, and not answered"
        )
        line.put(under(unconfirmed, 0xDB), sap)
        assert client.get(8, CLOCK) and meter.do(lambda: offset.offset) == 120
        for octets in (under(confirmed, 0xCB), under(confirmed, 0xDB), under(GET, 0xC8)):
            assert line.ask(octets, sap) == DECIPHERING
        quiet = GET[:2] + b"\x81" + GET[3:]
        line.put(under(quiet, 0xC8), sap)
        answer = line.take()
        assert answer is not None and (answer == DECIPHERING or forms.codes(client.opened(answer)) == [3])
        floors = meter.counters()
        for tag in (0xD3, 0xDC):  # dedicated forms have no broadcast key
            assert is_refused(line.ask(under(unconfirmed, tag), sap))
        genuine = client.sealed(unconfirmed, 3, Style.GLO)
        assert is_refused(line.ask(under(unconfirmed, 0xCB, 0x30), sap)), "GBEK without its bit"
        changed = genuine[:2] + bytes((genuine[2] | 0x40,)) + genuine[3:]
        assert is_refused(line.ask(changed, sap)), "its bit on the unicast key"
        assert meter.counters() == floors
        wrapped = [(0, WrappingKey(kek).wrap(random_octets(16)))]
        for operation, tag in (
            (call(64, "0.0.43.0.1.255", 2, wrapped, ITEMS), 0xCB),
            (call(70, "0.0.96.3.10.255", 1), 0xCB),
            (call(8, CLOCK, 3), 0xCB),
            (write(1, POINT, 2, b"forged", Tag.OCTET_STRING), 0xC9),
            (write(15, "0.0.40.0.0.255", 7, b"forged secret", Tag.OCTET_STRING), 0xC9),
        ):
            form = forms.set_normal if operation.service is Service.SET else forms.action_normal
            (message,) = form([operation])
            plain = message.encode()
            line.put(under(plain[:2] + b"\x81" + plain[3:], tag), sap)
        assert client.get(1, POINT) != b"forged" and client.get(70, "0.0.96.3.10.255", 3) == 1
        assert meter.do(lambda: offset.offset) == 120
        assert client.get(3, REGISTER), "the keys are the same"


def test_B06_nothing_is_listed_unless_somebody_does(here: Running) -> None:
    client = here.signed_on("manager")
    ring = here.do(lambda: here.meter.rings[1])
    key = KeyInUse(GcmKey(ring.reveal(GBEK), ring.reveal(2)), SendCounter(0, 100), ReceiveCounter())
    before = here.do(lambda: here.meter.plant.offset)
    (message,) = forms.action_normal([call(8, CLOCK, 6, 60, Tag.LONG)])
    octets = message.encode()
    title = client.machine.profile.setup.own_title
    client.line.put(sealed_under(key, title, octets[:2] + b"\x81" + octets[3:], 0x70, 0xCB), 1)
    assert client.get(8, CLOCK) and here.do(lambda: here.meter.plant.offset) == before


def test_B08_global_and_dedicated_keys_are_not_mixed(here: Running) -> None:
    without = here.signed_on("operator")
    one = here.signed_on("operator", dedicated_key=random_octets(16))
    two = here.signed_on("operator", one.line, server=17, dedicated_key=random_octets(16))
    first, second = one.machine.context.dedicated, two.machine.context.dedicated
    assert first is not None and second is not None
    title = one.machine.profile.setup.own_title
    floors = here.counters()
    for tag in (0xD0, 0xDC):
        assert without.line.ask(sealed_under(first, title, GET, 0x30, tag), 2) == DECIPHERING, "not agreed on"
        assert one.line.ask(sealed_under(second, title, GET, 0x30, tag), 2) == DECIPHERING, "another one's"
    for tag in (0xC8, 0xDB):
        assert one.line.ask(sealed_as(one, GET, 0x30, tag), 2) == DECIPHERING, (
            "global, once there is a dedicated"
        )
        assert one.line.ask(sealed_under(first, title, GET, 0x30, tag), 2) == DECIPHERING
    assert here.counters() == floors
    assert one.line.ask(sealed_under(first, title, GET, 0x30, 0xD0), 2)[0] == 0xD4
    assert two.line.ask(sealed_under(second, title, GET, 0x30, 0xDC), 2, 17)[0] == 0xDC
    again = here.signed_on("operator", one.line, dedicated_key=random_octets(16))
    assert again.line.ask(sealed_under(first, title, GET, 0x30, 0xD0), 2) == DECIPHERING, "of the one before"


def test_B08_an_initiate_is_always_under_the_global_key(here: Running) -> None:
    client = here.client("operator")
    (effect,) = client.machine.associate(random_octets(16))
    aarq = Aarq.decode(effect.octets)  # type: ignore[union-attr]
    octets = aarq.user_information
    assert octets is not None and octets[0] == 0x21
    for tag in (0x41, 0xDC, 0x28, 0xC8, 0xDD):
        inner = bytes((tag,)) + (b"\0" if tag == 0xDC else b"") + octets[1:]
        assert client.line.ask(aarq.replace(user_information=inner).encode(), 2) == REJECTED, hex(tag)


@pytest.mark.parametrize("depth", [2, 3, 5, 10, 50])
def test_B10_a_ciphered_APDU_holds_none(depth: int, here: Running) -> None:
    for outer, inner in ((0xDB, 0xDB), (0xC8, 0xC8), (0xDB, 0xC8), (0xDB, 0xE0), (0xDB, 0xDD), (0xDB, 0xDF)):
        client = here.signed_on("operator")
        octets = GET
        for _ in range(depth - 1):
            octets = (
                sealed_as(client, octets, 0x30, inner)
                if inner in (0xDB, 0xC8)
                else bytes((inner, 0)) + octets
            )
        assert is_refused(client.line.ask(sealed_as(client, octets, 0x30, outer), 2))
        assert client.get(8, CLOCK)


def test_B11_the_outer_tag_fixes_the_inner_one(here: Running) -> None:
    client = here.signed_on("manager", dedicated_key=None)
    dedicated = here.signed_on("manager", dedicated_key=random_octets(16))
    own = dedicated.machine.context.dedicated
    assert own is not None
    title = client.machine.profile.setup.own_title
    plain = {
        0xC0: GET,
        0xC1: bytes.fromhex("C101C1000100006001 0AFF0200 090158"),
        0xC3: bytes.fromhex("C301C1004600006003 0AFF01010F00"),
        0xC4: bytes.fromhex("C401C10006"),
        0x60: bytes.fromhex("600A060760857405080101"),
        0x01: bytes.fromhex("0100000006 5F1F0400 00101D 0400"),
        0x0F: bytes.fromhex("0F00000001000200"),
        0xD8: bytes.fromhex("D80101"),
    }
    pairs = 0
    for tag, form in FORMS.items():
        if form.general:
            continue
        for inner, octets in plain.items():
            if inner == form.plain_tag and inner in (0xC0, 0xC1, 0xC3):
                continue
            if form.key_set == ciphered.GLOBAL:
                answer = client.line.ask(sealed_as(client, octets, 0x30, tag), 1)
            else:
                answer = dedicated.line.ask(sealed_under(own, title, octets, 0x30, tag), 1)
            assert is_refused(answer), (hex(tag), hex(inner), answer.hex())
            pairs += 1
    assert pairs > 200
    assert client.get(70, "0.0.96.3.10.255", 3) == 1 and client.get(1, POINT) != b"X"
    for tag, octets in ((0x60, plain[0x60]), (0x62, bytes.fromhex("6203800100"))):
        assert is_refused(client.line.ask(sealed_as(client, octets, 0x30, 0xDB), 1)), hex(tag)


def test_B13_the_title_in_a_general_header_is_the_peers_or_none(here: Running) -> None:
    client = here.signed_on("operator")
    own, meter = client.machine.profile.setup.own_title, here.meter.system_title
    other = here.credentials.roles["installer"].client_system_title
    assert other is not None
    floors = here.counters()
    for title in (meter, other, own[:7], own + b"\0", own[:1], bytes(8), bytes(255), own[::-1]):
        answer = client.line.ask(sealed_as(client, GET, 0x30, 0xDB, title), 2)
        assert is_refused(answer), title.hex()
        assert here.counters() == floors
    for title in (own, b""):
        key = client.machine.profile.setup.unicast
        assert key is not None
        counter = key.tx.take().to_bytes(4, "big")
        content = b"\x30" + counter + key.handle.seal(0x30, own + counter, GET)
        octets = b"\xdb" + bytes((len(title),)) + title + bytes((len(content),)) + content
        answer = client.line.ask(octets, 2)
        assert answer[0] == 0xDB, "like for like"
        message: object = apdu.decode(client.opened(answer))
        assert codec.decode(message.result.data.raw)  # type: ignore[attr-defined]

"""What a stranger learns from answers: I02 (what depends on keys), I03 (addresses), I06 (lengths)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from meterseal.apdu import acse
from meterseal.apdu.acse import Aarq
from meterseal.apdu.ciphered import FORMS, build, parse
from meterseal.codec.types import Tag
from meterseal.crypto import GcmKey, random_octets
from meterseal.keys.counters import ReceiveCounter, SendCounter
from meterseal.security import KeyInUse, Style, protect
from tests.hostile.aarq import first, initiate
from tests.hostile.raw import DECIPHERING, NOT_POSSIBLE, REJECTED, Line, Running, running
from tests.meter.world import Client, write

CLOCK, POINT, REGISTER = "0.0.1.0.0.255", "0.0.96.1.10.255", "1.0.1.8.0.255"
GET = bytes.fromhex("C001C100080000010000FF0200")
USERS = '[roles.installer.users.1]\nname = "one"\n'


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("meter"), USERS) as found:
        yield found


def flipped(octets: bytes, at: int) -> bytes:
    at %= len(octets)
    return octets[:at] + bytes((octets[at] ^ 1,)) + octets[at + 1 :]


def other_key() -> KeyInUse:
    return KeyInUse(
        GcmKey(random_octets(16), random_octets(16)), SendCounter(1 << 20, 1 << 21), ReceiveCounter()
    )


# --- I02 ------------------------------------------------------------------------------------------


def test_I02_every_failure_inside_an_association_is_one_answer(here: Running) -> None:
    """Bad tag, bad text, other keys, no key, other suites, forms and titles: the same octets, no change."""
    client = here.signed_on("operator")
    context, setup = client.machine.context, client.machine.profile.setup
    good = protect(context, GET, 3, Style.GLO)
    general = protect(context, GET, 3, Style.GENERAL_GLO)
    message = parse(good)
    own = setup.unicast
    assert own is not None
    setup.unicast = other_key()
    foreign = [protect(context, GET, 3, style) for style in (Style.GLO, Style.GENERAL_GLO)]
    setup.unicast = own
    installer = here.credentials.roles["installer"].client_system_title
    assert installer is not None
    half = GcmKey(here.credentials.roles["operator"].octets("guek") or b"", random_octets(16))
    nonce = setup.own_title + (message.counter + 9).to_bytes(4, "big")
    failing = {
        "bad tag": flipped(good, -1),
        "bad text": flipped(good, 8),
        "bad counter": flipped(good, 4),
        "bad tag, general": flipped(general, -1),
        "another key": foreign[0],
        "another key, general": foreign[1],
        "another GAK": build(FORMS[0xC8], b"", 0x30, message.counter + 9, half.seal(0x30, nonce, GET)),
        "suite 1": build(FORMS[0xC8], b"", 0x31, message.counter, message.body),
        "suite 2": build(FORMS[0xC8], b"", 0x32, message.counter, message.body),
        "suite 15": build(FORMS[0xC8], b"", 0x3F, message.counter, message.body),
        "no such key: broadcast": build(FORMS[0xC8], b"", 0x70, message.counter, message.body),
        "no such key: dedicated": b"\xd0" + good[1:],
        "no such key: general-ded": b"\xdc" + general[1:],
        "another form": b"\xc9" + good[1:],
        "a title of somebody else": general.replace(setup.own_title, installer),
        "the meter's own title": general.replace(setup.own_title, here.meter.system_title),
        "encryption taken off": build(FORMS[0xC8], b"", 0x10, message.counter, message.body),
        "authentication taken off": build(FORMS[0xC8], b"", 0x20, message.counter, message.body),
    }
    floors = here.counters()
    answers = {name: client.line.ask(octets, 2) for name, octets in failing.items()}
    assert answers == dict.fromkeys(failing, DECIPHERING)
    assert here.counters() == floors
    assert client.line.ask(good, 2)[0] == 0xCC


def test_I02_every_failing_sign_on_that_depends_on_keys_is_one_answer(here: Running) -> None:
    client = here.client("operator")
    setup = client.machine.profile.setup
    own = setup.unicast
    assert own is not None
    good = first(client)
    octets = good.user_information
    assert octets is not None
    setup.unicast = other_key()
    foreign = first(here.client("operator"))
    setup.unicast = own
    installer = here.credentials.roles["installer"].client_system_title
    spent = first(here.client("operator"))
    assert here.line().ask(spent.encode(), 2) != REJECTED
    failing: dict[str, Aarq] = {
        "bad tag": good.replace(user_information=flipped(octets, -1)),
        "bad text": good.replace(user_information=flipped(octets, 9)),
        "another key": foreign,
        "suite 1": good.replace(user_information=octets[:2] + b"\x31" + octets[3:]),
        "broadcast key": good.replace(user_information=octets[:2] + b"\x70" + octets[3:]),
        "dedicated form": good.replace(user_information=b"\x41" + octets[1:]),
        "not protected": good.replace(user_information=bytes.fromhex("01000000065F1F040000101D0400")),
        "replayed": spent,
        "another role's title": good.replace(calling_ap_title=installer),
        "nobody's title": good.replace(calling_ap_title=b"MSLHES99"),
        "the meter's title": good.replace(calling_ap_title=here.meter.system_title),
        "a repeated challenge": good.replace(calling_authentication_value=spent.calling_authentication_value),
        "a short dedicated key": initiate(here.client("operator"), dedicated_key=bytes(15)),
    }
    answers = {name: here.line().ask(aarq.encode(), 2) for name, aarq in failing.items()}
    answers["an unknown user"] = here.line().ask(first(here.client("installer", user=9)).encode(), 3)
    answers["no user"] = here.line().ask(first(here.client("installer")).encode(), 3)
    assert answers == dict.fromkeys(answers, REJECTED)
    assert here.signed_on("operator").get(3, REGISTER)


# --- I03 ------------------------------------------------------------------------------------------

ADDRESSES = {"operator": (2, 1), "installer": (3, 1), "manager": (1, 1), "operator there": (2, 17)}
STRANGE = {
    "no such client": (77, 1),
    "no such logical device": (2, 5),
    "neither": (1000, 300),
    "zero": (0, 0),
    "the public client of no device": (16, 40),
}


def shapes() -> dict[str, bytes]:
    """AARQs of somebody who holds no key, from well-formed to noise."""
    base = Aarq(
        application_context_name=acse.context_name(3),
        calling_ap_title=b"MSLHES77",
        sender_acse_requirements=acse.AUTHENTICATION_UNIT,
        mechanism_name=acse.mechanism_name(5),
        calling_authentication_value=random_octets(16),
        user_information=build(FORMS[0x21], b"", 0x30, 5, random_octets(40)),
    )
    made: dict[str, Aarq] = {
        "well-formed": base,
        "a user": base.replace(calling_ae_invocation_id=1),
        "no user-information": base.replace(user_information=None),
        "a plain Initiate": base.replace(user_information=bytes.fromhex("01000000065F1F040000101D0400")),
        "an Initiate cut short": base.replace(user_information=bytes.fromhex("0100000006")),
        "version 5": base.replace(user_information=bytes.fromhex("01000000055F1F040000101D0400")),
        "a small size": base.replace(user_information=bytes.fromhex("01000000065F1F040000101D000A")),
        "a dedicated key": base.replace(user_information=b"\x01\x01\x10" + bytes(16) + b"\0\0\6"),
        "no title": base.replace(calling_ap_title=None),
        "a title of 7": base.replace(calling_ap_title=bytes(7)),
        "no mechanism": base.replace(
            mechanism_name=None, sender_acse_requirements=None, calling_authentication_value=None
        ),
        "no unit": base.replace(sender_acse_requirements=None),
        "no challenge": base.replace(calling_authentication_value=None),
        "a short challenge": base.replace(calling_authentication_value=bytes(3)),
        "no ACSE version 1": base.replace(protocol_version=b"\x07\x00"),
        "encrypted only": base.replace(user_information=build(FORMS[0x21], b"", 0x20, 5, bytes(40))),
        "a broadcast": base.replace(user_information=build(FORMS[0x21], b"", 0x70, 5, bytes(40))),
    }
    made |= {f"mechanism {n}": base.replace(mechanism_name=acse.mechanism_name(n)) for n in range(9)}
    made |= {f"context {n}": base.replace(application_context_name=acse.context_name(n)) for n in range(6)}
    octets = {name: aarq.encode() for name, aarq in made.items()}
    whole = octets["well-formed"]
    octets |= {f"cut at {n}": whole[:n] for n in range(1, len(whole), 7)}
    octets |= {"a trailer": whole + b"\0", "an empty one": b"\x60\x00", "noise": b"\x60" + bytes(range(60))}
    return octets


def test_I03_an_AARQ_tells_no_address_from_another(here: Running) -> None:
    """Clients and logical devices that are not there answer like those that are, whatever is wrong."""
    for name, octets in shapes().items():
        answers = {who: here.line().ask(octets, *pair) for who, pair in (ADDRESSES | STRANGE).items()}
        assert len(set(answers.values())) == 1, (name, answers)
        (answer,) = set(answers.values())
        assert answer[:1] == b"\x61" and b"\xa2\x03\x02\x01\x01" in answer, name


TAGS = {*range(0, 256, 5), *range(0x05, 0x1A), *range(0x61, 0x64), *range(0xC0, 0xE2)}
"""Short names, ACSE, all services and layers, and some that mean nothing."""


def test_I03_nor_does_anything_else_before_sign_on(here: Running) -> None:
    client = here.signed_on("operator")
    genuine = client.sealed(GET)
    requests = [
        GET,
        genuine,
        client.sealed(GET, 3, Style.GENERAL_GLO),
        bytes.fromhex("6203800100"),
        bytes.fromhex("6303800100"),
        bytes.fromhex("C301C1000F0000280000FF01010911") + bytes(17),
        bytes.fromhex("D80101"),
        bytes.fromhex("E0C00003000001AA"),
        bytes.fromhex("DD08") + bytes(30),
        b"\x00",
        b"\xff" * 20,
        bytes(4000),
        bytes(4096),
        *(bytes((tag, 1, 2, 3)) for tag in sorted(TAGS)),
    ]
    for octets in requests:
        answers = {who: here.line().ask(octets, *pair) for who, pair in (ADDRESSES | STRANGE).items()}
        assert len(set(answers.values())) == 1, (octets[:20].hex(), answers)
    assert client.line.ask(genuine, 2)[0] == 0xCC, "nothing of that was taken"


def test_I03_an_unknown_address_opens_nothing_and_waits_like_a_failure(tmp_path: Path) -> None:
    with running(tmp_path, delays=True) as meter:
        line = meter.line()
        for octets in shapes().values():
            line.put(octets, 77)
            break
        assert line.take() == REJECTED
        assert line.ask(GET, 77) == NOT_POSSIBLE
        assert meter.do(lambda: dict(meter.party.delays._failures))[("127.0.0.1", 77)][0] == 1


# --- I06 ------------------------------------------------------------------------------------------


def lengths(line: Line, client: Client, operations: list[tuple[bytes, Style]]) -> list[tuple[int, int]]:
    """Octets of each request and of its answer, as an onlooker counts them."""
    found = []
    for plain, style in operations:
        octets = client.sealed(plain, 3, style)
        found.append((len(octets), len(line.ask(octets, client.sap))))
    return found


def test_I06_lengths_on_the_line_are_those_of_the_plain_text(here: Running) -> None:
    """Measured (see the security model): protection adds a fixed number of octets and hides no length."""
    client = here.signed_on("installer", user=1)
    overhead = {Style.GLO: 2 + 5 + 12, Style.GENERAL_GLO: 2 + 9 + 5 + 12}
    for style, more in overhead.items():
        for size in (1, 10, 60):
            value = write(1, POINT, 2, bytes(size), Tag.OCTET_STRING)
            assert value.data is not None
            plain = bytes.fromhex("C101C100010000600 10AFF0200".replace(" ", "")) + value.data.raw
            ((sent, _),) = lengths(client.line, client, [(plain, style)])
            assert sent == len(plain) + more
            reading = bytes.fromhex("C001C100010000600 10AFF0200".replace(" ", ""))
            ((_, answered),) = lengths(client.line, client, [(reading, style)])
            assert answered == 4 + len(value.data.raw) + more


def test_I06_the_tag_tells_the_service_and_general_glo_does_not(here: Running) -> None:
    client = here.signed_on("installer", user=1)
    action = bytes.fromhex("C301C100080000010000FF0601100000")
    for style, tags in ((Style.GLO, {0xC8: 0xCC, 0xCB: 0xCF}), (Style.GENERAL_GLO, {0xDB: 0xDB})):
        seen = {}
        for plain in (GET, action):
            octets = client.sealed(plain, 3, style)
            seen[octets[0]] = client.line.ask(octets, 3)[0]
        assert seen == tags

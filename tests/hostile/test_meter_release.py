"""Who ends an association, and who needs none: releases (A17) and pre-established associations (A18)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from meterseal.apdu.acse import Rlre, Rlrq
from meterseal.apdu.initiate import InitiateRequest
from meterseal.association import Released
from meterseal.crypto import GcmKey, random_octets
from meterseal.keys.counters import ReceiveCounter, SendCounter
from meterseal.security import KeyInUse, Style, protect
from tests.hostile.aarq import first
from tests.hostile.raw import DECIPHERING, NOT_POSSIBLE, Running, running
from tests.meter import forms
from tests.meter.world import Client, call

CLOCK, REGISTER = "0.0.1.0.0.255", "1.0.1.8.0.255"
GET = bytes.fromhex("C001C100030100010800FF0200")


def test_A17_only_the_protected_initiate_releases(tmp_path: Path) -> None:
    with running(tmp_path) as here:
        client = here.signed_on("operator")
        (effect,) = client.machine.release()
        genuine = Rlrq.decode(effect.octets)  # type: ignore[union-attr]
        inner = genuine.user_information
        assert inner is not None and inner[0] == 0x21
        floors = here.counters()
        refusing = Rlre(1).encode()
        for information in (
            None,
            b"",
            bytes.fromhex("01000000065F1F040000101D0400"),
            bytes.fromhex("0E010600"),
            inner[:-1] + bytes((inner[-1] ^ 1,)),
            inner[:1] + bytes((inner[1] - 1,)) + inner[2:-1],
            b"\x41" + inner[1:],
            b"\xc8" + inner[1:],
        ):
            for reason in (None, 0, 1, 30):
                request = Rlrq(reason, information).encode()
                assert client.line.ask(request, 2) == refusing, (reason, information)
        for octets in (bytes.fromhex("6303800100"), bytes.fromhex("6200"), bytes.fromhex("6203800105")):
            answer = client.line.ask(octets, 2)
            assert answer in (refusing, NOT_POSSIBLE), octets.hex()
        assert here.counters() == floors
        answer = client.line.ask(genuine.encode(), 2)
        effects = client.machine.receive(answer)
        assert Rlre.decode(answer).reason == 0 and any(isinstance(e, Released) for e in effects)
        assert client.line.ask(genuine.encode(), 2) == NOT_POSSIBLE
        assert here.counters()[2][0] == floors[2][0] + 1


def test_A17_with_less_protection_than_the_association_began_with(tmp_path: Path) -> None:
    config = '[roles.operator]\npolicy = "none"\nciphered = true\n'
    with running(tmp_path, config) as here:
        client = here.signed_on("operator", policy=0x6C)
        opening = client.machine._opening
        assert opening is not None
        plain = InitiateRequest(None, True, None, 6, client.machine.profile.conformance, 4096).encode()
        for applied in (1, 2):
            weak = Rlrq(0, protect(client.machine.context, plain, applied, Style.GLO)).encode()
            assert client.line.ask(weak, 2) == Rlre(1).encode()
        assert client.line.ask(client.sealed(GET), 2)[0] == 0xCC
        assert any(isinstance(e, Released) for e in client.release())


def test_A17_the_peer_option_lets_a_bare_release_pass(tmp_path: Path) -> None:
    with running(tmp_path, "[roles.operator.peer]\nplain_release = true\n") as here:
        client = here.signed_on("operator")
        wrong = Rlrq(0, bytes.fromhex("01000000065F1F040000101D0400")).encode()
        assert client.line.ask(wrong, 2) == Rlre(1).encode(), "bare means without an Initiate"
        assert Rlre.decode(client.line.ask(Rlrq(0, None).encode(), 2)).reason == 0
        assert client.line.ask(client.sealed(GET), 2) == NOT_POSSIBLE


def test_A17_a_stranger_on_another_line_ends_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as here:
        client = here.signed_on("operator")
        stranger = here.line()
        for octets in (Rlrq(0, None).encode(), Rlre(0).encode()):
            assert stranger.ask(octets, 2) == NOT_POSSIBLE
        stranger.close()
        assert client.get(3, REGISTER)


# --- A18 ------------------------------------------------------------------------------------------

STANDING = """# a channel that needs no sign-on
[roles.channel]
client = 64
mechanism = "none"
policy = "authenticated+encrypted"
pre_established = true
client_system_title = "4D534C4845530040"
services = ["get", "action", "multiple-references", "general-protection"]
[[roles.channel.rights]]
objects = ["0.0.40.0.0.255", "1.0.1.8.0.255", "0.0.1.0.0.255"]
attributes = "read"
methods = "access"
"""


def standing(here: Running, start: int = 0, line: Any = None) -> Client:
    """A client that has the channel's keys and begins without a sign-on."""
    given = here.credentials.roles["channel"]
    guek, gak = given.octets("guek"), given.octets("gak")
    assert guek is not None and gak is not None
    here.keys["channel"] = KeyInUse(GcmKey(guek, gak), SendCounter(start, start + 1000), ReceiveCounter())
    client = here.client("channel", line)
    client.machine.context.setup = client.machine.profile.setup
    client.machine.context.general = True
    return client


def test_A18_keys_are_all_it_takes_and_nothing_less(tmp_path: Path) -> None:
    with running(tmp_path, STANDING) as here:
        client = standing(here)
        assert client.opened(client.line.ask(client.sealed(GET), 64))[:4] == bytes.fromhex("C401C100")
        general = client.line.ask(client.sealed(GET, 3, Style.GENERAL_GLO), 64)
        assert client.opened(general)[:4] == bytes.fromhex("C401C100")
        floors = here.counters()
        genuine = client.sealed(GET)
        for octets in (
            GET,  # what nobody has proved gets nothing sealed, which would take a counter
            genuine[:-1] + bytes((genuine[-1] ^ 1,)),
            client.sealed(GET, 2),
            b"\xd0" + genuine[1:],
        ):
            assert client.line.ask(octets, 64) == DECIPHERING
        authenticated = client.line.ask(client.sealed(GET, 1), 64)
        assert forms.codes(client.opened(authenticated)) == [0x0D]
        assert here.counters()[64][0] > floors[64][0], "that one was authentic, and too weak"
        stranger = KeyInUse(
            GcmKey(random_octets(16), random_octets(16)), SendCounter(500, 600), ReceiveCounter()
        )
        client.machine.profile.setup.unicast = stranger
        assert client.line.ask(client.sealed(GET), 64) == DECIPHERING


def test_A16_A18_no_ACSE_in_a_pre_established_association(tmp_path: Path) -> None:
    with running(tmp_path, STANDING) as here:
        client = standing(here)
        assert client.line.ask(first(here.client("channel")).encode(), 64) == NOT_POSSIBLE
        for octets in (Rlrq(0, None).encode(), bytes.fromhex("6303800100")):
            assert client.line.ask(octets, 64) == NOT_POSSIBLE
        assert client.opened(client.line.ask(client.sealed(GET), 64))[:4] == bytes.fromhex("C401C100")


def test_A18_what_was_sent_before_a_restart_is_not_taken_again(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with running(tmp_path, STANDING, state=state) as here:
        client = standing(here)
        (message,) = forms.action_normal([call(8, CLOCK, 3)])
        frames = [client.sealed(GET), client.sealed(message.encode()), client.sealed(GET)]
        for octets in frames:
            assert client.line.ask(octets, 64)[0] in (0xCC, 0xCF)
        floor = here.counters()[64]
    with running(tmp_path, STANDING, state=state) as here:
        assert here.counters()[64] == floor
        client = standing(here, start=500)
        for octets in frames:
            assert client.line.ask(octets, 64)[:3] == bytes.fromhex("D80106")
        assert client.opened(client.line.ask(client.sealed(GET), 64))[:4] == bytes.fromhex("C401C100")

"""Who throws the switch signs for it (B16 to B18): every way to it, at the presets of suites 1 and 2."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from meterseal.apdu.general import GeneralSigning
from meterseal.association import Associated, Confirmed, Failed, Operation, Outcome
from meterseal.codec.types import Tag
from meterseal.cosem.obis import Obis, parse_member
from meterseal.cosem.object_list import ObjectEntry, encode_element
from meterseal.crypto import SigningKey, random_octets
from meterseal.errors import Refused
from meterseal.meter.manufacture import client_keys, client_place
from meterseal.meter.pairs import SIGNATURE, kept_key
from meterseal.security import AUTHENTICATED, ENCRYPTED, SIGNED, Opened, Style, protect
from meterseal.security.layers import SIGNING, Layer
from tests.meter.world import Client, World, call, read, world, write

SWITCH, SCRIPTS = "0.0.96.3.10.255", "0.0.10.0.106.255"
SEALED = AUTHENTICATED | ENCRYPTED
SCOPE_VIOLATED = 0x0D
OFF, ON = call(70, SWITCH, 1), call(70, SWITCH, 2)
PLAIN_OFF = bytes.fromhex("C301C1") + (70).to_bytes(2, "big") + Obis(SWITCH) + bytes.fromhex("01010F00")


@pytest.fixture(scope="module", params=[1, 2])
def here(request: pytest.FixtureRequest) -> Iterator[World]:
    made = world(preset=f"suite{request.param}")
    yield made
    made.meter.close()


def manager(here: World) -> Client:
    """The manager, signed on, ready to sign what it is told to."""
    client = here.client("manager")
    effects = client.run(client.machine.associate(random_octets(32), random_octets(8)))
    assert any(isinstance(effect, Associated) for effect in effects)
    return client


def signed(client: Client, *operations: Operation) -> tuple[Outcome, ...]:
    """Outcomes of one signed request; a refusal as a whole is raised."""
    for effect in client.run(client.machine.request(operations, added=SIGNED)):
        if isinstance(effect, Confirmed):
            return effect.outcomes
        if isinstance(effect, Failed):
            raise effect.error
    raise AssertionError("neither answer nor failure")


def is_on(client: Client) -> bool:
    return client.get(70, SWITCH) is True


def test_a_signed_call_throws_the_switch(here: World) -> None:
    client = manager(here)
    assert signed(client, OFF)[0].code == 0 and not is_on(client)
    assert signed(client, ON)[0].code == 0 and is_on(client)


ELEMENT, ELEMENT_TYPE = encode_element(
    ObjectEntry(70, 0, Obis(SWITCH), dict.fromkeys((1, 2, 3, 4), 1), {1: 1, 2: 1}), 3
)
UNSIGNED: dict[str, Operation] = {
    "disconnect": OFF,
    "reconnect": ON,
    "script": call(9, SCRIPTS, 1, 1, Tag.LONG_UNSIGNED),
    "schedule": write(22, "0.0.15.0.1.255", 4, None, Tag.NULL),
    "calendar": write(20, "0.0.13.0.0.255", 9, None, Tag.NULL),
    "threshold": write(71, "0.0.17.0.0.255", 4, 0, Tag.DOUBLE_LONG_UNSIGNED),
    "emergency threshold": write(71, "0.0.17.0.0.255", 5, 0, Tag.DOUBLE_LONG_UNSIGNED),
    "emergency profile": write(71, "0.0.17.0.0.255", 8, None, Tag.NULL),
    "rights of its own": call(15, "0.0.40.0.0.255", 3, ELEMENT, ELEMENT_TYPE),
    "rights of another": call(15, "0.0.40.0.2.255", 3, ELEMENT, ELEMENT_TYPE),
    "no rights": call(15, "0.0.40.0.1.255", 4, ELEMENT, ELEMENT_TYPE),
}


@pytest.mark.parametrize("way", UNSIGNED)
def test_B16_no_way_to_the_switch_without_a_signature(here: World, way: str) -> None:
    """Whoever holds the manager's symmetric keys and signed on before it can do none of these."""
    client = manager(here)
    before = here.meter.store.names(""), is_on(client)
    assert client.one(UNSIGNED[way]).code == SCOPE_VIOLATED
    assert (here.meter.store.names(""), is_on(client)) == before


def test_B16_in_every_form_of_request(here: World) -> None:
    """In lists and ACCESS the one that needs a signature is refused, the other is done; stripped ones too."""
    client = manager(here)
    assert client.ask(OFF, call(18, "0.0.44.0.0.255", 4))[0].code == SCOPE_VIOLATED
    (found,) = client.run(client.machine.request([OFF, read(70, SWITCH)], access=True))
    assert isinstance(found, Confirmed) and [o.code for o in found.outcomes] == [SCOPE_VIOLATED, 0]
    for style in (Style.GLO, Style.GENERAL_GLO):
        assert client.plain(PLAIN_OFF, SEALED, style)[:4] == bytes.fromhex("C701C10D")
    assert is_on(client)


def test_B20_the_answer_to_a_signed_call_is_signed(here: World) -> None:
    client = manager(here)
    seen: list[int] = []
    check = client.machine._check_protection

    def noted(opened: Opened) -> None:
        seen.append(opened.applied)
        check(opened)

    client.machine._check_protection = noted  # type: ignore[method-assign]
    signed(client, ON)
    assert client.one(OFF).code == SCOPE_VIOLATED
    assert seen == [SEALED | SIGNED, SEALED]


def own_key(here: World, client: Client) -> SigningKey:
    return client.machine.profile.setup.signing_key()


def operators_key(here: World, client: Client) -> SigningKey:
    keys = client_keys(here.meter.store, client_place(2))
    assert keys is not None
    return keys[0]


def meters_key(here: World, client: Client) -> SigningKey:
    return here.meter.rings[1].setup.signing_key()


def authoritys_key(here: World, client: Client) -> SigningKey:
    key: SigningKey = kept_key(here.meter.store, "maker/root", SIGNATURE)
    return key


def strangers_key(here: World, client: Client) -> SigningKey:
    return SigningKey.generate(own_key(here, client).curve)


def agreement_key(here: World, client: Client) -> SigningKey:
    """The manager's own key pair for key agreement, used for what it is not for."""
    keys = client_keys(here.meter.store, client_place(1))
    assert keys is not None
    return SigningKey.of(keys[1].backend())


@pytest.mark.parametrize("whose", [operators_key, meters_key, authoritys_key, strangers_key, agreement_key])
def test_B17_signed_by_another_key(here: World, whose: Callable[[World, Client], SigningKey]) -> None:
    client = manager(here)
    client.machine.profile.setup.signing = whose(here, client)
    with pytest.raises(Refused, match="deciphering"):
        signed(client, OFF)
    assert is_on(client)


OTHER = b"MSL\x00\x00\x00\x00\x63"


@pytest.mark.parametrize("field", ["originator_system_title", "recipient_system_title"])
@pytest.mark.parametrize("title", [OTHER, b"", None])
def test_B17_B18_of_or_for_somebody_else(here: World, field: str, title: bytes | None) -> None:
    """Signed by the manager's own key in the name of another, for another meter, or both turned round."""
    client = manager(here)
    setup = client.machine.profile.setup
    own, peer = setup.own_title, setup.peer_title or b""
    turned = peer if field == "originator_system_title" else own
    message = GeneralSigning(random_octets(8), own, peer, b"", b"", PLAIN_OFF, b"")
    message = message.replace(**{field: turned if title is None else title})
    message = message.replace(signature=own_key(here, client).sign(message.signed()))
    answer = client.opened(client.line.ask(sealed(client, message.encode()), client.sap))
    assert answer == bytes.fromhex("D80105")
    assert is_on(client)


def sealed(client: Client, apdu: bytes) -> bytes:
    return protect(client.machine.context, apdu, SEALED, Style.GENERAL_GLO)


def a_signed_call(client: Client) -> bytes:
    """A call of disconnect, signed for the client's meter and not ciphered."""
    layer = Layer(SIGNING, b"", b"", random_octets(8))
    return protect(client.machine.context, PLAIN_OFF, SIGNED, Style.PLAIN, (layer,))


def test_B18_what_was_signed_for_one_meter_is_nothing_to_another(here: World) -> None:
    """Opened at one meter and sealed for another, under that one's own keys: it names who it is for."""
    client = manager(here)
    other = world(preset=f"suite{client.machine.profile.setup.suite.id}")
    theirs = manager(other)
    theirs.machine.profile.setup.signing = own_key(here, client)  # one head-end, one key, two meters
    answer = theirs.opened(theirs.line.ask(sealed(theirs, a_signed_call(client)), theirs.sap))
    assert answer == bytes.fromhex("D80105")
    assert is_on(theirs)
    other.meter.close()


def test_B16_a_signature_without_a_seal_is_not_enough(here: World) -> None:
    client = manager(here)
    assert client.line.ask(a_signed_call(client), client.sap)[:1] == b"\xd8"
    assert is_on(client)


def test_B17_the_operator_signs_well_and_may_not(here: World) -> None:
    client = here.client("operator")
    client.run(client.machine.associate(random_octets(32), random_octets(8)))
    assert signed(client, OFF)[0].code == 3
    assert here.credentials.roles["operator"].signed == ()


def test_the_credentials_name_what_is_signed(here: World) -> None:
    named = {str(parse_member(text)) for text in here.credentials.roles["manager"].signed}
    assert {"70/0.0.96.3.10.255:1()", "70/0.0.96.3.10.255:2()", "9/0.0.10.0.106.255:1()"} <= named
    assert len(named) == len(here.credentials.roles["manager"].signed)

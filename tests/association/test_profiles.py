"""Profiles: what they say of contexts, sizes and services, and what nobody has said."""

from __future__ import annotations

import pytest

from meterseal.association import Associated, ClientProfile, Released, ServerProfile, State, conformance
from meterseal.association.profile import (
    BLOCKS,
    DEFAULT_CONFORMANCE,
    EVENTS,
    RING,
    SERVER_CONFORMANCE,
    ThirdParty,
)
from meterseal.crypto import suite
from meterseal.crypto.v44 import LIMIT, PACKET
from meterseal.keys.counters import WINDOW
from meterseal.security import AUTHENTICATED, ENCRYPTED, SIGNED, SecuritySetup
from meterseal.security.protect import PROTECTED
from tests.association.pair import CLIENT_TITLE, METER_TITLE, SMALL, Pair, View, call, get, octet_string, put

SETUP = SecuritySetup(suite(0), METER_TITLE, CLIENT_TITLE)


def client(**more: object) -> ClientProfile:
    return ClientProfile(client_sap=1, server_sap=1, setup=SETUP, **more)  # type: ignore[arg-type]


def test_conformance_is_the_sum_of_its_bits() -> None:
    """Bits of the block by their number in the standard, bit 0 first (acse-xdlms 4)."""
    numbers = {
        "general-protection": 1, "general-block-transfer": 2, "block-transfer-with-get-or-read": 11,
        "block-transfer-with-set-or-write": 12, "block-transfer-with-action": 13, "multiple-references": 14,
        "data-notification": 16, "access": 17, "get": 19, "set": 20, "selective-access": 21,
        "event-notification": 22, "action": 23,
    }  # fmt: skip
    for name, number in numbers.items():
        assert conformance(name) == 1 << 23 - number, name
    assert conformance() == 0 and conformance("get", "action") == 0x11
    unasked = {"general-block-transfer", "event-notification"}
    assert conformance(*(name for name in numbers if name not in unasked)) == DEFAULT_CONFORMANCE
    assert DEFAULT_CONFORMANCE | conformance("general-block-transfer") == SERVER_CONFORMANCE


def test_what_a_client_asks_for() -> None:
    assert client().proposed == DEFAULT_CONFORMANCE
    assert client(options=frozenset({"prefers_gbt"})).proposed == DEFAULT_CONFORMANCE | BLOCKS
    assert client(events=print).proposed == DEFAULT_CONFORMANCE | EVENTS
    assert client(conformance=EVENTS).proposed == EVENTS


@pytest.mark.parametrize(
    ("around", "size", "within"),
    [(0, 0, 0), (7, 0, 65528), (0, 128, 128), (7, 128, 121), (128, 128, 1), (200, 128, 1), (127, 128, 1)],
)
def test_what_a_line_puts_around_is_of_the_size(around: int, size: int, within: int) -> None:
    assert client(around=around).within(size) == within


def test_a_context_has_what_its_profile_says() -> None:
    options = frozenset({"plain_release"})
    made = client(options=options, compression=PACKET, max_pdu=777).context(CLIENT_TITLE, minimum=1)
    assert made.setup is SETUP and made.peer_title == CLIENT_TITLE
    assert (made.options, made.compression, made.limit, made.minimum) == (options, PACKET, 777, 1)
    assert made.general and made.parties == {} and not (made.serving or made.window or made.carrying)
    assert made.dedicated is None and made.exclusive_dedicated is False
    parties = {CLIENT_TITLE: made}
    served = client().context(None, serving=True, window=WINDOW, parties=parties)
    assert (served.serving, served.window, served.parties, served.minimum) == (True, WINDOW, parties, 0)
    assert client(max_pdu=0).context(None).limit == LIMIT
    assert client().context(None).compression is None


def test_a_third_partys_context_takes_sealed_messages_without_the_clients_key() -> None:
    third = ThirdParty(name="u", setup=SETUP, view=View(), options=frozenset({"algorithm_id"}))
    made = third.context(WINDOW)
    assert made.setup is SETUP and made.peer_title == CLIENT_TITLE
    assert made.minimum == AUTHENTICATED | ENCRYPTED
    assert made.general is True and made.serving is True and made.carrying is False
    assert made.window == WINDOW and third.context(0).window == 0
    assert made.options == {"algorithm_id", "ak_in_use"}


@pytest.mark.parametrize("datagrams", [False, True])
@pytest.mark.parametrize(("policy", "minimum"), [(0x6C, 3), (0x04, 1), (0x08, 2), (0x14, 1), (0x60, 0)])
def test_what_a_meter_holds_messages_against(policy: int, minimum: int, datagrams: bool) -> None:
    third = ThirdParty(name="u", setup=SETUP, view=View())
    server = {"third_parties": {b"MSLUTI01": third}}
    made = Pair(policy=policy, datagrams=datagrams, server=server).server.context
    assert made.minimum == minimum and made.serving is True and made.general is True
    assert made.peer_title == CLIENT_TITLE
    assert made.window == (WINDOW if datagrams else 0) == made.parties[b"MSLUTI01"].window
    plain = Pair(mechanism=3, ciphered=False, policy=policy).server
    plain.profile.setup.policy = policy
    assert plain._fresh_context().minimum == 0


def test_what_a_meter_remembers_of_earlier_sign_ons_is_bounded() -> None:
    first, second = (ServerProfile(client_sap=1, server_sap=1, setup=SETUP, view=View()) for _ in range(2))
    assert first.recent is not second.recent
    for ring in (first.recent, first.dedicated_before):
        assert ring.maxlen == RING == 64


def test_what_an_answer_need_not_have() -> None:
    assert client().waived == 0
    assert client(options=frozenset({"unsigned_answers"})).waived == SIGNED


@pytest.mark.parametrize(
    ("mechanism", "ciphered", "number", "titles"),
    [
        (0, False, 1, False),
        (3, False, 1, False),
        (5, False, 1, True),
        (6, False, 1, True),
        (0, True, 3, True),
    ],
)
def test_context_name_and_titles(mechanism: int, ciphered: bool, number: int, titles: bool) -> None:
    profile = client(mechanism=mechanism, ciphered=ciphered)
    assert (profile.context_number, profile.with_titles) == (number, titles)
    assert profile.scheme.number == mechanism


@pytest.mark.parametrize("mechanism", [0, 1, 3, 6])
def test_a_policy_is_for_contexts_with_ciphering(mechanism: int) -> None:
    """A setup may be shared with ciphered associations: where nothing can be protected nothing is asked."""
    heard: list[object] = []
    pair = Pair(
        mechanism=mechanism,
        ciphered=False,
        client={"events": heard.append},
        server={"conformance": SERVER_CONFORMANCE | EVENTS},
    )
    for end in (pair.client, pair.server):
        end.profile.setup.policy = 0x6C
    assert pair.sign_on() == [Associated(None)]
    for operation in (get(), put(octet_string(b"now")), call()):
        assert pair.outcomes(operation)[0].code == 0
    pair.run(pair.server.notify(get(), SMALL), "meter")
    assert len(heard) == 1
    assert pair.release() == [Released("")]
    assert {octets[0] for _, octets in pair.wire} & PROTECTED == set()


def test_roles_and_titles_of_the_public_client_are_nobodys() -> None:
    pair = Pair(mechanism=0, ciphered=False)
    pair.sign_on()
    assert pair.server.user is None and pair.client.state is pair.server.state is State.ASSOCIATED
    assert pair.server.context.dedicated is None and not pair.server.context.exclusive_dedicated

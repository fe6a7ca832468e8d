"""Access: rights, policy and protection against every service form, by a reference written apart."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal import apdu
from meterseal.apdu import services as s
from meterseal.apdu.ciphered import FORMS as CIPHERED
from meterseal.apdu.ciphered import GENERAL_GLO, GLO_TAG, build
from meterseal.apdu.common import (
    AttributeDescriptor,
    AttributeWithSelection,
    DataBlock,
    MethodDescriptor,
    ResultCode,
    ResultData,
    SelectiveAccess,
)
from meterseal.apdu.initiate import ExceptionResponse
from meterseal.association import Indication, Outcome, Refusal, conformance
from meterseal.errors import UnknownKey, Unsupported
from meterseal.security import Opened, Style, protect, unprotect
from tests.association.pair import (
    CLIENT_TITLE,
    CLOCK,
    REGISTER,
    SMALL,
    SWITCH,
    Pair,
    associated,
    get,
    octet_string,
    replies,
    single,
)

INVOKE = 0xC5
Form = tuple[str, Callable[[], Any], int]
"""Name, request, and the bit of the right that it needs (read 1, write 2, access 1)."""

_GET = AttributeDescriptor(3, REGISTER, 2)
_SET = AttributeDescriptor(8, CLOCK, 2)
_CALL = MethodDescriptor(70, SWITCH, 1)

FORMS: list[Form] = [
    ("get", lambda: s.GetRequestNormal(INVOKE, _GET, None), 1),
    ("get-list", lambda: s.GetRequestWithList(INVOKE, (AttributeWithSelection(_GET, None),)), 1),
    ("set", lambda: s.SetRequestNormal(INVOKE, _SET, None, SMALL), 2),
    ("set-list", lambda: s.SetRequestWithList(INVOKE, (AttributeWithSelection(_SET, None),), (SMALL,)), 2),
    (
        "set-block",
        lambda: s.SetRequestWithFirstDatablock(INVOKE, _SET, None, DataBlock(True, 1, SMALL.raw)),
        2,
    ),
    (
        "set-list-block",
        lambda: s.SetRequestWithListAndFirstDatablock(
            INVOKE, (AttributeWithSelection(_SET, None),), DataBlock(True, 1, b"\x01" + SMALL.raw)
        ),
        2,
    ),
    ("action", lambda: s.ActionRequestNormal(INVOKE, _CALL, SMALL), 1),
    ("action-list", lambda: s.ActionRequestWithList(INVOKE, (_CALL,), (SMALL,)), 1),
    (
        "action-block",
        lambda: s.ActionRequestWithFirstPblock(INVOKE, _CALL, DataBlock(True, 1, SMALL.raw)),
        1,
    ),
    (
        "action-list-block",
        lambda: s.ActionRequestWithListAndFirstPblock(
            INVOKE, (_CALL,), DataBlock(True, 1, b"\x01" + SMALL.raw)
        ),
        1,
    ),
]


def codes(message: Any) -> list[int]:
    """The result codes of any response."""
    if hasattr(message, "outcomes"):
        return [o.result for o in message.outcomes]
    if hasattr(message, "outcome"):
        return [message.outcome.result]
    results = message.results if hasattr(message, "results") else (message.result,)
    return [r.code if isinstance(r, ResultCode) else 0 if isinstance(r, ResultData) else r for r in results]


def reference(right: int | None, needed: int, applied: int, policy: int) -> int:
    """The result code that the sheet asks for: not there 4, no right 3, protection too weak 0D."""
    if right is None:
        return 4
    if not right & needed:
        return 3
    asked = set()
    for bits in (right, policy):
        asked |= {name for name, bit in (("auth", 4), ("enc", 8), ("sign", 16)) if bits & bit}
    carried = {name for name, bit in (("auth", 1), ("enc", 2)) if applied & bit}
    return 0 if asked <= carried else 0x0D


def answer_reference(right: int | None, applied: int, policy: int) -> int:
    """The protection of the answer: what the request had, and what policy and right ask of responses."""
    bits = policy | (right or 0)
    return applied | (1 if bits & 32 else 0) | (2 if bits & 64 else 0)


def ask(pair: Pair, message: Any, applied: int) -> tuple[Any, Opened | None]:
    """One request under this protection; the answer, and how it came."""
    octets = message.encode()
    if applied:
        octets = protect(pair.client.context, octets, applied, Style.GLO)
    (answer,) = replies(pair.to_meter(octets))
    if answer[0] in (0xCC, 0xCD, 0xCF):
        opened = unprotect(pair.client.context, answer)
        return apdu.decode(opened.apdu), opened
    return apdu.decode(answer), None


RIGHTS: list[int | None] = [
    None,
    *(base | bits for base in (0, 1, 2, 3) for bits in (0, 4, 8, 12, 16, 32, 64, 96, 12 | 96, 252)),
]


@pytest.mark.parametrize("policy", [0, 0x04, 0x08, 0x0C, 0x6C, 0x60])
@pytest.mark.parametrize(("name", "make", "needed"), FORMS, ids=[name for name, _, _ in FORMS])
def test_core_A21_every_right_protection_and_form(
    name: str, make: Callable[[], Any], needed: int, policy: int
) -> None:
    pair = associated(policy=policy)
    member = (name.startswith("action"), *_member(name))
    for right, applied in product(RIGHTS, range(4)):
        if policy & 4 and applied == 2:
            continue  # without a tag it is not even opened: see the tests of messages
        pair.view.rights[member] = right
        before = len(pair.plant.done)
        message, opened = ask(pair, make(), applied)
        code = reference(right, needed, applied, policy)
        assert codes(message) == [code], (right, applied)
        assert message.invoke_id_and_priority == INVOKE
        done = len(pair.plant.done) - before
        assert done == (1 if (code == 0 and needed == 2) or (code == 0 and name.startswith("action")) else 0)
        assert (opened.applied if opened else 0) == answer_reference(right, applied, policy)


def _member(name: str) -> tuple[int, bytes, int]:
    kind = name.split("-")[0]
    return {"get": (3, REGISTER, 2), "set": (8, CLOCK, 2), "action": (70, SWITCH, 1)}[kind]


@pytest.mark.parametrize("mechanism", [0, 3])
def test_in_a_plain_context_a_right_that_asks_for_protection_cannot_be_used(mechanism: int) -> None:
    pair = associated(ciphered=False, mechanism=mechanism)
    for right, code in ((1, 0), (1 | 4, 0x0D), (1 | 8, 0x0D), (1 | 32, 0x0D), (2, 3), (None, 4)):
        pair.view.rights[False, 3, REGISTER, 2] = right
        assert codes(ask(pair, s.GetRequestNormal(INVOKE, _GET, None), 0)[0]) == [code]


# --- lists: each of its own -----------------------------------------------------------------------

members = st.lists(st.tuples(st.sampled_from([1, 2, 3, 9]), st.integers(1, 4)), min_size=1, max_size=12)


@given(
    members,
    st.dictionaries(st.integers(1, 4), st.sampled_from([None, 0, 1, 2, 3, 7, 15, 19]), max_size=4),
    st.sampled_from([1, 3]),
    st.sampled_from(["get", "set", "action"]),
)
def test_core_B19_each_element_of_a_list_has_its_own_right(
    wanted: list[tuple[int, int]], rights: dict[int, int | None], applied: int, service: str
) -> None:
    pair = associated(policy=0)
    needed = 2 if service == "set" else 1
    for (member, right), method in product(rights.items(), (False, True)):
        pair.view.rights[method, 3, REGISTER, member] = right
    attributes = tuple(
        AttributeWithSelection(AttributeDescriptor(3, REGISTER, member), None) for _, member in wanted
    )
    methods = tuple(MethodDescriptor(3, REGISTER, member) for _, member in wanted)
    values = tuple(octet_string(bytes((n,))) for n in range(len(wanted)))
    message: Any = {
        "get": s.GetRequestWithList(INVOKE, attributes),
        "set": s.SetRequestWithList(INVOKE, attributes, values),
        "action": s.ActionRequestWithList(INVOKE, methods, values),
    }[service]
    answer, _ = ask(pair, message, applied)
    expected = [reference(rights.get(member, 3), needed, applied, 0) for _, member in wanted]
    assert codes(answer) == expected
    allowed = [value for value, code in zip(values, expected, strict=True) if code == 0]
    assert [o.data for o in pair.plant.done] == ([] if service == "get" else allowed)


def test_core_B19_lists_of_255_and_of_nothing() -> None:
    pair = associated()
    attribute = AttributeWithSelection(_GET, None)
    answer, _ = ask(pair, s.GetRequestWithList(INVOKE, (attribute,) * 255), 3)
    assert codes(answer) == [0] * 255
    for message in (
        s.GetRequestWithList(INVOKE, ()),
        s.SetRequestWithList(INVOKE, (), ()),
        s.ActionRequestWithList(INVOKE, (), ()),
    ):
        answer, _ = ask(pair, message, 3)
        assert codes(answer) == []
    assert pair.plant.done == []


# --- what was negotiated --------------------------------------------------------------------------

NEEDS = {
    "get": ("get",),
    "get-list": ("get", "multiple-references"),
    "set": ("set",),
    "set-list": ("set", "multiple-references"),
    "set-block": ("set", "block-transfer-with-set-or-write"),
    "set-list-block": ("set", "multiple-references", "block-transfer-with-set-or-write"),
    "action": ("action",),
    "action-list": ("action", "multiple-references"),
    "action-block": ("action", "block-transfer-with-action"),
    "action-list-block": ("action", "multiple-references", "block-transfer-with-action"),
}


@pytest.mark.parametrize(("name", "make", "needed"), FORMS, ids=[name for name, _, _ in FORMS])
def test_conformance_bits_bind(name: str, make: Callable[[], Any], needed: int) -> None:
    everything = Pair().server.profile.conformance
    for missing in NEEDS[name]:
        pair = associated(server={"conformance": everything & ~conformance(missing)}, mechanism=0)
        answer, _ = ask(pair, make(), 3)
        assert answer == ExceptionResponse(1, 2)
        assert pair.plant.done == []
    pair = associated(server={"conformance": conformance(*NEEDS[name])}, mechanism=0)
    assert codes(ask(pair, make(), 3)[0]) == [0]


def test_selective_access_is_negotiated_too() -> None:
    selection = SelectiveAccess(2, SMALL)
    everything = Pair().server.profile.conformance
    for bits, code in (
        (everything, 0),
        (everything & ~conformance("selective-access"), None),
        (everything & ~conformance("get"), None),
    ):
        pair = associated(server={"conformance": bits})
        answer, _ = ask(pair, s.GetRequestNormal(INVOKE, _GET, selection), 3)
        assert answer == ExceptionResponse(1, 2) if code is None else codes(answer) == [code]


def test_general_protection_is_negotiated_too() -> None:
    bits = Pair().server.profile.conformance & ~conformance("general-protection")
    pair = associated(server={"conformance": bits})
    octets = protect(pair.client.context, get_octets(), 3, Style.GENERAL_GLO)
    refusal = single(pair.to_meter(octets), Refusal)
    assert isinstance(refusal.error, Unsupported)
    # A client that prefers general protection does without.
    pair = associated(server={"conformance": bits}, client={"general": True})
    assert pair.outcomes(get()) == (Outcome(0, SMALL.raw),)


def get_octets(invoke: int = INVOKE) -> bytes:
    return s.GetRequestNormal(invoke, _GET, None).encode()


# --- like for like --------------------------------------------------------------------------------


@pytest.mark.parametrize("style", [Style.GLO, Style.GENERAL_GLO])
def test_core_B20_the_answer_comes_like_the_request(style: Style) -> None:
    pair = associated()
    (answer,) = replies(pair.to_meter(protect(pair.client.context, get_octets(), 3, style)))
    assert unprotect(pair.client.context, answer).style is style


def test_core_B20_a_plain_request_gets_the_protection_that_policy_asks_of_answers() -> None:
    pair = associated()
    answer, opened = ask(pair, s.GetRequestNormal(INVOKE, _GET, None), 0)
    assert codes(answer) == [0x0D]
    assert opened is not None
    assert (opened.applied, opened.style) == (3, Style.GLO)


# --- nobody waits for an answer -------------------------------------------------------------------


@pytest.mark.parametrize(("name", "make", "needed"), FORMS, ids=[name for name, _, _ in FORMS])
def test_unconfirmed_requests_are_done_without_a_word(
    name: str, make: Callable[[], Any], needed: int
) -> None:
    pair = associated()
    message = make().replace(invoke_id_and_priority=0x85)
    effects = pair.to_meter(protect(pair.client.context, message.encode(), 3, Style.GLO))
    if name.startswith("get"):
        assert len(replies(effects)) == 1  # there is no other way to read
    else:
        assert effects == []
        assert len(pair.plant.done) == 1
    pair.view.rights[name.startswith("action"), *_member(name)] = 0
    effects = pair.to_meter(protect(pair.client.context, message.encode(), 3, Style.GLO))
    assert len(replies(effects)) == (1 if name.startswith("get") else 0)


# --- everybody's key ------------------------------------------------------------------------------


def broadcast(pair: Pair, octets: bytes, counter: int, style: Style = Style.GLO) -> list[Any]:
    """A frame under the group's key, from whoever has it."""
    key = pair.server.profile.setup.broadcast
    assert key is not None
    form = GENERAL_GLO if style is Style.GENERAL_GLO else CIPHERED[GLO_TAG[octets[0]]]
    body = key.handle.seal(0x70, CLIENT_TITLE + counter.to_bytes(4, "big"), octets)
    return pair.to_meter(build(form, CLIENT_TITLE, 0x70, counter, body))


@pytest.mark.parametrize("style", [Style.GLO, Style.GENERAL_GLO])
def test_core_B06_a_broadcast_is_done_and_never_answered(style: Style) -> None:
    pair = associated(broadcast=True)
    pair.hold = True
    message = s.SetRequestNormal(0x85, _SET, None, SMALL).encode()
    indication = single(broadcast(pair, message, 7, style), Indication)
    assert indication.broadcast
    assert not indication.confirmed
    assert pair.server.respond(indication.token, [Outcome(0)]) == []
    key = pair.server.profile.setup.broadcast
    assert key is not None
    assert key.rx.lowest == 8
    # Once.
    assert single(broadcast(pair, message, 7, style), Refusal).error.kind == "replayed"


@pytest.mark.parametrize(
    ("own", "group", "done"),
    [
        (None, 0x0E, True),
        (1, 0x0E, True),
        (2, None, True),
        (1, None, False),
        (None, None, False),
        (2, 0x12, False),
    ],
)
def test_core_B06_rights_of_the_group_hold_under_its_key_only(
    own: int | None, group: int | None, done: bool
) -> None:
    """0E: write, authenticated and encrypted; 12: write, signed."""
    pair = associated(broadcast=True)
    profile = pair.server.profile
    profile.view.right = lambda operation, user: own  # type: ignore[method-assign]
    if group is not None:
        profile.group = {(_SET.class_id, _SET.instance_id, _SET.attribute_id, False): group}
    message = s.SetRequestNormal(0x85, _SET, None, SMALL).encode()
    broadcast(pair, message, 7)
    assert len(pair.plant.done) == done
    alone = protect(pair.client.context, s.SetRequestNormal(INVOKE, _SET, None, SMALL).encode(), 3, Style.GLO)
    pair.to_meter(alone)
    assert len(pair.plant.done) == done + (own == 2)


REFUSED_UNDER_BROADCAST = [
    s.SetRequestNormal(INVOKE, _SET, None, SMALL),  # confirmed
    s.ActionRequestNormal(INVOKE, _CALL, None),
    s.SetRequestWithFirstDatablock(0x85, _SET, None, DataBlock(False, 1, b"\x11")),
    s.SetRequestWithDatablock(0x85, DataBlock(True, 2, b"\x01")),
    s.ActionRequestNextPblock(0x85, 1),
    s.ActionRequestWithFirstPblock(0x85, _CALL, DataBlock(True, 1, b"\x00")),
    s.GetRequestNormal(0x85, _GET, None),
]


@pytest.mark.parametrize("message", REFUSED_UNDER_BROADCAST, ids=lambda m: f"{m.name}-{m[0]:02X}")
def test_core_B06_what_wants_an_answer_is_not_for_all(message: Any) -> None:
    pair = associated(broadcast=True)
    refusal = single(broadcast(pair, message.encode(), 1), Refusal)
    assert isinstance(refusal.error, UnknownKey)
    assert pair.plant.done == []


def test_core_B06_a_long_request_is_not_finished_under_the_groups_key() -> None:
    pair = associated(broadcast=True)
    first = s.SetRequestWithFirstDatablock(0x85, _SET, None, DataBlock(False, 1, SMALL.raw[:2]))
    pair.to_meter(protect(pair.client.context, first.encode(), 3, Style.GLO))
    last = s.SetRequestWithDatablock(0x85, DataBlock(True, 2, SMALL.raw[2:]))
    broadcast(pair, last.encode(), 1)
    assert pair.plant.done == []


# --- without a sign-on ----------------------------------------------------------------------------


def standing(**options: Any) -> Pair:
    """A pre-established association, and a client context that fits it."""
    return Pair(server={"pre_established": True}, **options)


def test_core_A18_a_pre_established_association_needs_its_protection() -> None:
    pair = standing()
    other = Pair()
    for applied, code in ((3, 0), (1, 0x0D)):
        message = s.SetRequestNormal(INVOKE, _SET, None, SMALL).encode()
        octets = protect(other.client.context, message, applied, Style.GLO)
        (answer,) = replies(pair.to_meter(octets))
        opened = unprotect(other.client.context, answer)
        assert codes(apdu.decode(opened.apdu)) == [code]
        assert single(pair.to_meter(octets), Refusal).error.kind == "replayed"
    assert len(pair.plant.done) == 1


@pytest.mark.parametrize("open_to_all", ["pre-established", "datagrams"])
def test_core_C05_strangers_use_up_no_counters(open_to_all: str) -> None:
    """Who has proved nothing gets nothing sealed: it would take a counter each time, up to their end."""
    pair = standing() if open_to_all == "pre-established" else Pair(datagrams=True)
    if open_to_all == "datagrams":
        pair.sign_on()
    before = pair.server_state()
    for message in (
        s.SetRequestNormal(INVOKE, _SET, None, SMALL),
        s.SetRequestWithFirstDatablock(INVOKE, _SET, None, DataBlock(False, 1, b"\x09")),
        s.SetRequestWithDatablock(INVOKE, DataBlock(True, 2, b"\x09")),
        s.GetRequestNext(INVOKE, 1),
        s.ActionRequestNextPblock(INVOKE, 1),
    ):
        assert replies(pair.to_meter(message.encode())) == [ExceptionResponse(1, 5).encode()]
    assert pair.server_state() == before and pair.plant.done == []


def test_core_A16_a_pre_established_association_takes_no_acse() -> None:
    pair = standing()
    before = pair.server_state()
    for octets in (b"\x60\x00", b"\x62\x00", b"\x61\x00", replies(Pair().client.associate(bytes(16)))[0]):
        assert replies(pair.to_meter(octets)) == [ExceptionResponse(1, 1).encode()]
    assert pair.server_state() == before


def test_core_A18_the_end_of_the_line_does_not_end_it() -> None:
    pair = standing()
    pair.server.end()
    other = Pair()
    (answer,) = replies(pair.to_meter(protect(other.client.context, get_octets(), 3, Style.GLO)))
    assert codes(apdu.decode(unprotect(other.client.context, answer).apdu)) == [0]

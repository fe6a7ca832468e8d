"""Scenes of somebody on the wire: bits flipped, messages replayed, protection talked down."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from meterseal import net
from meterseal.apdu import acse
from meterseal.apdu.acse import Aare, Aarq
from meterseal.demo.scene import Account, raised
from meterseal.demo.stage import Stage, hexed
from meterseal.demo.views import CLOCK, ENERGY
from meterseal.demo.wire import Direction, Middle, Passed, ask, untouched
from meterseal.errors import (
    AuthenticationFailed,
    Forged,
    MetersealError,
    ProtocolViolation,
    Refused,
    Replayed,
)
from meterseal.framing import wrapper

GLO_GET_REQUEST, GLO_GET_RESPONSE, EXCEPTION = 0xC8, 0xCC, 0xD8
_APDU: Final = wrapper.HEADER_LENGTH
_CONTENT: Final = _APDU + 2
"""Where the security control octet of a short service-specific APDU is, behind its tag and length."""

_PLAIN_READ: Final = bytes.fromhex("C001C100030100010800FF0200")
"""get-request-normal of energy +A without any protection."""

_COUNTER_ERROR: Final = 6
_LOWER: Final = {0: "none", 1: "a password"}


async def bit_flipped(stage: Stage, account: Account) -> None:
    """Every bit of a request in turn while the request itself waits; then one bit of an answer."""
    answers: dict[str, list[int]] = {}
    request = b""
    broken: list[bytes] = []

    async def every_bit(direction: Direction, frame: bytes) -> bytes:
        nonlocal request
        if frame[_APDU] == GLO_GET_REQUEST and not request:
            request = frame
            for bit in range(8 * _CONTENT, 8 * len(frame)):
                answer = await wire.ask(_flipped(frame, bit))
                answers.setdefault(hexed(answer[_APDU:]), []).append(bit)
        return frame

    async def last_bit(direction: Direction, frame: bytes) -> bytes:
        if frame[_APDU] == GLO_GET_RESPONSE and not broken:
            broken.append(_flipped(frame, 8 * len(frame) - 1))
            return broken[0]
        return frame

    async with stage.wire(every_bit) as wire, stage.sign_on("operator", wire) as operator:
        first = await operator.read(ENERGY)
        count = sum(map(len, answers.values()))
        account.fact(
            f"{count} requests, each with one bit changed",
            "answered by " + ", ".join(f"{answer} ({len(bits)} times)" for answer, bits in answers.items()),
            count == 8 * (len(request) - _CONTENT) and all(int(a[:2], 16) == EXCEPTION for a in answers),
        )
        account.done("the request itself, untouched, afterwards", first.value)
        wire.middle = last_bit
        account.refusal("an answer with its last bit changed", await raised(operator.read(ENERGY)), Forged)
        account.fact("the next answer, untouched", (await operator.read(ENERGY)).value, bool(broken))
    account.evidence |= {
        "request": hexed(request),
        "first_bit": 8 * _CONTENT,
        "answers": [{"answer": answer, "bits": bits} for answer, bits in answers.items()],
        "keys": stage.keys("operator"),
        "frames": stage.opened(wire.passed),
    }


def _flipped(frame: bytes, bit: int) -> bytes:
    changed = bytearray(frame)
    changed[bit // 8] ^= 0x80 >> bit % 8
    return bytes(changed)


async def replayed(stage: Stage, account: Account) -> None:
    """A request given to the meter again, a whole session from another connection, an old answer."""
    async with stage.wire() as wire:
        async with stage.sign_on("operator", wire) as operator:
            for _ in range(2):
                await operator.read(ENERGY)
            requests = [one.sent for one in wire.passed if one.sent[_APDU] == GLO_GET_REQUEST]
            answers = [await wire.ask(frame) for frame in (requests[-1], requests[0])]
            for what, answer in zip(("the latest request", "an older one"), answers, strict=True):
                account.fact(f"{what} comes again", *_as_counter_error(answer))
            old = next(one.sent for one in wire.passed if one.sent[_APDU] == GLO_GET_RESPONSE)
            wire.middle = _instead(GLO_GET_RESPONSE, old)
            account.refusal("an older answer comes again", await raised(operator.read(ENERGY)), Replayed)
            account.fact("the next request", (await operator.read(ENERGY)).value, operator.is_open)
        recorded = [one.sent for one in wire.passed if one.direction == "out"]
        async with await net.connect(stage.url) as line:
            again = [await ask(line, frame) for frame in recorded]
    told = sorted({hexed(frame[_APDU:]) for frame in again})
    data = [frame for frame in again if frame[_APDU] == GLO_GET_RESPONSE]
    account.fact(
        f"the recorded session of {len(recorded)} requests, from another connection",
        f"answered by {', '.join(told)}",
        bool(told) and not data,
    )
    account.evidence |= {
        "keys": stage.keys("operator"),
        "frames": stage.opened(wire.passed),
        "again": asked((requests[-1], requests[0]), answers),
        "session_again": asked(recorded, again),
    }


def asked(requests: Iterable[bytes], answers: Iterable[bytes]) -> list[dict[str, str]]:
    """What somebody other than the client has sent, and the meter's answers, for the evidence."""
    pairs = zip(requests, answers, strict=True)
    return [{"request": hexed(request), "answer": hexed(answer)} for request, answer in pairs]


def _as_counter_error(answer: bytes) -> tuple[str, bool]:
    apdu = answer[_APDU:]
    is_one = apdu[0] == EXCEPTION and apdu[2] == _COUNTER_ERROR and len(apdu) == 7
    lowest = f", {int.from_bytes(apdu[3:], 'big')} or above is acceptable" if is_one else ""
    return f"{hexed(apdu)}: invocation-counter-error{lowest}" if is_one else hexed(apdu), is_one


def _instead(tag: int, other: bytes) -> Middle:
    """The next frame with this tag is replaced by another, and only that one."""
    left = [other]

    async def middle(direction: Direction, frame: bytes) -> bytes:
        return left.pop() if left and frame[_APDU] == tag else frame

    return middle


async def downgraded(stage: Stage, account: Account) -> None:
    """A weaker mechanism asked for, a weaker answer forged, a plain request in an open association."""
    async with stage.wire() as wire:
        for number, name in _LOWER.items():
            wire.middle = _asking_for(number)
            error = await raised(stage.visit("operator", wire))
            account.refusal(f"the sign-on is changed to ask for {name}", error, *_REFUSALS)
            answer = Aare.decode(wire.passed[-1].arrived[_APDU:])
            account.fact("the meter answers", acse.ASSOCIATION_RESULT[answer.result or 0], answer.result == 1)
        wire.middle = _accepting
        error = await raised(stage.visit("operator", wire))
        account.refusal("the answer is changed to: accepted, no proof needed", error, *_REFUSALS)
        wire.middle = untouched
        async with stage.sign_on("operator", wire) as operator:
            pair = wrapper.decode(wire.passed[-1].arrived)
            plain = wrapper.encode(pair[1], pair[0], _PLAIN_READ)
            answer_to_plain = await wire.ask(plain)
            (opened,) = stage.opened([Passed("in", answer_to_plain, answer_to_plain)])
            account.fact("an unprotected request inside the association", *_as_too_weak(opened))
            account.fact("the protected one", (await operator.read(CLOCK)).value, operator.is_open)
    account.evidence |= {
        "keys": stage.keys("operator"),
        "plain_request": asked([plain], [answer_to_plain]),
        "frames": stage.opened(wire.passed),
    }


def _as_too_weak(answer: dict[str, Any]) -> tuple[str, bool]:
    """Is it get-response-normal with scope-of-access-violated, and itself protected?"""
    plain = answer["plain"] or ""
    is_one = re.fullmatch("C401..010D", plain) is not None and bool(answer["layers"][-1].get("verified"))
    return f"{plain}: scope-of-access-violated, protected" if is_one else answer["hex"], is_one


_REFUSALS: Final[tuple[type[MetersealError], ...]] = (Refused, AuthenticationFailed, ProtocolViolation)


def _asking_for(mechanism: int) -> Middle:
    """The AARQ, with another mechanism and the value that goes with it."""

    def weaker(aarq: Aarq) -> Aarq:
        if not mechanism:
            return aarq.replace(
                mechanism_name=None, sender_acse_requirements=None, calling_authentication_value=None
            )
        return aarq.replace(
            mechanism_name=acse.mechanism_name(mechanism), calling_authentication_value=b"12345678"
        )

    return _changing(Aarq.tag, lambda apdu: weaker(Aarq.decode(apdu)).encode())


def _changing(tag: bytes, change: Callable[[bytes], bytes]) -> Middle:
    async def middle(direction: Direction, frame: bytes) -> bytes:
        source, destination, apdu = wrapper.decode(frame)
        return wrapper.encode(source, destination, change(apdu)) if apdu[:1] == tag else frame

    return middle


_accepting: Final = _changing(
    Aare.tag,
    lambda apdu: (
        Aare.decode(apdu)
        .replace(
            result=0,
            user_diagnostic=0,
            responder_acse_requirements=None,
            mechanism_name=None,
            responding_authentication_value=None,
        )
        .encode()
    ),
)

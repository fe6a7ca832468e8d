"""Scenes of an authority: a bare meter enrolled by its own requests, and evidence shown to a third person."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from meterseal.authority import CertificateAuthority
from meterseal.authority.enrolment import Done, Enrolment, enrol
from meterseal.authority.evidence import Kept, keep, verify
from meterseal.authority.evidence_file import read_evidence, write_evidence
from meterseal.credentials import Credentials
from meterseal.crypto import SigningKey, curve
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import Authority, Request, Validity, make_request
from meterseal.demo.scene import Account, raised
from meterseal.demo.signed import OFF, ON, certificates
from meterseal.demo.stage import Stage, hexed
from meterseal.demo.wire import Direction, Wire
from meterseal.errors import CertificateRefused, ConfigurationError, ConnectionLost, Forged, MetersealError
from meterseal.probe import Keyring
from meterseal.probe.signed import signed

_BY: Final = "the demonstration"
_REQUEST: Final = re.compile("C701..00010009(?:81..|82....)(?P<der>30.*)")
"""action-response-normal that returns an octet-string: generate_certificate_request."""


async def enrolled(stage: Stage, account: Account) -> None:
    """A meter with nothing but a trust anchor; the line is cut in the middle; then the same once more."""
    root, sub = Path(stage.at("root")), Path(stage.at("meters"))
    with CertificateAuthority.root(root, "Demonstration Root", by=_BY) as above:
        CertificateAuthority.sub(sub, "Demonstration Meters", above, tokens=True).close()
    async with Stage("suite1", trust=str(root / "ca.pem")) as bare:
        with CertificateAuthority(sub, by=_BY) as authority:
            await _enrol(bare, authority, account)


async def _enrol(bare: Stage, authority: CertificateAuthority, account: Account) -> None:
    title = bare.credentials.meter.system_title or b""
    token = authority.token(title)
    told: list[Done] = []
    async with bare.wire(_cut_after(told, 2)) as wire:
        error = await raised(bare.visit("operator", wire))
        kind = "signed on" if error is None else f"{error.kind}: there is no key of his, and no certificate"
        account.fact("the operator at the bare meter", kind, isinstance(error, ConfigurationError))
        account.refusal("a meter without its token", await _run(bare, authority, wire), CertificateRefused)
        error = await _run(bare, authority, wire, token=token, told=told.append)
        account.refusal(f"cut after {told[-1].who} {told[-1].purpose}", error, ConnectionLost)
    async with bare.wire() as again:
        found = await _enrolled(bare, authority, again, token)
        bare.credentials = found.credentials
        states = [f"{one.who} {one.purpose}: {one.what}" for one in found.done]
        account.fact("the same command again", "; ".join(states), states[1].endswith("there"))
        proved = found.proved or {}
        account.fact("signed on by signature", proved.get("role"), proved.get("mechanism") == "ecdsa")
    frames = [*bare.opened(wire.passed), *bare.opened(again.passed)]
    requests = {der: Request(der) for der in _requests(frames)}
    mine = [request for request in requests.values() if request.title == title]
    certified = {one.certificate.key.octets for one in found.done}
    asked = [request for request in mine if request.key(Purpose.SIGNATURE).octets in certified]
    account.fact(
        "requests of the meter, signed by the keys in them",
        f"{len(mine)}, two of them certified",
        len(asked) == 2 and len(mine) == len(requests),
    )
    stranger = Request(make_request(SigningKey.generate(curve("P-256")), b"MSL\0\0\0\0\x09"))
    error = _issued(authority, stranger, title)
    account.refusal("a request of another device in their place", error, CertificateRefused)
    account.evidence |= {
        "keys": bare.keys("installer"),
        "root": hexed(authority.register.above[-1].der),
        "authority": hexed(authority.certificate.der),
        "requests": [hexed(der) for der in requests],
        "certificates": [
            {"who": one.who, "purpose": one.purpose, "done": one.what, "der": hexed(one.certificate.der)}
            for one in found.done
        ],
        "frames": frames,
    }


def _cut_after(told: list[Done], count: int) -> Any:
    """A middle that closes the line once so many certificates are in."""

    async def middle(direction: Direction, frame: bytes) -> bytes:
        if len(told) >= count:
            raise ConnectionLost("cut")
        return frame

    return middle


async def _enrolled(stage: Stage, authority: CertificateAuthority, wire: Wire, token: str) -> Enrolment:
    """The run in a thread of its own: an authority waits for disks, and a meter for nobody."""
    given = Credentials.load(stage.at("meter.toml"))
    return await asyncio.to_thread(
        enrol, given, authority, wire.url, token=token, state=stage.clients, told=None
    )


async def _run(
    stage: Stage, authority: CertificateAuthority, wire: Wire, **how: Any
) -> MetersealError | None:
    given = Credentials.load(stage.at("meter.toml"))
    return await raised(asyncio.to_thread(enrol, given, authority, wire.url, state=stage.clients, **how))


def _requests(frames: Iterable[dict[str, Any]]) -> list[bytes]:
    matches = (_REQUEST.fullmatch(one["plain"] or "") for one in frames)
    return [bytes.fromhex(match["der"]) for match in matches if match]


def _issued(authority: CertificateAuthority, request: Request, title: bytes) -> MetersealError | None:
    try:
        authority.issue(request, title, Purpose.SIGNATURE, token=authority.token(title))
    except MetersealError as error:
        return error
    return None


# --- evidence -----------------------------------------------------------------------------------


async def evidence(stage: Stage, account: Account) -> None:
    """A signed call and its signed answer kept, and verified with nothing but the file and a root."""
    stage = await stage.suite1()
    async with stage.wire() as wire, stage.sign_on("manager", wire) as manager:
        await manager.call(OFF)
        await manager.call(ON)
    line = [one.arrived for one in wire.passed]
    found = signed(line, Keyring.of_credentials(stage.credentials))
    root = certificates(stage, "root.pem")
    known = [*found.certificates, *root]
    files, now = [], datetime.now(UTC)
    for apdu in found.apdus[:2]:
        made = keep(apdu, known, Kept(now, _BY, "the switch"))
        files.append(write_evidence(made))
        shown = verify(read_evidence(files[-1]), root, now)  # a third person: the file, and whom he trusts
        account.fact(
            f"{shown.message.name if shown.message is not None else 'unread'}",
            f"signed by {hexed(shown.layer.originator)} for {hexed(shown.layer.recipient)}, "
            f"certified by {shown.way[-1].certificate.subject_text}",
            shown.signer.title == shown.layer.originator and shown.way[-1].certificate == root[0],
        )
    first = read_evidence(files[0])
    changed = first.apdu[:-70] + bytes((first.apdu[-70] ^ 1,)) + first.apdu[-69:]
    error = _refused(replace(first, apdu=changed), root, now)
    account.refusal("with one bit of the call changed", error, Forged)
    error = _refused(first, [_other_root()], now)
    account.refusal("shown to somebody who trusts another root", error, CertificateRefused)
    account.evidence |= {
        "keys": stage.keys("manager"),
        "root": hexed(root[0].der),
        "signed": [hexed(apdu) for apdu in found.apdus[:2]],
        "certificates": [hexed(one.der) for one in dict.fromkeys(found.certificates)],
        "files": [octets.decode("utf-8") for octets in files],
        "frames": stage.opened(wire.passed),
    }


def _refused(given: Any, anchors: list[Certificate], now: datetime) -> MetersealError | None:
    try:
        verify(given, anchors, now)
    except MetersealError as error:
        return error
    return None


def _other_root() -> Certificate:
    key, validity = SigningKey.generate(curve("P-256")), Validity(datetime(2020, 1, 1, tzinfo=UTC))
    return Authority.root(key, "Another Root", validity).certificate

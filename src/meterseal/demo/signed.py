"""Scenes of suite 1: sign-on by certificate, signed and forged commands, keys agreed on, compression."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from meterseal.apdu.acse import Aare, Aarq
from meterseal.apdu.general import GeneralCiphering
from meterseal.client import Meter
from meterseal.credentials import Credentials
from meterseal.credentials.files import write_private
from meterseal.crypto import GcmKey, SigningKey, VerifyingKey, curve, kcv, random_octets, suite
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import Authority, Validity
from meterseal.crypto.keyfiles import read_key, write_key
from meterseal.demo.attacks import asked
from meterseal.demo.scene import Account, raised
from meterseal.demo.stage import Stage, hexed
from meterseal.demo.views import ENERGY, nonces
from meterseal.demo.wire import Passed, Wire
from meterseal.errors import AuthenticationFailed, Forged, Misuse, Refused
from meterseal.framing import wrapper
from meterseal.keys.counters import LIMIT, ReceiveCounter, SendCounter
from meterseal.security import (
    AUTHENTICATED,
    ENCRYPTED,
    SIGNED,
    Context,
    KeyInUse,
    SecuritySetup,
    Style,
    protect,
)
from meterseal.security.layers import SIGNING, Layer

SWITCH: Final = "70/0.0.96.3.10.255"
OFF, ON, STATE = f"{SWITCH}:1", f"{SWITCH}:2", f"{SWITCH}:2"
_OFF_PLAIN: Final = bytes.fromhex("C301C10046000060030AFF01010F00")
"""action-request-normal of remote_disconnect with the integer 0."""

_NO: Final = (Refused, AuthenticationFailed)
"""How a sign-on ends for whom the meter does not know."""

_SEALED: Final = AUTHENTICATED | ENCRYPTED
_PASS_3: Final = re.compile("C301..000F0000280000FF01010940(?P<proof>[0-9A-F]{128})")
_PASS_4: Final = re.compile("C701..0001000940(?P<proof>[0-9A-F]{128})")


# --- sign-on ------------------------------------------------------------------------------------


async def by_certificate(stage: Stage, account: Account) -> None:
    """A sign-on by signature, recomputed from the wire; then a certificate of somebody's own making."""
    stage = await stage.suite1()
    async with stage.wire() as wire:
        async with stage.sign_on("operator", wire) as operator:
            energy = (await operator.read(ENERGY)).value
        frames = stage.opened(wire.passed)
        root = certificates(stage, "root.pem")[0]
        aarq, aare = Aarq.decode(_apdu(wire.passed[0])), Aare.decode(_apdu(wire.passed[1]))
        titles = (aarq.calling_ap_title or b"", aare.responding_ap_title or b"")
        challenges = (aarq.calling_authentication_value or b"", aare.responding_authentication_value or b"")
        sides = (
            ("client", aarq.calling_ae_qualifier, titles[0], _PASS_3, titles + challenges[::-1]),
            ("meter", aare.responding_ae_qualifier, titles[1], _PASS_4, titles[::-1] + challenges),
        )
        signed = {}
        for who, der, title, pattern, parts in sides:
            one = Certificate(der or b"")
            one.check_issued_by(root)
            account.fact(
                f"the {who} sends its certificate",
                f"{one.subject_text} by {one.issuer_text}, {one.key.curve.name}",
                one.title == title and one.purpose is Purpose.SIGNATURE,
            )
            proof = _found(frames, pattern)
            account.fact(
                f"the {who}'s signature over both titles and both challenges",
                "verifies" if _verifies(one, proof, b"".join(parts)) else "does not verify",
                _verifies(one, proof, b"".join(parts)),
            )
            signed[who] = {
                "certificate": hexed(one.der), "signed": hexed(b"".join(parts)), "signature": hexed(proof)
            }  # fmt: skip
        account.done("signed on, energy +A", energy)
        error = await raised(stage.visit("operator", wire, _stranger(stage)))
        account.refusal("the same title, a certificate of his own making", error, *_NO)
    account.evidence |= {
        "keys": stage.keys("operator"), "root": hexed(root.der), **signed, "frames": frames
    }  # fmt: skip


def certificates(stage: Stage, name: str) -> list[Certificate]:
    """What a PEM file beside the credentials holds."""
    return Certificate.from_pem(_file(stage, name))


def _apdu(passed: Passed) -> bytes:
    return wrapper.decode(passed.arrived)[2]


def _found(frames: Iterable[dict[str, Any]], pattern: re.Pattern[str]) -> bytes:
    """The proof in the first frame that is of this pass."""
    matches = (pattern.fullmatch(one["plain"] or "") for one in frames)
    return bytes.fromhex(next((match["proof"] for match in matches if match), ""))


def _verifies(by: Certificate, signature: bytes, message: bytes) -> bool:
    try:
        if isinstance(by.key, VerifyingKey):
            by.key.verify(signature, message)
            return True
    except Forged:
        pass
    return False


def _stranger(stage: Stage) -> Credentials:
    """The operator's symmetric keys and title, a key pair and an authority that somebody made himself."""
    role, files = stage.credentials.role("operator"), Path(stage.at("meter.toml.files"))
    validity = Validity(datetime.now(UTC) - timedelta(days=1))
    key, own = SigningKey.generate(curve("P-256")), SigningKey.generate(curve("P-256"))
    root = Authority.root(own, certificates(stage, "root.pem")[0].subject_text.removeprefix("CN="), validity)
    made = root.issue(key.public, role.client_system_title or b"", Purpose.SIGNATURE, validity)
    write_private(files / "stranger.key", write_key(key), "private key")
    write_private(files / "stranger.pem", made.to_pem(), "certificate")
    other = replace(
        role,
        signing_key="meter.toml.files/stranger.key",
        signing_certificate="meter.toml.files/stranger.pem",
    )
    return Credentials(stage.credentials.meter, {"operator": other}, stage.credentials.path)


# --- what is signed -----------------------------------------------------------------------------


async def disconnect(stage: Stage, account: Account) -> None:
    """Off and on again by the manager; then by somebody who has stolen all his symmetric keys."""
    stage = await stage.suite1()
    async with stage.wire() as wire, stage.sign_on("manager", wire) as manager:
        await manager.call(OFF)
        account.fact("the manager disconnects, signed", *await _is(manager, False))
        await manager.call(ON)
        account.fact("and connects again", *await _is(manager, True))
        frames = stage.opened(wire.passed)
        signed = [one["apdu"] for one in frames if _kinds(one)[-1] == SIGNING]
        wanted = ["action-request-normal", "action-response-normal"] * 2
        account.fact("signed on the wire", ", ".join(signed), signed == wanted)
        forged = await _forge(stage, wire, frames)
        # The thief has used up the manager's next counter: this goes to waste, and tells that he is there.
        await raised(manager.read(STATE))
    async with stage.wire() as other, stage.sign_on("operator", other) as operator:
        for what, (_, answer) in forged.items():
            account.fact(what, *_as_refusal(stage, answer))
        account.fact("the switch afterwards", *await _is(operator, True))
    files = {role: certificates(stage, f"{role}-sign.pem")[0] for role in ("manager", "operator", "meter")}
    account.evidence |= {
        "keys": stage.keys("manager"),
        "certificates": {who: hexed(one.der) for who, one in files.items()},
        "forged": {what: asked([request], [answer])[0] for what, (request, answer) in forged.items()},
        "frames": stage.opened(wire.passed),
    }


async def _is(manager: Meter, on: bool) -> tuple[str, bool]:
    state = (await manager.read(STATE)).value
    return "connected" if state else "disconnected", state is on


def _kinds(frame: dict[str, Any]) -> list[str]:
    return [layer["kind"] for layer in frame["layers"]]


async def _forge(stage: Stage, wire: Wire, frames: list[dict[str, Any]]) -> dict[str, tuple[bytes, bytes]]:
    """A thief's disconnects, each under the manager's stolen GUEK and GAK: what he sent, what came back."""
    tries: dict[str, tuple[SigningKey | None, bytes]] = {
        "a thief with all symmetric keys: not signed": (None, b""),
        "the same, signed by a key of his own": (SigningKey.generate(curve("P-256")), b""),
        "the same, signed by the operator": (_key(stage, "operator"), b""),
        "the manager's signed call for another meter": (_key(stage, "manager"), b"MSL\0\0\0\0\x01"),
    }
    counter = max(counter for title, counter in nonces(frames) if title == _title(stage, "manager")) + 1
    sent = {}
    for what, (key, recipient) in tries.items():
        context = _stolen(stage, counter, key)
        layers = () if key is None else (Layer(SIGNING, b"", recipient, random_octets(8)),)
        applied = _SEALED | (SIGNED if key is not None else 0)
        octets = protect(context, _OFF_PLAIN, applied, Style.GENERAL_GLO, layers)
        request = wrapper.encode(stage.credentials.role("manager").client, 1, octets)
        sent[what] = request, await wire.ask(request)
        counter += key is None  # of what does not hold the meter takes no note
    return sent


def _as_refusal(stage: Stage, answer: bytes) -> tuple[str, bool]:
    """Is it scope-of-access-violated under protection, or an exception-response?"""
    (opened,) = stage.opened([Passed("in", answer, answer)])
    plain = opened["plain"] or ""
    scope = re.fullmatch("C701..0D00", plain) is not None and bool(opened["layers"][-1].get("verified"))
    told = f"{plain}: scope-of-access-violated, protected" if scope else hexed(wrapper.decode(answer)[2])
    return told, scope or plain == "D80105"


def _file(stage: Stage, name: str) -> bytes:
    """A file beside the credentials of this stage."""
    return Path(stage.at("meter.toml.files"), name).read_bytes()


def _key(stage: Stage, role: str) -> SigningKey:
    return read_key(_file(stage, f"{role}-sign.key"), SigningKey)


def _title(stage: Stage, role: str) -> str:
    return hexed(stage.credentials.role(role).client_system_title or b"")


def _stolen(stage: Stage, counter: int, key: SigningKey | None) -> Context:
    role, title = stage.credentials.role("manager"), stage.credentials.meter.system_title
    guek, gak = role.octets("guek"), role.octets("gak")
    if guek is None or gak is None:
        raise Misuse("the manager's credentials have no keys")
    held = KeyInUse(GcmKey(guek, gak), SendCounter(counter, LIMIT), ReceiveCounter())
    setup = SecuritySetup(suite(1), role.client_system_title or b"", title, 0, held)
    setup.signing = key
    return Context(setup, title, general=True)


# --- keys that nobody sends ----------------------------------------------------------------------


async def agreed_keys(stage: Stage, account: Account) -> None:
    """A new GUEK out of two ephemeral keys, and readings each under a key of its own."""
    stage = await stage.suite1()
    before = stage.credentials
    old = before.role("operator").octets("guek") or b""
    async with stage.wire() as wire, stage.sign_on("manager", wire) as manager:
        new = (await manager.security_setup("0.0.43.0.2.255").key_agreement("guek"))["guek"]
    managing = stage.opened(wire.passed, before)
    offers = {"client": _offer(managing, _OFFERED), "meter": _offer(managing, _ANSWERED)}
    signers = {"client": "manager-sign.pem", "meter": "meter-sign.pem"}
    for side, (point, signature) in offers.items():
        by = certificates(stage, signers[side])[0]
        holds = _verifies(by, signature, b"\x00" + point)
        account.fact(f"the {side}'s ephemeral key, signed", f"{hexed(point[:8])}..., {holds}", holds)
    everything = b"".join(one.arrived for one in wire.passed) + bytes.fromhex("".join(
        one["plain"] or "" for one in managing
    ))  # fmt: skip
    there = new in everything
    where = "found" if there else "in none"
    account.fact("the new GUEK in any message", f"KCV {kcv(new)}, {where}", not there)
    stage.credentials = before.with_keys("operator", {"guek": new})
    async with stage.wire() as after:
        error = await raised(stage.visit("operator", after, before))
        account.refusal(f"the operator under the old one, KCV {kcv(old)}", error, *_NO)
        dead = len(after.passed)
        async with stage.sign_on("operator", after) as operator:
            account.done("under the agreed one", (await operator.read(ENERGY)).value)
        whole = len(after.passed)
        async with stage.sign_on("operator", after, layers="static") as operator:
            readings = [(await operator.read(ENERGY)).value for _ in range(2)]
    layered = stage.opened(after.passed[whole:])
    tagged = [octets for one in layered if (octets := _of(one))[:1] == GeneralCiphering.tag]
    decoded = map(GeneralCiphering.decode, tagged)
    named = [(one.transaction_id, one.originator_system_title) for one in decoded]
    account.fact(
        "readings each under a key of its own, C(0e,2s)",
        f"{len(readings)} values, {len(named)} messages, {len(set(named))} keys by transaction and side",
        len(set(named)) == len(named) > 4,
    )
    account.evidence |= {
        "keys": stage.keys("manager", "operator"),
        "old_guek": {"key": hexed(old), "kcv": kcv(old)},
        "new_guek": {"key": hexed(new), "kcv": kcv(new)},
        "offers": {
            side: {"ephemeral": hexed(point), "signature": hexed(signature)}
            for side, (point, signature) in offers.items()
        },
        "certificates": {
            name: hexed(certificates(stage, f"{name}.pem")[0].der)
            for name in ("manager-sign", "meter-sign", "meter-agree", "operator-agree")
        },
        "operator_agreement_key": _file(stage, "operator-agree.key").decode("ascii"),
        "frames_of_the_manager": managing,
        "frames": [*stage.opened(after.passed[dead:whole]), *layered],
    }


def _of(frame: dict[str, Any]) -> bytes:
    """The APDU in the TCP wrapper."""
    return wrapper.decode(bytes.fromhex(frame["hex"]))[2]


_KEY_DATA: Final = "0101020216000981(?P<length>80)(?P<data>[0-9A-F]{256})"
_OFFERED: Final = re.compile(f"C301..00400000 2B0002FF0301{_KEY_DATA}".replace(" ", ""))
_ANSWERED: Final = re.compile(f"C701..000100{_KEY_DATA}")
"""key_agreement with one item: the GUEK (0), and 128 octets of key_data."""


def _offer(frames: Iterable[dict[str, Any]], pattern: re.Pattern[str]) -> tuple[bytes, bytes]:
    """Ephemeral point and signature out of the one call or answer that has them."""
    found = next((match for one in frames if (match := pattern.fullmatch(one["plain"] or ""))), None)
    if found is None:
        raise Misuse("no key_agreement is on record")
    data = bytes.fromhex(found["data"])
    return data[:64], data[64:]


# --- compression --------------------------------------------------------------------------------

PROFILE: Final = "1.0.99.1.0.255"
_ROWS: Final = 672
"""Quarters of an hour in a week."""


async def compressed(stage: Stage, account: Account) -> None:
    """A week of the load profile, read by the manager as it is and by the operator compressed."""
    stage = await stage.suite1()
    rows, sizes, frames = {}, {}, {}
    async with stage.wire() as wire:
        for role in ("manager", "operator"):
            start = len(wire.passed)
            async with stage.sign_on(role, wire, general=True, max_pdu=65_535) as meter:
                rows[role] = (await meter.profile(PROFILE, entries=(1, _ROWS))).raw
            frames[role] = [
                one
                for one in stage.opened(wire.passed[start:])
                if (one["apdu"] or "").startswith("get-response")
            ]
            sizes[role] = max(
                (len(bytes.fromhex(one["hex"])), len(bytes.fromhex(one["plain"])), _is_packed(one))
                for one in frames[role]
            )
    for role, (on_wire, plain, packed) in sizes.items():
        account.fact(
            f"a week of the load profile, read by the {role}",
            f"{plain} octets in {on_wire} on the wire, {'compressed' if packed else 'as it is'}",
            packed == (role == "operator"),
        )
    ratio = sizes["operator"][0] / sizes["manager"][0]
    account.fact("compressed against as it is", f"{ratio:.0%}", ratio < 1)
    same = rows["manager"] == rows["operator"]
    account.fact("both are the same rows", f"{_ROWS} rows: {same}", same)
    account.evidence |= {
        "keys": stage.keys("manager", "operator"),
        "parameters": "packet-default",
        "sizes": {role: {"wire": size[0], "plain": size[1]} for role, size in sizes.items()},
        "frames_of": frames,
    }


def _is_packed(frame: dict[str, Any]) -> bool:
    return any(layer.get("compressed") for layer in frame["layers"])

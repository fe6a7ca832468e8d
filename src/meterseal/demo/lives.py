"""Scenes of lives, of keys and of the meter: a dedicated key, a key transfer, a kill and a restart."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from meterseal.codec.types import Array, Structure, Tag
from meterseal.credentials import Credentials
from meterseal.crypto import WrappingKey, kcv, random_octets
from meterseal.demo.attacks import EXCEPTION, asked
from meterseal.demo.scene import Account, raised
from meterseal.demo.stage import Stage, hexed, opened
from meterseal.demo.views import ENERGY, nonces
from meterseal.errors import AuthenticationFailed, MetersealError, Misuse, Refused
from meterseal.framing import wrapper
from meterseal.probe import Dissector, Keyring

_GUEK: Final = 0
_KEY_TRANSFER: Final = "64/0.0.43.0.2.255:2"
_ITEMS: Final = Array(Structure((Tag.ENUM, Tag.OCTET_STRING)))


async def dedicated_key(stage: Stage, account: Account) -> None:
    """One session under a key that the client draws, looked at from the wire."""
    async with stage.wire() as wire, stage.sign_on("operator", wire, dedicated=True) as operator:
        found = await operator.read(ENERGY)
    ring = Keyring.of_credentials(stage.credentials)
    frames = opened(wire.passed, ring)
    dedicated = _sent_along(wire.passed[0].arrived, ring)
    account.done("inside the protected InitiateRequest", f"a key, KCV {kcv(dedicated)}")
    kinds = [one["layers"][-1]["kind"] for one in frames if one["apdu"] in _READING]
    account.fact("the reading goes as", ", ".join(kinds), kinds == ["ded-get-request", "ded-get-response"])
    request = next(one for one in frames if one["apdu"] == "get-request-normal")
    octets = wrapper.decode(bytes.fromhex(request["hex"]))[2]
    role = stage.credentials.role("operator")
    with_it, with_guek = (
        _opens(octets, key, role.octets("gak"), role.client_system_title)
        for key in (dedicated, role.octets("guek") or b"")
    )
    account.fact("opened with the dedicated key", with_it, with_it == request["plain"])
    account.fact("opened with the GUEK in its place", with_guek, with_guek == "forged")
    counts = [
        one["layers"][-1]["invocation_counter"]
        for one in frames
        if one["direction"] == "out" and one["layers"][-1]["kind"].startswith("ded-")
    ]
    account.fact("the client's counters under it", counts, counts == [*range(len(counts))] and bool(counts))
    account.done("what was read", found.value)
    account.evidence |= {
        "keys": stage.keys("operator"),
        "dedicated_key": hexed(dedicated),
        "raw": hexed(found.raw),
        "frames": frames,
    }


_READING: Final = ("get-request-normal", "get-response-normal")


def _sent_along(aarq: bytes, ring: Keyring) -> bytes:
    """The dedicated key inside an AARQ's user-information."""
    (found,) = Dissector(ring).feed(aarq)
    return bytes.fromhex(found.value["user_information"]["dedicated_key"] or "")


def _opens(octets: bytes, key: bytes, gak: bytes | None, title: bytes | None) -> str:
    """The plain APDU as hex, or the kind of error."""
    (found,) = Dissector(Keyring.of(dedicated=key, gak=gak, title=title)).feed(octets)
    return found.error.kind if found.error is not None else hexed(found.plain or b"")


async def key_transfer(stage: Stage, account: Account) -> None:
    """The operator signed on; the manager brings in a new GUEK; the operator under the old and the new."""
    before = stage.credentials
    old, kek = before.role("operator").octets("guek"), before.role("manager").octets("kek")
    if old is None or kek is None:
        raise Misuse("the meter's credentials have no GUEK or KEK")
    new = random_octets(len(old))
    wrapped = WrappingKey(kek).wrap(new)
    async with stage.wire() as wire, stage.wire() as managing:
        async with stage.sign_on("operator", wire) as operator:
            account.done(f"under the old key, KCV {kcv(old)}", (await operator.read(ENERGY)).value)
            async with stage.sign_on("manager", managing) as manager:
                await manager.call(_KEY_TRANSFER, [(_GUEK, wrapped)], _ITEMS)
            account.done("the manager calls key_transfer", f"{hexed(wrapped)} (new GUEK under the KEK)")
            error = await raised(operator.read(ENERGY))
            account.refusal("the open association, old key", error, MetersealError)
            operator.drop()
        error = await raised(stage.visit("operator", wire))
        account.refusal("a sign-on with the old key", error, Refused, AuthenticationFailed)
        dead = len(wire.passed)
        stage.credentials = _with_guek(before, new)
        async with stage.sign_on("operator", wire) as operator:
            account.done(f"under the new key, KCV {kcv(new)}", (await operator.read(ENERGY)).value)
    frames = [*stage.opened(wire.passed[:dead], before), *stage.opened(wire.passed[dead:])]
    titles = {"operator": before.role("operator").client_system_title, "meter": before.meter.system_title}
    for who, title in titles.items():
        old_ones, new_ones = (
            [counter for owner, counter in nonces(part) if owner == hexed(title or b"")]
            for part in (frames[:dead], frames[dead:])
        )
        account.fact(
            f"the {who}'s counters",
            f"{_span(old_ones)} under the old key, {_span(new_ones)} under the new one",
            max(new_ones) < len(frames),
        )
    account.evidence |= {
        "keys": stage.keys("manager", "operator"),
        "old_guek": {"key": hexed(old), "kcv": kcv(old)},
        "new_guek": {"key": hexed(new), "kcv": kcv(new)},
        "wrapped": hexed(wrapped),
        "frames": frames,
        "frames_of_the_manager": stage.opened(managing.passed),
    }


def _with_guek(credentials: Credentials, guek: bytes) -> Credentials:
    """The same with a fresh operator's key: its counters start at 1."""
    role = replace(credentials.role("operator"), guek=guek, counter_start=1)
    return Credentials(credentials.meter, {**credentials.roles, "operator": role}, credentials.path)


def _span(counters: list[int]) -> str:
    return f"{min(counters)} to {max(counters)}"


async def killed(stage: Stage, account: Account) -> None:
    """Read, kill -9, start, read; then what was recorded before the kill."""
    pid, title = stage.pid, stage.credentials.meter.system_title
    guek = stage.credentials.role("operator").octets("guek")
    async with stage.wire() as wire, stage.sign_on("operator", wire) as operator:
        first = await operator.read(ENERGY)
        code = await stage.kill()
        account.fact(f"kill -9 of process {pid}", f"exit code {code}", code == -9)
        account.refusal("the association", await raised(operator.read(ENERGY)), MetersealError)
        operator.drop()
    before = stage.opened(wire.passed)
    await stage.start()
    account.fact("started again", f"process {stage.pid}", stage.pid != pid)
    same = stage.credentials.meter.system_title == title
    kept = stage.credentials.role("operator").octets("guek") == guek
    account.fact("the same meter", f"system title {hexed(title or b'')}, keys kept: {kept}", same and kept)
    async with stage.wire() as again, stage.sign_on("operator", again) as operator:
        second = await operator.read(ENERGY)
        account.fact(
            "energy +A before and after", f"{first.value}, {second.value}", second.value >= first.value
        )
        old = [bytes.fromhex(one["hex"]) for one in before if one["apdu"] == "get-request-normal"]
        answers = [await again.ask(frame) for frame in old]
        account.fact(
            "a request from before the kill comes again",
            ", ".join(hexed(answer[wrapper.HEADER_LENGTH :]) for answer in answers),
            bool(answers) and all(answer[wrapper.HEADER_LENGTH] == EXCEPTION for answer in answers),
        )
    after = stage.opened(again.passed)
    used = [nonces(before), nonces(after)]
    account.fact(
        "system titles and counters",
        f"{len(used[0])} before, {len(used[1])} after, {len({*used[0], *used[1]})} different",
        len({*used[0], *used[1]}) == len(used[0]) + len(used[1]) and _above(*used),
    )
    account.evidence |= {
        "keys": stage.keys("operator"),
        "exit_code": code,
        "processes": [pid, stage.pid],
        "frames_before": before,
        "frames_after": after,
        "again": asked(old, answers),
    }


def _above(before: list[tuple[str, int]], after: list[tuple[str, int]]) -> bool:
    """Does each title go on above where it stood?"""
    highest: dict[str, int] = {}
    for title, counter in before:
        highest[title] = max(counter, highest.get(title, counter))
    return all(counter > highest.get(title, -1) for title, counter in after)

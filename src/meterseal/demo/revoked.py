"""A scene of revocation: a private key is copied, its certificate taken off the meter, a new pair made."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Final

from meterseal.authority import CertificateAuthority
from meterseal.authority.enrolment import enrol
from meterseal.authority.register import Entry
from meterseal.client.setups import BySerial
from meterseal.credentials import Credentials
from meterseal.crypto.certificates import Purpose
from meterseal.crypto.revocation import Reason, RevocationList
from meterseal.demo.scene import Account, raised
from meterseal.demo.stage import Stage, hexed
from meterseal.demo.views import ENERGY
from meterseal.errors import AuthenticationFailed, CertificateRefused, Misuse, Refused
from meterseal.keys.revocation import RevocationLists

_BY: Final = "the demonstration"
_OPERATOR: Final = ("operator-sign.key", "operator-sign.pem")
_COPIED: Final = ("copied-sign.key", "copied-sign.pem")


async def compromised(stage: Stage, account: Account) -> None:
    """A meter of its own, enrolled with an authority of its own."""
    root, sub = Path(stage.at("revoking-root")), Path(stage.at("revoking"))
    with CertificateAuthority.root(root, "Demonstration Root", by=_BY) as above:
        CertificateAuthority.sub(sub, "Demonstration Meters", above).close()
    async with Stage("suite1", trust=str(root / "ca.pem")) as own:
        with CertificateAuthority(sub, by=_BY) as authority:
            await _enrolled(own, authority)
            await _compromised(own, authority, account)


async def _compromised(own: Stage, authority: CertificateAuthority, account: Account) -> None:
    held = _held(own, authority)
    thief = _copied(own)
    async with own.wire() as before:
        async with own.sign_on("operator", before, thief) as found:
            energy = (await found.read(ENERGY)).value
        account.done("who has copied the operator's files signs on, and reads", energy)
    entry = authority.revoke(held.serial, Reason.KEY_COMPROMISE, why="a laptop was stolen")
    account.done("revoked", f"{entry.certificate.subject_text}, serial {hexed(entry.serial)}")
    async with own.wire() as managing, own.sign_on("manager", managing) as manager:
        issuer = authority.certificate.subject
        await manager.security_setup().remove_certificate(BySerial(held.serial, issuer))
        account.done("remove_certificate", f"{own.credentials.role('operator').client}: off the meter")
    async with own.wire() as after:
        error = await raised(own.visit("operator", after, thief))
        account.refusal("the copied key once more, its certificate sent along", error, *_NO)
    _forget(own)
    await _enrolled(own, authority)
    fresh = _held(own, authority)
    async with own.wire() as renewed:
        async with own.sign_on("operator", renewed) as operator:
            account.done("the operator with a new pair reads", (await operator.read(ENERGY)).value)
        error = await raised(own.visit("operator", renewed, thief))
        account.refusal("the copied key after that", error, *_NO)
    listed = authority.revocation_list()
    error = _checked(authority, listed, held)
    account.refusal("a head-end that has the revocation list, the old one", error, CertificateRefused)
    account.fact("and the new one", "in order", _checked(authority, listed, fresh) is None)
    account.evidence |= {
        "keys": own.keys("operator", "manager"),
        "root": hexed(authority.register.above[-1].der),
        "authority": hexed(authority.certificate.der),
        "compromised": hexed(held.certificate.der),
        "fresh": hexed(fresh.certificate.der),
        "revocation_list": hexed(listed.der),
        "frames_before": own.opened(before.passed),
        "frames_of_the_manager": own.opened(managing.passed),
        "frames_after": own.opened(after.passed),
        "frames_renewed": own.opened(renewed.passed),
    }


_NO: Final = (Refused, AuthenticationFailed)


async def _enrolled(own: Stage, authority: CertificateAuthority) -> None:
    """The meter and its clients certified; in a thread, for an authority waits for disks."""
    given = Credentials.load(own.at("meter.toml"))
    found = await asyncio.to_thread(enrol, given, authority, own.url, state=own.clients)
    own.credentials = found.credentials


def _forget(own: Stage) -> None:
    """Take away the operator's pair: the next enrolment makes another one."""
    for name in _OPERATOR:
        Path(own.at("meter.toml.files"), name).unlink()


def _held(own: Stage, authority: CertificateAuthority) -> Entry:
    """The operator's certificate for signatures, as the register has it."""
    title = own.credentials.role("operator").client_system_title or b""
    found = authority.register.of_party(title, Purpose.SIGNATURE)
    if found is None:
        raise Misuse("the operator has no certificate")
    return found


def _copied(own: Stage) -> Credentials:
    """All that the operator's files hold, private key included, in the hands of somebody else."""
    files = Path(own.at("meter.toml.files"))
    for name, copy in zip(_OPERATOR, _COPIED, strict=True):
        shutil.copy2(files / name, files / copy)
    key, certificate = (f"{files.name}/{name}" for name in _COPIED)
    role = replace(own.credentials.role("operator"), signing_key=key, signing_certificate=certificate)
    return Credentials(own.credentials.meter, {"operator": role}, own.credentials.path)


def _checked(
    authority: CertificateAuthority, listed: RevocationList, entry: Entry
) -> CertificateRefused | None:
    """What somebody who holds the newest revocation list says of a certificate."""
    lists, now = RevocationLists(required=True), authority.register.list_at
    try:
        lists.take(listed, authority.certificate, now)
        lists.check(entry.certificate, authority.certificate, now)
    except CertificateRefused as error:
        return error
    return None

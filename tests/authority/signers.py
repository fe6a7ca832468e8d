"""Who signs for the tests of evidence: a root, an authority, a meter; what it signed, and files of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from meterseal.apdu.general import GeneralSigning
from meterseal.authority.evidence import Evidence, Finding, Kept, keep, verify
from meterseal.authority.evidence_file import write_evidence
from meterseal.crypto import SigningKey, curve
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import Authority, Validity
from meterseal.crypto.revocation import Revocation, RevocationList
from meterseal.crypto.timestamps import TimeStamp
from tests.authority.tsa import stamper

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = timedelta(days=1)
YEAR = 365 * DAY
METER, HES = bytes.fromhex("4D534C0000000001"), bytes.fromhex("4D534C4845530001")
VALIDITY = Validity(AT - 30 * DAY, AT + YEAR)
ANSWER = bytes.fromhex("C401C1000600012345")
KEPT = Kept(AT, "ana", "the reading of November")


class House:
    """A root, an authority below it, the meter's signature key and certificate, on one curve."""

    def __init__(self, on: str) -> None:
        at = curve(on)
        self.root = Authority.root(SigningKey.generate(at), "Root", Validity(AT - YEAR, AT + 10 * YEAR))
        self.sub = self.root.sub(SigningKey.generate(at), "Meters", Validity(AT - YEAR, AT + 2 * YEAR))
        self.key = SigningKey.generate(at)
        self.leaf = self.sub.issue(self.key.public, METER, Purpose.SIGNATURE, VALIDITY)

    @property
    def chain(self) -> list[Certificate]:
        return [self.leaf, self.sub.certificate, self.root.certificate]

    def signed(self, content: bytes = ANSWER, *, whole: bool = True, **fields: bytes) -> bytes:
        message = GeneralSigning(
            fields.get("transaction", b"\x01\x02\x03"),
            fields.get("originator", METER),
            fields.get("recipient", HES),
            fields.get("date_time", b""),
            b"",
            content,
            b"",
        )
        signature = self.key.sign(message.signed(content_length=whole))
        return message.replace(signature=signature).encode()

    def crl(
        self, number: int, at: datetime, *entries: Revocation, by: Authority | None = None
    ) -> RevocationList:
        signer = by or self.sub
        return RevocationList(signer.revocation_list(list(entries), number, at, at + 30 * DAY))


@cache
def house(on: str = "P-256") -> House:
    return House(on)


@cache
def signed() -> bytes:
    return house().signed()


def kept(**how: Any) -> Evidence:
    return keep(signed(), house().chain, KEPT, **how)


def held(evidence: Evidence, now: datetime = AT + DAY, **how: Any) -> Finding:
    return verify(evidence, [house().root.certificate], now, **how)


@cache
def a_stamped_file() -> bytes:
    stamp = TimeStamp(stamper().token(kept().apdu))
    return write_evidence(kept(lists=[house().crl(1, AT)]).stamped(stamp, [stamper().anchor]))


@cache
def a_file() -> bytes:
    return write_evidence(kept())

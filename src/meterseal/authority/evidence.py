"""Evidence: a signed APDU kept with the certificates of its signer, to be shown to a third person.

What is kept proves itself: the APDU is as it was signed, the chain leads to an anchor that whoever verifies
trusts already.  Nothing in it proves when: the moment of keeping is the keeper's own statement, unless a time
stamp (RFC 3161) of the APDU is attached and verified.  The certificates have to hold at that moment; what
expired or was revoked later is told with its date, and refuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from meterseal import apdu as apdus
from meterseal.apdu.general import GeneralSigning
from meterseal.codec.message import Message
from meterseal.cosem.texts import moment_text
from meterseal.crypto import VerifyingKey
from meterseal.crypto.certificates import LONGEST_CHAIN, Certificate, Purpose, verify_chain
from meterseal.crypto.revocation import Reason, Revocation, RevocationList
from meterseal.errors import (
    CertificateRefused,
    DecodeError,
    Forged,
    Malformed,
    Misuse,
    UnknownKey,
    Unsupported,
)
from meterseal.security.layers import Layer, check_fields
from meterseal.security.signing import layer_of

if TYPE_CHECKING:
    from meterseal.crypto.timestamps import TimeStamp

CONTENT_LENGTH: Final = "content_length_signed"
"""The one peer option that changes what a signature covers."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The keeper's own statement: when it was kept, by whom, and what for.  Nobody vouches for it."""

    at: datetime
    by: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is kept.  `certificates`: the signer's first, then those above it as far as they are known.

    `lists` are the revocation lists that were at hand.  `time_stamp` is a TimeStampToken of `apdu`, DER.
    `options` are the peer options under which the signature was made.
    """

    apdu: bytes
    certificates: tuple[Certificate, ...]
    kept: Kept
    lists: tuple[RevocationList, ...] = ()
    time_stamp: bytes | None = None
    options: frozenset[str] = frozenset()

    def stamped(self, stamp: TimeStamp, anchors: Sequence[bytes]) -> Evidence:
        """The same with a time stamp, in the place of one before.  Raises Forged unless it is of `apdu`."""
        stamp.check(self.apdu, anchors)
        return replace(self, time_stamp=stamp.token)


@dataclass(frozen=True, slots=True)
class Stamped:
    """What a time stamp says, and that it holds.  `authority` is the name in its certificate."""

    at: datetime
    authority: str
    policy: str
    serial: int
    hash: str


@dataclass(frozen=True, slots=True)
class Standing:
    """One certificate of the way, and what became of it after the moment that counts.

    `expired`: its end, where that has passed; `looked_at`: the newest revocation list of its issuer at hand,
    None where there is none, and for the anchor.
    """

    certificate: Certificate
    expired: datetime | None = None
    revoked: Revocation | None = None
    looked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Evidence that holds: who signed what, for whom.

    `layer` has the parties and what else the signer said, `content` is the signed APDU, `message` the same
    decoded, None where `unread` says why not.  The certificates of `way`, the signer's first and the anchor
    last, were in order at `at`: by the time stamp, or where there is none by the keeper's statement.
    """

    layer: Layer
    content: bytes
    name: str
    message: Message | None
    unread: str
    way: tuple[Standing, ...]
    at: datetime
    kept: Kept
    stamp: Stamped | None
    warnings: tuple[str, ...]

    @property
    def signer(self) -> Certificate:
        """The signer's certificate."""
        return self.way[0].certificate


# --- keeping ------------------------------------------------------------------------------------


def keep(
    apdu: bytes,
    certificates: Iterable[Certificate],
    kept: Kept,
    *,
    lists: Iterable[RevocationList] = (),
    options: frozenset[str] = frozenset(),
) -> Evidence:
    """Evidence of a general-signing APDU.  `certificates`: the signer's and those above it, in any order.

    Raises UnknownKey where the signer's is not among them, Forged where none of the signer's verifies the
    signature, Malformed for what is no general-signing APDU, CertificateRefused for a list of nobody on
    the way.
    """
    known = list(dict.fromkeys(certificates))
    message = _decoded(apdu)
    title = message.originator_system_title
    own = [one for one in known if one.title == title and one.purpose is Purpose.SIGNATURE]
    if not own:
        raise UnknownKey(f"no signature certificate of {title.hex().upper() or 'nobody'} is at hand")
    options = options & {CONTENT_LENGTH}
    signer = next((one for one in own if _verifies(apdu, message, one, options)), None)
    if signer is None:
        raise Forged(f"the signature is not by the key of a certificate of {title.hex().upper()} at hand")
    way = tuple(_upward(signer, known))
    made = Evidence(bytes(apdu), way, kept, tuple(lists), options=options)
    _lists_of(made.lists, way)
    return made


def _upward(signer: Certificate, known: Sequence[Certificate]) -> Iterable[Certificate]:
    """The signer's certificate and those above it, up to a root or as far as is known."""
    last: Certificate | None = signer
    for _ in range(LONGEST_CHAIN):
        if last is None:
            return
        yield last
        last = None if last.issuer == last.subject else _issuer(last, known)


def _issuer(of: Certificate, known: Iterable[Certificate]) -> Certificate | None:
    for one in known:
        try:
            of.check_issued_by(one)
        except CertificateRefused:
            continue
        return one
    return None


# --- verifying ----------------------------------------------------------------------------------


def verify(
    evidence: Evidence,
    anchors: Sequence[Certificate],
    now: datetime,
    *,
    lists: Iterable[RevocationList] = (),
    stamp_anchors: Sequence[bytes] = (),
) -> Finding:
    """Hold evidence against what is trusted here, with nothing fetched from anywhere.

    `anchors` are the verifier's, `lists` what it has beside those that were kept, `stamp_anchors` (DER) whom
    it believes about time.  Raises Forged (signature or time stamp), CertificateRefused (no way to an anchor,
    not in date or revoked at the moment that counts, a list of nobody on the way), DecodeError;
    ConfigurationError where a time stamp cannot be verified for want of the extra.
    """
    if now.tzinfo is None:
        raise Misuse("a moment without a time zone")
    warnings: list[str] = []
    message = _decoded(evidence.apdu)
    layer = layer_of(message)
    signer = evidence.certificates[0]
    if signer.title != layer.originator or signer.purpose is not Purpose.SIGNATURE:
        raise CertificateRefused("the first certificate is not the signature certificate of who signed")
    if not _verifies(evidence.apdu, message, signer, evidence.options):
        raise Forged("the signature is not by the key of the certificate that is kept with it")
    if evidence.options:
        warnings.append("peer option content_length_signed: the length of the content is not signed")
    stamp = _stamp(evidence, stamp_anchors, warnings)
    at = evidence.kept.at if stamp is None else stamp.at
    if at > now:
        raise CertificateRefused(f"the moment that counts, {moment_text(at)}, has not come by this clock")
    way = verify_chain(signer, evidence.certificates[1:], anchors, at)
    held = _lists_of((*evidence.lists, *lists), way)
    issuers = (*way[1:], None)
    standings = tuple(_standing(one, issuer, held, at, now) for one, issuer in zip(way, issuers, strict=True))
    warnings += _doubts(standings, stamp)
    content, unread, found = message.content, "", None
    try:
        found = apdus.decode(content)
    except (DecodeError, Unsupported) as error:
        unread = str(error)
    name = found.name if found is not None else apdus.name(content)
    return Finding(layer, content, name, found, unread, standings, at, evidence.kept, stamp, tuple(warnings))


def _decoded(apdu: bytes) -> GeneralSigning:
    if apdu[:1] != GeneralSigning.tag:
        raise Malformed("evidence is of a general-signing APDU, and this is none")
    message = GeneralSigning.decode(apdu)
    check_fields(layer_of(message))
    if not message.content:
        raise Malformed("general-signing: nothing inside")
    return message


def _verifies(apdu: bytes, message: GeneralSigning, by: Certificate, options: frozenset[str]) -> bool:
    if not isinstance(by.key, VerifyingKey):  # the purpose says so already
        return False
    try:
        by.key.verify(
            message.signature, message.signed_in(apdu, content_length=CONTENT_LENGTH not in options)
        )
    except Forged:
        return False
    return True


def _stamp(evidence: Evidence, anchors: Sequence[bytes], warnings: list[str]) -> Stamped | None:
    if evidence.time_stamp is None:
        return None
    if not anchors:
        warnings.append("the time stamp was NOT verified: nobody is trusted for time here")
        return None
    from meterseal.crypto.timestamps import TimeStamp

    stamp = TimeStamp(evidence.time_stamp)
    authority = stamp.check(evidence.apdu, anchors)
    return Stamped(stamp.moment, authority, stamp.policy, stamp.serial, stamp.hash)


# --- what became of the certificates -------------------------------------------------------------


Lists = dict[Certificate, list[RevocationList]]


def _lists_of(lists: Sequence[RevocationList], way: Sequence[Certificate]) -> Lists:
    """The lists by their issuers on the way, each list proved to be the issuer's."""
    held: Lists = {}
    for found in lists:
        issuer = next((one for one in way if one.subject == found.issuer), None)
        if issuer is None:
            raise CertificateRefused(f"a revocation list of nobody on the way, {found.issuer_text}")
        found.check_issued_by(issuer)
        held.setdefault(issuer, []).append(found)
    return held


def _standing(
    one: Certificate, issuer: Certificate | None, lists: Lists, at: datetime, now: datetime
) -> Standing:
    """What became of a certificate.  Raises CertificateRefused for one that was revoked by then."""
    expired = one.not_after if one.not_after < now else None
    held = (
        sorted(lists.get(issuer, ()), key=lambda found: (found.this_update, found.number)) if issuer else []
    )
    revoked = None
    for found in held:
        entry = found.find(one.serial)
        if entry is not None:
            revoked = entry if revoked is None else min(entry, revoked, key=lambda one: one.moment)
        elif revoked is not None and revoked.reason is Reason.CERTIFICATE_HOLD:
            revoked = None  # it was on hold, and is no more
    if revoked is not None and revoked.moment <= at:
        raise CertificateRefused(
            f"{one.subject_text} was revoked at {moment_text(revoked.moment)} ({revoked.reason.value}), "
            f"before the moment that counts, {moment_text(at)}"
        )
    return Standing(one, expired, revoked, held[-1].this_update if held else None)


_STOLEN: Final = frozenset({Reason.KEY_COMPROMISE, Reason.CA_COMPROMISE})


def _doubts(way: Sequence[Standing], stamp: Stamped | None) -> Iterable[str]:
    """What a judge should know although nothing is refused for it."""
    for one in way:
        if one.revoked is not None and one.revoked.reason in _STOLEN and stamp is None:
            yield (
                f"{one.certificate.subject_text}: the key was in other hands from "
                f"{moment_text(one.revoked.moment)} at the latest; that this was signed before is the "
                "keeper's word and nothing else"
            )
    if any(one.looked_at is None for one in way[:-1]):
        yield "revocation was not looked at for every certificate: a list of its issuer is missing"
    if stamp is None:
        yield "when it was signed is the keeper's own statement: there is no verified time stamp"


def as_utc(moment: datetime) -> datetime:
    """A moment in UTC, to the second, as it is kept.  Raises Misuse without a time zone."""
    if moment.tzinfo is None:
        raise Misuse("a moment without a time zone")
    return moment.astimezone(UTC).replace(microsecond=0)

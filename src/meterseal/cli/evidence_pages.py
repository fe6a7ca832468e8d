"""Evidence as JSON and as lines: who signed what for whom, since when that is known, and by whose word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from meterseal import apdu as apdus
from meterseal.apdu.general import GeneralSigning
from meterseal.authority.evidence import Evidence, Finding, Kept, Standing
from meterseal.cli import pki_pages
from meterseal.cli.output import emit
from meterseal.cosem.texts import json_text, moment_text, safe_text
from meterseal.cosem.times import DateTime
from meterseal.errors import MetersealError
from meterseal.probe import show
from meterseal.security.signing import layer_of

_MOST_NAMED: Final = 20


def kept(evidence: Evidence) -> dict[str, Any]:
    """What a file of evidence holds, as JSON, without the octets."""
    return {
        "kept": _kept(evidence.kept),
        **_parties(evidence.apdu),
        "stamped": evidence.time_stamp is not None,
    }


def in_a_line(evidence: Evidence) -> str:
    """The same, for a line of text."""
    said = _parties(evidence.apdu)
    return f"{said['apdu']} of {said['signer']} for {said['recipient'] or 'nobody named'}"


def several(signed: Sequence[bytes]) -> str:
    """What there is to choose from, numbered, the first of many."""
    named = [f"{number} {_parties(one)['apdu']}" for number, one in enumerate(signed[:_MOST_NAMED], 1)]
    return ", ".join(named) + (f", ... {len(signed)} in all" if len(signed) > _MOST_NAMED else "")


def _parties(apdu: bytes) -> dict[str, Any]:
    message = GeneralSigning.decode(apdu)
    layer = layer_of(message)
    return {
        "signer": pki_pages.hexed(layer.originator),
        "recipient": layer.recipient.hex().upper() or None,
        "transaction_id": layer.transaction_id.hex().upper(),
        "apdu": apdus.name(message.content),
    }


def finding(found: Finding) -> dict[str, Any]:
    """Evidence that holds, as JSON."""
    layer, stamp = found.layer, found.stamp
    return {
        "holds": True,
        "signer": {"title": pki_pages.hexed(layer.originator), "subject": found.signer.subject_text},
        "recipient": layer.recipient.hex().upper() or None,
        "transaction_id": layer.transaction_id.hex().upper(),
        "date_time": date_time(layer.date_time),
        "other_information": layer.other_information.hex().upper(),
        "apdu": found.name,
        "plain": found.content.hex().upper(),
        "value": None if found.message is None else show.show(found.message),
        "unread": found.unread or None,
        "at": {"moment": moment_text(found.at), "by": "keeper" if stamp is None else "time-stamp"},
        "kept": _kept(found.kept),
        "time_stamp": None
        if stamp is None
        else {
            "at": moment_text(stamp.at),
            "authority": stamp.authority,
            "policy": stamp.policy,
            "serial": f"{stamp.serial:X}",
            "hash": stamp.hash,
        },
        "way": [_standing(one) for one in found.way],
        "warnings": list(found.warnings),
    }


def date_time(octets: bytes) -> str | None:
    """The signer's own date-time as text; None where the message has none, hex for what is no date-time."""
    if not octets:
        return None
    try:
        return str(DateTime.from_octets(octets))
    except MetersealError:
        return octets.hex().upper()


def _kept(one: Kept) -> dict[str, Any]:
    return {"at": moment_text(one.at), "by": one.by, "note": one.note}


def _standing(one: Standing) -> dict[str, Any]:
    revoked = one.revoked
    return {
        **pki_pages.certificate(one.certificate),
        "expired": None if one.expired is None else moment_text(one.expired),
        "revoked": None
        if revoked is None
        else {"at": moment_text(revoked.moment), "reason": revoked.reason.value},
        "list_of": None if one.looked_at is None else moment_text(one.looked_at),
    }


# --- as text ------------------------------------------------------------------------------------


def report(found: Finding) -> None:
    """Evidence that holds, as lines."""
    said = finding(found)
    _line("signed by", f"{said['signer']['title']}, {said['signer']['subject']}")
    _line("for", said["recipient"] or "nobody named")
    _line("transaction", said["transaction_id"] or "none")
    _line("date-time", f"{said['date_time']} (the signer says so)" if said["date_time"] else "none")
    if said["other_information"]:
        _line("other", said["other_information"])
    _line("what", said["apdu"] if found.message is not None else f"{said['apdu']}: {found.unread}")
    if found.message is not None:
        emit(json_text(said["value"], indent=2))
    _line("kept", f"{said['kept']['at']} by {found.kept.by or '?'} (the keeper says so)")
    if found.kept.note:
        _line("note", found.kept.note)
    if found.stamp is not None:
        _line("time stamp", f"{moment_text(found.stamp.at)} by {found.stamp.authority}")
    for one in found.way:
        _line("certificate", _became(one))
    _line("holds", f"as of {moment_text(found.at)}, by the {said['at']['by'].replace('-', ' ')}")


def _became(one: Standing) -> str:
    text = f"{one.certificate.subject_text}, {pki_pages.until(one.certificate)}"
    if one.expired is not None:
        text += f"; expired at {moment_text(one.expired)}, after that"
    if one.revoked is not None:
        text += f"; revoked at {moment_text(one.revoked.moment)} ({one.revoked.reason.value}), after that"
    return text


def _line(name: str, text: str) -> None:
    emit(f"{name:<12}{safe_text(text)}")

"""Certificates, requests, revocation lists and an authority's index: as JSON, as lines, as tables."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from meterseal.authority.register import Entry, State
from meterseal.cli.output import emit, table
from meterseal.cosem.texts import moment_text, safe_text
from meterseal.crypto import digest_of
from meterseal.crypto.certificates import NO_EXPIRY, Certificate, Purpose
from meterseal.crypto.issuing import Request
from meterseal.crypto.revocation import RevocationList


def hexed(octets: bytes | None) -> str | None:
    """Upper-case hex; None as it is."""
    return None if octets is None else octets.hex().upper()


def _end(moment: datetime) -> str | None:
    return None if moment == NO_EXPIRY else moment_text(moment)


def certificate(one: Certificate) -> dict[str, Any]:
    """A certificate as JSON; `not_after` null: without a planned end."""
    return {
        "serial": hexed(one.serial),
        "subject": one.subject_text,
        "issuer": one.issuer_text,
        "title": hexed(one.title),
        "purpose": one.purpose.name.lower(),
        "curve": one.key.curve.name,
        "key": hexed(one.key.octets),
        "not_before": moment_text(one.not_before),
        "not_after": _end(one.not_after),
        "sha256": hexed(digest_of(one.der)),
    }


def entry(one: Entry) -> dict[str, Any]:
    """An entry of an index as JSON, without what only the certificate itself tells."""
    revoked = one.revocation
    return {
        "serial": hexed(one.serial),
        "subject": one.subject,
        "title": hexed(one.title),
        "purpose": one.purpose.name.lower(),
        "curve": one.curve,
        "not_before": moment_text(one.begin),
        "not_after": _end(one.end),
        "state": one.state.value,
        "replaces": hexed(one.replaces),
        "replaced_by": hexed(one.replaced_by),
        "revoked": None
        if revoked is None
        else {"at": moment_text(revoked.moment), "reason": revoked.reason.value},
        "history": [
            {"at": moment_text(event.at), "what": event.what, "by": event.by, "why": event.why}
            for event in one.history
        ],
    }


def request(one: Request) -> dict[str, Any]:
    """A certificate request as JSON."""
    key = one.key(Purpose.SIGNATURE)
    return {"title": hexed(one.title), "curve": key.curve.name, "key": hexed(key.octets)}


def revocation_list(one: RevocationList) -> dict[str, Any]:
    """A revocation list as JSON, without its entries."""
    return {
        "issuer": one.issuer_text,
        "number": one.number,
        "this_update": moment_text(one.this_update),
        "next_update": moment_text(one.next_update),
        "revoked": len(one),
    }


def lines(shown: dict[str, Any]) -> None:
    """Names and values, one on a line; what is null is left out, but an end that is not planned."""
    for name, value in shown.items():
        if name == "not_after" and value is None:
            value = "no planned end"
        if name == "history":
            _history(value)
        elif isinstance(value, dict):
            emit(f"{name:<12}{safe_text(', '.join(str(part) for part in value.values()))}")
        elif value is not None:
            emit(f"{name:<12}{safe_text(str(value))}")


def _history(events: Iterable[dict[str, str]]) -> None:
    for event in events:
        why = f": {event['why']}" if event["why"] else ""
        text = f"{event['at']} {event['what']} by {event['by'] or '?'}{why}"
        emit(f"{'history':<12}{safe_text(text)}")


def entries(found: Iterable[Entry], now: datetime) -> None:
    """A table, one line a certificate."""
    rows = [
        (
            one.serial.hex().upper(),
            one.subject if one.title is None else one.title.hex().upper(),
            one.purpose.name.lower(),
            "no planned end" if one.end == NO_EXPIRY else f"{one.end:%Y-%m-%d}",
            state(one, now),
        )
        for one in found
    ]
    table(("serial", "who", "purpose", "until", "state"), rows)


def state(one: Entry, now: datetime) -> str:
    """The state in words: the reason of a revocation, and whether the end has passed."""
    if one.revocation is not None:
        return f"revoked: {one.revocation.reason.value}"
    if one.end < now:
        return "expired" if one.state is State.VALID else f"{one.state.value}, expired"
    return one.state.value


def until(one: Entry | Certificate) -> str:
    """The end of validity, for a line of text."""
    end = one.end if isinstance(one, Entry) else one.not_after
    return "without a planned end" if end == NO_EXPIRY else f"until {end:%Y-%m-%d}"

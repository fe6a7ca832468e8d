"""How `meterseal keys` shows keys, rotations and the journal: as JSON, and as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from meterseal.cli import output
from meterseal.cosem.texts import moment_text, safe_text

if TYPE_CHECKING:
    from meterseal.authority.adoption import Loan
    from meterseal.authority.overview import Overview
    from meterseal.authority.rotator import Report
    from meterseal.authority.store import Rotation, Stored
    from meterseal.authority.store.journal import Entry
    from meterseal.keys.kinds import Slot

_STATES = ("staged", "active", "deactivated", "compromised", "destroyed")


def day(moment: datetime | None) -> str:
    """A date for people."""
    return "-" if moment is None else f"{moment:%Y-%m-%d}"


def iso(moment: datetime | None) -> str | None:
    """A moment for programs."""
    return None if moment is None else moment_text(moment)


def slot(one: Slot) -> dict[str, Any]:
    """A slot for programs."""
    return {"device": one.device.hex().upper(), "role": one.role or None, "kind": one.kind}


def key(one: Stored) -> dict[str, Any]:
    """A key for programs: everything but the key."""
    record = one.record
    return {
        **slot(record.slot),
        "key": record.id,
        "version": record.version,
        "state": record.state.value,
        "suite": record.suite,
        "kcv": record.kcv,
        "origin": record.origin,
        "made": iso(record.made),
        "changed": iso(record.changed),
        "proved": iso(record.proved),
        "expires": iso(one.expires),
        "in_doubt": record.sent is not None,
        "flags": [str(flag.name).lower() for flag in one.flags],
    }


def rotation(one: Rotation) -> dict[str, Any]:
    """A rotation for programs."""
    return {
        **slot(one.slot),
        "phase": one.phase.value,
        "tries": one.tries,
        "begun": iso(one.begun),
        "changed": iso(one.changed),
        "note": one.note,
    }


def entry(one: Entry) -> dict[str, Any]:
    """An entry of the journal for programs."""
    return {"entry": one.number, **one.said, "at": iso(one.moment)}


def overview(found: Overview, json: bool) -> None:
    """Counts over a whole store."""
    if json:
        output.emit_json(
            {
                "devices": found.devices,
                "keys": found.states,
                **found.flagged,
                "due": found.due,
                "open": found.open,
                "stuck": found.stuck,
                "people": found.people,
                "exposed": found.exposed,
            }
        )
        return
    output.heading(f"{found.devices} devices")
    rows = [
        [kind, *(str(states.get(state, 0) or "-") for state in _STATES)]
        for kind, states in sorted(found.states.items())
    ]
    output.table(["kind", *_STATES], rows)
    noticed = {
        **found.flagged,
        "due": found.due,
        "in rotation": found.open,
        "stuck": found.stuck,
        "exposed": found.exposed,
    }
    output.emit(", ".join(f"{name} {number}" for name, number in noticed.items()))
    output.emit(
        f"{found.people} people on the roll" if found.people else "one operator: nobody is on the roll"
    )


def device(keys: Iterable[Stored], rotations: Iterable[Rotation], loans: Iterable[Loan], json: bool) -> None:
    """The keys of one device."""
    if json:
        lent = [{"roles": list(one.roles), "until": iso(one.until), "by": one.by} for one in loans]
        shown = {"keys": [key(one) for one in keys], "rotations": [rotation(one) for one in rotations]}
        output.emit_json({**shown, "lent": lent})
        return
    listed(keys)
    for one in rotations:
        output.emit(f"in rotation: {one.slot.text}, {one.phase.value} {one.note}".rstrip())
    for loan in loans:
        until = f"{loan.until:%Y-%m-%d %H:%M}Z"
        output.emit(safe_text(f"lent: {', '.join(loan.roles)}, until {until}, by {loan.by}"))


def listed(keys: Iterable[Stored]) -> None:
    """Keys as a table."""
    rows = []
    for one in keys:
        record = one.record
        flags = [str(flag.name).lower() for flag in one.flags] + (["in doubt"] if record.sent else [])
        rows.append(
            [
                str(record.id), record.slot.device.hex().upper(), record.slot.role or "-", record.slot.kind,
                str(record.version), record.state.value, record.kcv, day(record.made), day(record.proved),
                day(one.expires), record.origin, ", ".join(flags) or "-",
            ]
        )  # fmt: skip
    columns = "key device role kind version state kcv made proved ends origin noticed"
    output.table(columns.split(), rows)


def journal(entries: Iterable[Entry], json: bool) -> None:
    """Entries of the journal."""
    if json:
        for one in entries:
            output.emit_json(entry(one))
        return
    rows = []
    for one in entries:
        said: Mapping[str, Any] = one.said
        rest = {name: value for name, value in said.items() if name not in ("at", "by", "verb", "device")}
        rows.append(
            [
                str(one.number), f"{one.moment:%Y-%m-%d %H:%M:%S}Z", str(said.get("by", "")),
                str(said.get("verb", "")), str(said.get("device", "-")),
                ", ".join(f"{name} {_plain(value)}" for name, value in rest.items()),
            ]
        )  # fmt: skip
    output.table(["entry", "when", "who", "what", "device", "about"], rows)


def _plain(value: Any) -> str:
    """A value of an entry, for people."""
    return " + ".join(map(str, value)) if isinstance(value, list) else str(value)


def report(found: Report, json: bool) -> None:
    """What became of the slots of a device."""
    if json:
        output.emit_json(
            {
                "device": found.device.hex().upper(),
                "done": [slot(one) for one in found.done],
                "again": [{**slot(one), "cause": cause} for one, cause in found.waiting.items()],
                "failed": [{**slot(one), "cause": cause} for one, cause in found.failed.items()],
            }
        )
        return
    for one in found.done:
        output.emit(f"{one.text}: done")
    for one, cause in found.failed.items():
        output.emit(safe_text(f"{one.text}: failed: {cause}"))
    for one, cause in found.waiting.items():
        output.emit(safe_text(f"{one.text}: run again: {cause}"))

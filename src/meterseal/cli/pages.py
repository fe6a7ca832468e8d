"""Results as text for a person: captured APDUs by layers and readings, the scenes of the demonstration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any, Final

from meterseal.apdu.services import DataNotification
from meterseal.cli.output import emit, heading, table
from meterseal.cosem.texts import json_text, safe_text
from meterseal.probe import Dissection, readings

if TYPE_CHECKING:
    from meterseal.demo import Played

_MARKS: Final = (
    ("authenticated", "authenticated"),
    ("encrypted", "encrypted"),
    ("signed", "signed"),
    ("compressed", "compressed"),
    ("broadcast", "broadcast key"),
)


def dissection(one: Dissection) -> None:
    """One APDU: a line per layer, then what is inside."""
    for layer in one.layers:
        emit(_layer(layer))
    if one.error is not None:
        emit(
            "not opened" if one.opened is None else f"opened, and not understood: {one.opened.hex().upper()}"
        )
    elif one.apdu == "p1-telegram":
        _telegram(one)
    elif one.apdu is not None:
        when = one.value["date_time"] if isinstance(one.message, DataNotification) else None
        emit(f"{one.apdu}  {when}" if when else one.apdu)
        if not (isinstance(one.message, DataNotification) and _push(one.message)):
            emit(json_text(_without_nothing(one.value), indent=2))


def _layer(layer: Mapping[str, Any]) -> str:
    if "verified" not in layer:
        fields = (f"{name} {value}" for name, value in layer.items() if name != "kind")
        return f"{layer['kind']}  {safe_text(', '.join(fields))}".rstrip()
    marks = "+".join(word for name, word in _MARKS if layer[name])
    title = layer["system_title"] or "unknown"
    maker = _maker(layer["system_title"])
    counter = "" if layer["signed"] else f", counter {layer['invocation_counter']}"
    return (
        f"{layer['kind']}  suite {layer['suite']}, {marks}, {_proof(layer)}; "
        f"system title {title}{maker}{counter}"
    )


def _proof(layer: Mapping[str, Any]) -> str:
    """What proves the layer: a signature, a tag, or nothing."""
    if layer["verified"]:
        return "signature verified" if layer["signed"] else "tag verified"
    return "NOT verified" if layer["authenticated"] or layer["signed"] else "no tag"


def _maker(title: str | None) -> str:
    """The manufacturer's three letters, where the title has them."""
    letters = bytes.fromhex(title or "")[:3]
    return f" ({letters.decode()})" if letters.isalpha() and letters.isupper() else ""


def _telegram(one: Dissection) -> None:
    value = one.value
    check = "CRC right" if value["checked"] else "no CRC"
    emit(f"p1-telegram  {safe_text(value['identification'])}, {check}")
    rows = [
        (
            line["reference"],
            "  ".join(f"{part['value']} {part['unit'] or ''}".strip() for part in line["values"]),
        )
        for line in value["lines"]
    ]
    table(("reference", "value"), rows)


def _push(message: DataNotification) -> bool:
    """What a push says as a table; False where it names none of its values."""
    found = readings(message.notification_body.value)
    if not found:
        return False
    rows = [(str(one.obis or ""), _value(one.value), one.unit or "", one.name) for one in found]
    table(("obis", "value", "unit", "what"), rows)
    return True


def _value(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json_text(value)


def _without_nothing(value: Any) -> Any:
    """The same without fields that are null: a person does not miss them."""
    if isinstance(value, dict):
        return {name: _without_nothing(part) for name, part in value.items() if part is not None}
    return value


# --- the demonstration ------------------------------------------------------------------------------

_WIDTH: Final = 100


def scene(one: Played) -> None:
    """One scene: its claim, what was done and seen, and what ended it before its time."""
    heading(one.name)
    emit(fill(one.claim, _WIDTH))
    if one.facts:
        rows = [(fact.what, fact.seen, "yes" if fact.as_claimed else "NO") for fact in one.facts]
        table(("what was done", "what was seen", "as claimed"), rows)
    if one.error is not None:
        emit(f"ended by {safe_text(one.error)}")
    emit("")


def scenes(played: Sequence[Played]) -> None:
    """All of them in a table, at the end."""
    rows = [
        (one.name, "held" if one.held else "DID NOT HOLD", f"{_as_claimed(one)} of {len(one.facts)}")
        for one in played
    ]
    table(("scene", "claim", "facts as claimed"), rows)
    emit(f"{sum(one.held for one in played)} of {len(played)} claims held")


def _as_claimed(one: Played) -> int:
    return sum(fact.as_claimed for fact in one.facts)

"""The recorded sealed exchange for the page about layers: `python docs/sealed.py` records one anew.

A utility reads a register of a simulated meter of suite 1 through a head-end; what was on the line, and the
keys of all three, are kept in tests/vectors/sealed-exchange.json, so that anybody can open it again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from meterseal import sync
from meterseal.apdu.ciphered import parse
from meterseal.apdu.general import GeneralCiphering, GeneralSigning
from meterseal.codec.octets import length_octets
from meterseal.credentials import Credentials
from meterseal.crypto import AgreementKey, GcmKey, SigningKey, suite
from meterseal.crypto.keyfiles import read_key
from meterseal.keys.counters import ReceiveCounter, SendCounter
from meterseal.meter import Meter, Party, load_plan, write_credentials
from meterseal.net.memory import blocking_loopback
from meterseal.security import AUTHENTICATED, ENCRYPTED, Context, KeyInUse, Opened, SecuritySetup, unprotect
from meterseal.security.directory import KnownKeys
from meterseal.security.sealed import TAG, Sealed
from meterseal.state import MemoryCounters
from meterseal.utility.blocking import SealedMeter

FILE = Path(__file__).resolve().parent.parent / "tests" / "vectors" / "sealed-exchange.json"
READ = "3/1.0.1.8.0.255:2"
CONFIG = """# A third party of the recorded exchange
[third_parties.utility]
system_title = "4D534C5554494C31"
[[third_parties.utility.rights]]
objects = ["1.0.1.8.0.255"]
attributes = "read"
"""


class _Noon:
    """A loop that is not needed: nothing here waits."""

    def time(self) -> float:
        return 0.0

    def call_later(self, delay: float, callback: Any, *args: Any) -> Any:
        return self

    def cancel(self) -> None:
        """Nothing runs."""


def record() -> dict[str, Any]:
    """One exchange with everybody's keys."""
    with tempfile.TemporaryDirectory() as name:
        folder, frames, passed = Path(name), list[bytes](), list[Sealed]()
        (folder / "config.toml").write_text(CONFIG)
        meter = Meter(load_plan("suite1", folder / "config.toml"))
        write_credentials(meter, folder / "meter.toml", "tcp://127.0.0.1:1")
        credentials = Credentials.load(folder / "meter.toml")

        def watch(direction: str, frame: bytes) -> bytes:
            frames.append(frame[8:])
            return frame

        line = blocking_loopback(Party(meter, _Noon()).session, tamper=watch)
        head_end = credentials.cut("operator")
        with (
            sync.link(credentials=head_end, counters=MemoryCounters(), line=line) as link,
            link.associate("operator") as operator,
        ):

            def carry(sealed: Sealed) -> Sealed:
                frames.clear()
                passed.extend((sealed, operator.forward(sealed)))
                return passed[-1]

            utility = SealedMeter(_static(credentials), carry, counters=MemoryCounters())
            value = utility.read(READ)
        files = folder / "meter.toml.files"
        role = credentials.role("operator")
        return {
            "meter": meter.system_title.hex().upper(),
            "head_end": (role.client_system_title or b"").hex().upper(),
            "utility": "4D534C5554494C31",
            "guek": (role.octets("guek") or b"").hex().upper(),
            "gak": (role.octets("gak") or b"").hex().upper(),
            "keys": {
                "utility-sign": (files / "utility-sign.key").read_text(),
                "utility-agree": (files / "utility-agree.key").read_text(),
                "meter-sign": meter.store.get("pair/signature"),
                "meter-agree": meter.store.get("pair/agreement"),
            },
            "object": READ,
            "request": frames[0].hex().upper(),
            "answer": frames[1].hex().upper(),
            "value": value.raw.hex().upper(),
        }


def _static(credentials: Credentials) -> Credentials:
    """The utility's own, with the key that needs the fewest octets."""
    alone = credentials.cut_third_party("utility")
    third = replace(alone.third_party(), layers="static")
    return replace(alone, third_parties={"utility": third})


# --- opening it again ---------------------------------------------------------------------------


def load() -> dict[str, Any]:
    """The recorded exchange."""
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


def carrier(row: dict[str, Any], own: str, peer: str) -> Context:
    """The head-end's end of the association, or the meter's."""
    setup = SecuritySetup(suite(1), bytes.fromhex(row[own]), bytes.fromhex(row[peer]))
    handle = GcmKey(bytes.fromhex(row["guek"]), bytes.fromhex(row["gak"]))
    setup.unicast = KeyInUse(handle, SendCounter(0, 0), ReceiveCounter())
    return Context(setup, setup.peer_title, general=True, carrying=True)


def party(row: dict[str, Any], own: str, peer: str) -> Context:
    """The utility's end of the exchange, or the meter's."""
    setup = SecuritySetup(suite(1), bytes.fromhex(row[own]), bytes.fromhex(row[peer]))
    known = KnownKeys()
    pem = {name: text.encode() for name, text in row["keys"].items()}
    setup.signing = read_key(pem[f"{own}-sign"], SigningKey)
    setup.agreement = read_key(pem[f"{own}-agree"], AgreementKey)
    title = bytes.fromhex(row[peer])
    known.signing[title] = read_key(pem[f"{peer}-sign"], SigningKey).public
    known.agreement[title] = read_key(pem[f"{peer}-agree"], AgreementKey).public
    setup.directory = known
    both = AUTHENTICATED | ENCRYPTED
    return Context(setup, setup.peer_title, minimum=both, general=True, options=frozenset({"ak_in_use"}))


def opened(row: dict[str, Any], way: str) -> tuple[bytes, bytes, Opened]:
    """Octets on the line, octets sealed, and what the other end opens, of `request` or `answer`."""
    octets = bytes.fromhex(row[way])
    ends = ("meter", "head_end") if way == "request" else ("head_end", "meter")
    sealed = unprotect(carrier(row, *ends), octets).apdu
    assert sealed[:1] == TAG
    inner = ("meter", "utility") if way == "request" else ("utility", "meter")
    return octets, sealed, unprotect(party(row, *inner), sealed)


# --- the page -------------------------------------------------------------------------------------


def exchange(way: str) -> str:
    """One message of the exchange, octet for octet, from the outside in."""
    row = load()
    octets, sealed, inner = opened(row, way)
    lines = [*_outer(octets, row), *_sealed(sealed), *_signed(row, way, sealed, inner)]
    return "\n".join(["```text", *lines, "```", ""])


def _line(depth: int, octets: bytes, words: str) -> Iterator[str]:
    text = octets.hex().upper()
    for at in range(0, len(text), 48):
        shown = f"{'  ' * depth}{text[at : at + 48]}"
        yield f"{shown:<56}{words if not at else ''}".rstrip()


def _outer(octets: bytes, row: dict[str, Any]) -> Iterator[str]:
    message = parse(octets)
    body = len(octets) - 5 - len(message.body)
    yield from _line(0, octets[:1], f"general-glo-ciphering, {len(octets)} octets in all")
    yield from _line(0, octets[1:10], "system title of its sender")
    yield from _line(0, octets[10:body], "length of the content")
    yield from _line(0, octets[body : body + 5], "SC and invocation counter of the association's key (GUEK)")
    yield from _line(0, message.body[:-12], "ciphertext: what the head-end opens is below")
    yield from _line(0, message.body[-12:], "tag")


def _sealed(sealed: bytes) -> Iterator[str]:
    m = GeneralCiphering.decode(sealed)
    yield from _line(1, sealed[:1], f"general-ciphering, {len(sealed)} octets: all that the head-end holds")
    for value, words in (
        (m.transaction_id, "transaction-id"),
        (m.originator_system_title, "originator"),
        (m.recipient_system_title, "recipient"),
        (m.date_time, "date-time, when it was sealed" if m.date_time else "date-time: none"),
        (m.other_information, "other-information: none"),
    ):
        yield from _line(1, bytes((len(value),)) + value, words)
    assert m.key_info is not None
    yield from _line(1, b"\x01" + m.key_info.encode(), "key-info: agreed key, C(0e,2s), nothing else needed")
    content = m.ciphered_content
    yield from _line(1, length_octets(len(content)), "length of the content")
    yield from _line(1, content[:5], "SC and invocation counter of this party")
    yield from _line(1, content[5:-12], "ciphertext: what only the recipient opens is below")
    yield from _line(1, content[-12:], "tag, over the five fields as well")


def _signed(row: dict[str, Any], way: str, sealed: bytes, inner: Opened) -> Iterator[str]:
    octets = _inside(row, way, sealed)
    m = GeneralSigning.decode(octets)
    yield from _line(2, octets[:1], f"general-signing, {len(octets)} octets")
    yield from _line(2, bytes((8,)) + m.transaction_id, "transaction-id, the same")
    yield from _line(2, bytes((8,)) + m.originator_system_title, "originator")
    yield from _line(2, bytes((8,)) + m.recipient_system_title, "recipient")
    yield from _line(2, bytes(2), "date-time, other-information: none")
    yield from _line(3, bytes((len(m.content),)) + m.content, f"the {_name(inner.apdu)} itself")
    yield from _line(2, bytes((len(m.signature),)) + m.signature, "signature over all from behind DF")


def _inside(row: dict[str, Any], way: str, sealed: bytes) -> bytes:
    """The signed octets: the sealed layer opened, and nothing more."""
    from meterseal.security.ciphering import unseal
    from meterseal.security.steps import settle

    inner = ("meter", "utility") if way == "request" else ("utility", "meter")
    return settle(unseal(party(row, *inner), sealed)).plain


def _name(octets: bytes) -> str:
    from meterseal import apdu

    return apdu.name(octets)


def picture() -> str:
    """The layers as SVG: who puts each on, who takes it off, and whom it passes unopened."""
    columns = {"utility": 90, "head-end": 360, "meter": 630}
    bars = (
        ("general-glo: the association's own", 360, 630, "#90a4ae"),
        ("general-ciphering: sealed", 90, 630, "#00897b"),
        ("general-signing: whose word it is", 90, 630, "#00695c"),
        ("get-request, action-request, ...", 90, 630, "#263238"),
    )
    parts = [
        "<!-- The layers of a sealed request from utility to head-end to meter, drawn by docs/sealed.py. -->",
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 300" font-family="system-ui, sans-serif" '
        'font-size="14" text-anchor="middle">',
        '<rect width="720" height="300" rx="8" fill="#f7f9fa"/>',
    ]
    for name, x in columns.items():
        parts += [
            f'<rect x="{x - 60}" y="16" width="120" height="36" stroke="#00695c" fill="#fff"/>',
            f'<text x="{x}" y="39" fill="#263238">{name}</text>',
            f'<path d="M{x} 52v224" stroke="#b0bec5" stroke-dasharray="4 4"/>',
        ]
    for index, (words, left, right, colour) in enumerate(bars):
        top = 76 + 52 * index
        parts += [
            f'<rect x="{left}" y="{top}" width="{right - left}" height="36" rx="4" fill="{colour}"/>',
            f'<text x="{(left + right) / 2:.0f}" y="{top + 23}" fill="#fff">{words}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    FILE.write_text(json.dumps(record(), indent=1) + "\n")
    print(f"recorded: {FILE.name}")

"""Files and texts: credentials, configurations, certificates, requests, revocation lists, state, pushes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files as files_of
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch
from zlib import crc32

from fuzz.script import Script, written
from fuzz.target import Target
from meterseal.authority.evidence_file import read_evidence, write_evidence
from meterseal.credentials import Credentials, files
from meterseal.crypto import SigningKey, curve
from meterseal.crypto.formats import certificates_in, list_in, request_in
from meterseal.crypto.issuing import make_request
from meterseal.crypto.keyfiles import read_key, write_key
from meterseal.crypto.revocation import Reason, Revocation
from meterseal.crypto.timestamps import TimeStamp
from meterseal.framing.items import Item, Layer
from meterseal.framing.live import LineReader
from meterseal.listener import Book, Received, Receiver
from meterseal.meter import config
from meterseal.meter.readers import Place
from meterseal.state import MemoryCounters, log
from tests.authority.signers import a_file, a_stamped_file
from tests.authority.tsa import stamper
from tests.crypto import certificate_faults as faults
from tests.crypto.certificate_faults import SUB, TITLE
from tests.crypto.test_revocation import SERIAL
from tests.crypto.test_revocation import written as listed
from tests.hostile.test_decoders import CONFIG, CREDENTIALS
from tests.listener.pushes import plain, sealed, write
from tests.vectors import load


def credentials(octets: bytes) -> object:
    """A credentials file; what is read can be written, and reads the same."""
    found = _loaded(octets)
    again = _loaded(found.to_toml().encode())
    assert again.to_toml() == found.to_toml()
    return found


def _loaded(octets: bytes) -> Credentials:
    with patch.object(files, "read_private", lambda path, what, largest: octets):
        return Credentials.load(Path("meter.toml"))


def configuration(octets: bytes) -> object:
    """A meter's configuration over the preset, as far as its plan."""
    place = Place("meter.toml")
    mapping = config._toml(octets, place)
    preset, at = _preset()
    return config.plan_from(config._merged(preset, mapping, at), "suite0", place)


def whole_configuration(octets: bytes) -> object:
    """A configuration that stands alone, as a preset does."""
    place = Place("meter.toml")
    return config.plan_from(config._toml(octets, place), "suite0", place)


def _configurations() -> list[bytes]:
    """Each object of the preset, alone in a meter."""
    text = (files_of(config.__package__) / "suite0.toml").read_bytes()
    head, *objects = text.split(b"[[objects]]")
    begin, _, rest = objects[-1].partition(b"\n[roles")
    return [head + b"[[objects]]" + one for one in (*objects[:-1], begin)] + [b"[roles" + rest]


@cache
def _preset() -> tuple[dict[str, object], Place]:
    return config._preset("suite0")


def certificate(octets: bytes) -> object:
    """Certificates, asked all they can tell."""
    found = certificates_in(octets)
    for one in found:
        repr(one), one.subject_text, one.issuer_text, one.not_before, one.not_after
        one.to_pem()
    return found


def request(octets: bytes) -> object:
    found = request_in(octets)
    assert len(found.title) == 8
    return request_in(found.to_pem())


def revocation(octets: bytes) -> object:
    found = list_in(octets)
    found.check_issued_by(SUB.certificate)
    return found.find(SERIAL), found.issuer_text


def evidence(octets: bytes) -> object:
    """A file of evidence; what is read can be written, and reads the same."""
    found = read_evidence(octets)
    again = write_evidence(found)
    assert write_evidence(read_evidence(again)) == again
    return found


def time_stamp(octets: bytes) -> object:
    """A time stamp, held against an authority: what it says is then what was stamped."""
    found = TimeStamp(octets)
    return found.check(PACKED, [stamper().anchor]), found.moment


def private_key(octets: bytes) -> object:
    return read_key(octets, SigningKey)


def checked_journal(octets: bytes) -> object:
    """The same with the check sums put right, so that what lies behind them is reached."""
    lines = [line[9:] for line in octets.split(b"\n")]
    return journal(b"".join(b"%08X %b\n" % (crc32(line), line) for line in lines))


def journal(octets: bytes) -> object:
    """A log file: what is good of it is good and the same when read alone."""
    found = log.parse(octets)
    assert 0 <= found.end <= len(octets)
    again = log.parse(octets[: found.end])
    assert again.records == found.records
    return found


@cache
def _book() -> tuple[TemporaryDirectory[str], Path]:
    folder = TemporaryDirectory()
    return folder, write(Path(folder.name) / "kitchen.toml")


def pushes(octets: bytes) -> object:
    """A script: pushes in clear, sealed under a right key, or as octets of a line, to one listener."""
    script, store = Script(octets), MemoryCounters()
    receiver = Receiver(
        Book(_book()[1], store), store, accept=script.octet() & 3, tagged_time=bool(script.octet() & 1)
    )
    line = LineReader(limit=4096)
    found: list[Received] = []
    window = script.octet() & 63
    while script.goes_on:
        items: Callable[[], list[Item]] = script.choose(
            (
                lambda: [_item(sealed(script.octet(), inside=script.part(), sc=script.octet()))],
                lambda: [_item(script.part())],
                lambda: line.feed(script.part()),
                line.pause,
            )
        )
        found += receiver.take(items(), "fuzz", window=window)
    receiver.sync()
    return found


def _item(octets: bytes) -> Item:
    return Item((Layer("wrapper", {"source": 1, "destination": 103}),), octets)


def _log(snapshot: int) -> bytes:
    records: list[dict[str, object]] = [
        {"meterseal-log": 1, "snapshot": snapshot},
        {"key": "0123456789-tx", "end": 4096},
        {"b": [1, {"d": None}], "c": "text"},
    ]
    return b"".join(log._line(number, log.encode(record)) for number, record in enumerate(records, 7))


KEY = SigningKey.generate(curve("P-256"))
PACKED = b"evidence"
CERTIFICATES = [
    faults.RIGHT.der(),
    SUB.certificate.to_pem(),
    *(bytes.fromhex(v["inputs"]["der"]) for v in load("x509")),
]
REQUESTS = [make_request(KEY, TITLE)]
LISTS = [listed(Revocation(SERIAL, faults.NOW, Reason.SUPERSEDED)), listed()]
PUSHES = [
    written(3, 0, 5, 0, 1, plain(), 0x30, 0, 2, plain(9), 0x30, 0, 1, plain(), 0x30),
    written(0, 1, 0, 1, plain(), 2, sealed(9), 3),
]

TARGETS = (
    Target("credentials", credentials, [CREDENTIALS]),
    Target("configuration", configuration, [CONFIG], stateful=True),
    Target("configuration-whole", whole_configuration, _configurations(), stateful=True),
    Target("certificate", certificate, CERTIFICATES),
    Target("certificate-request", request, REQUESTS),
    Target("revocation-list", revocation, LISTS),
    Target("evidence", evidence, [a_file(), a_stamped_file()]),
    Target("time-stamp", time_stamp, [stamper().token(PACKED), stamper().response(PACKED)]),
    Target("private-key", private_key, [write_key(KEY)]),
    Target("journal", journal, [_log(0), _log(1)]),
    Target("journal-checked", checked_journal, [_log(0), _log(1)]),
    Target("listener", pushes, PUSHES, stateful=True),
)

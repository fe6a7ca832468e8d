"""Enrolment of a bare meter in memory: whole, cut at every step and run again, and what is refused (D18)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from meterseal import net, sync
from meterseal.authority import CertificateAuthority, State
from meterseal.authority.enrolment import Done, Enrolment, enrol
from meterseal.authority.register import Register
from meterseal.client.setups import ByEntity, SetupSteps
from meterseal.credentials import Credentials
from meterseal.crypto import SigningKey, curve
from meterseal.crypto.certificates import Purpose
from meterseal.crypto.issuing import make_request
from meterseal.errors import (
    CertificateRefused,
    ConfigurationError,
    ConnectionLost,
    MetersealError,
    Misuse,
    Refused,
    StateDamaged,
)
from meterseal.meter import load_plan, write_credentials
from meterseal.meter.pairs import AGREEMENT, SIGNATURE
from meterseal.security.steps import Steps
from meterseal.state import read_records
from tests.authority.house import OTHER, TITLE, Clock, request, root
from tests.meter.world import World

SWITCH = "70/0.0.96.3.10.255:1"


class Site:
    """A bare meter in memory, its authority below a root, and the credentials that came with it."""

    def __init__(
        self, folder: Path, suite: int = 1, on: str = "", *, tokens: bool = False, anchor: str = "root"
    ) -> None:
        on = on or {1: "P-256", 2: "P-384"}[suite]
        self.folder, self.clock = folder, Clock(datetime.now(UTC))  # that of the clients
        for name in {"root", anchor}:
            root(folder / name, self.clock, on=on).close()
        with CertificateAuthority(folder / "root", by="t", clock=self.clock) as top:
            CertificateAuthority.sub(folder / "sub", "Meters", top, on=on, tokens=tokens).close()
        plan = load_plan(f"suite{suite}", trust=folder / anchor / "ca.pem")
        self.world = World(plan, folder / "state", self.clock.now.timestamp())
        self.file = folder / "meter.toml"
        write_credentials(self.world.meter, self.file)

    @property
    def title(self) -> bytes:
        return self.world.meter.system_title

    @contextmanager
    def authority(self) -> Iterator[CertificateAuthority]:
        with CertificateAuthority(self.folder / "sub", by="t", clock=self.clock) as opened:
            yield opened

    def enrol(self, **how: Any) -> Enrolment:
        with self.authority() as authority:
            return enrol(Credentials.load(self.file), authority, **how)

    def valid(self) -> list[tuple[bytes | None, Purpose]]:
        with self.authority() as authority:
            return [(one.title, one.purpose) for one in authority.register if one.state is State.VALID]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[Site]:
    """Connections of `enrol` end at the meter of the last site in this list."""
    sites: list[Site] = []
    real = sync.connect

    def connect(url: str | None = None, **how: Any) -> Any:
        return real(url, line=net.blocking_loopback(sites[-1].world.party.session), **how)

    monkeypatch.setattr(sync, "connect", connect)
    return sites


def site(lines: list[Site], folder: Path, *args: Any, **how: Any) -> Site:
    lines.append(Site(folder, *args, **how))
    return lines[-1]


def done(found: Enrolment) -> list[tuple[str, str, str]]:
    return [(one.who, one.purpose, one.what) for one in found.done]


PARTS = ["signature", "agreement"]


@pytest.mark.parametrize(("suite", "on"), [(1, "P-256"), (1, "P-384"), (2, "P-384")])
def test_from_a_bare_meter_to_a_signed_call(lines: list[Site], tmp_path: Path, suite: int, on: str) -> None:
    """Under an authority on the suite's own curve, and a stronger one over P-256 devices."""
    here, told = site(lines, tmp_path, suite, on), list[Done]()
    found = here.enrol(told=told.append)
    assert done(found) == [
        ("authority", "authority", "imported"),
        *(("meter", part, "issued") for part in PARTS),
        *((role, part, "issued") for role in ("operator", "manager") for part in PARTS),
    ]
    assert tuple(told) == found.done and all(isinstance(one, Done) for one in told)
    assert found.proved == {
        "role": "operator", "mechanism": "ecdsa", "suite": suite, "policy": "authenticated+encrypted"
    }  # fmt: skip
    pairs = here.world.meter.pairs
    assert pairs is not None
    for kind in (SIGNATURE, AGREEMENT):
        own = pairs.own(kind)
        assert own.certificate is not None and own.key is not None and own.waiting is None
        assert own.certificate.key.octets == own.key.public.octets
    again = Credentials.load(here.file)
    assert again.meter.signing_certificate == "meter.toml.files/meter-sign.pem"
    with sync.connect(credentials=again, role="manager") as manager:
        manager.call(SWITCH)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "meter.toml.files").iterdir()} == {0o600}


def test_a_second_run_finds_all_of_it(lines: list[Site], tmp_path: Path) -> None:
    here = site(lines, tmp_path)
    first = here.enrol()
    second = here.enrol()
    assert {what for _, _, what in done(second)} == {"there"}
    assert [one.certificate.der for one in first.done] == [one.certificate.der for one in second.done]
    renewed = here.enrol(renew=True)
    assert [what for who, _, what in done(renewed) if who == "meter"] == ["renewed"] * 2
    assert renewed.proved is not None and sorted(here.valid(), key=str) == sorted(
        [(title, purpose) for title in titles(here) for purpose in (Purpose.SIGNATURE, Purpose.AGREEMENT)],
        key=str,
    )


def titles(here: Site) -> list[bytes]:
    return [here.title, bytes.fromhex("4D534C4845530001"), bytes.fromhex("4D534C4845530002")]


CALLS = 13
"""Methods that one run calls: an authority's certificate, four for each of two pairs, four of clients."""


ALWAYS = {(0, True), (3, True), (4, True), (12, True), (4, False)}
"""Cuts of the normal run; the others are a soak."""


@pytest.mark.parametrize(
    ("at", "done_there"),
    [
        pytest.param(*cut, marks=() if cut in ALWAYS else pytest.mark.soak)
        for cut in product(range(CALLS), (True, False))
    ],
)
def test_cut_at_a_call(
    lines: list[Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, done_there: bool
) -> None:
    """The line breaks before the meter has a call, or after it has done it; the next run ends it all."""
    real, calls = SetupSteps._call, [0]

    def call(self: SetupSteps, method: int, data: Any) -> Any:
        calls[0] += 1
        found = (yield from real(self, method, data)) if done_there or calls[0] != at + 1 else None
        if calls[0] == at + 1:
            raise ConnectionLost("cut")
        return found

    monkeypatch.setattr(SetupSteps, "_call", call)
    here = site(lines, tmp_path)
    with pytest.raises(ConnectionLost):
        here.enrol()
    before = here.valid()
    found = here.enrol()
    assert found.proved is not None and calls[0] <= 2 * CALLS
    assert len(here.valid()) == 6 and set(before) <= set(here.valid())
    monkeypatch.setattr(SetupSteps, "_call", real)
    assert {what for _, _, what in done(here.enrol())} == {"there"}


def test_files_that_a_cut_run_did_not_write(lines: list[Site], tmp_path: Path) -> None:
    """Certified, and gone before the credentials were written: keys and certificates are found again."""
    here = site(lines, tmp_path)
    old = here.file.read_bytes()
    here.enrol()
    for path in (tmp_path / "meter.toml.files").glob("*.pem"):
        path.unlink()
    here.file.write_bytes(old)
    write_credentials(here.world.meter, here.file)  # brings the anchors' file back
    found = here.enrol()
    assert {what for _, _, what in done(found)} == {"there"} and found.proved is not None


def test_a_meter_without_any_pair(lines: list[Site], tmp_path: Path) -> None:
    """Its pair went with its certificate: it refuses to request one, and generates a pair first."""
    here = site(lines, tmp_path)
    here.enrol()
    with sync.connect(credentials=Credentials.load(here.file), role="manager") as manager:
        manager.security_setup().remove_certificate(ByEntity("server", "agreement", here.title))
    pairs = here.world.meter.pairs
    assert pairs is not None and not pairs.own(AGREEMENT).keys
    found = here.enrol()
    assert [what for who, _, what in done(found) if who == "meter"] == ["there", "renewed"]
    assert pairs.own(AGREEMENT).certificate is not None


def test_clients_of_another_meter(lines: list[Site], tmp_path: Path) -> None:
    """One head-end, two meters: the keys of the first file serve for the second."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    first = site(lines, tmp_path / "one")
    first.enrol()
    second = site(lines, tmp_path / "two", anchor="root")
    with first.authority() as authority:
        plan = load_plan("suite1", trust=first.folder / "root" / "ca.pem")
        second.world = World(plan, tmp_path / "two" / "state-2", second.clock.now.timestamp())
        write_credentials(second.world.meter, second.file)
        with pytest.raises(CertificateRefused, match="there is one already"):
            enrol(Credentials.load(second.file), authority)
        for key in (tmp_path / "two" / "meter.toml.files").glob("*.key"):
            key.unlink()
        found = enrol(Credentials.load(second.file), authority, clients=Credentials.load(first.file))
    assert [what for who, _, what in done(found) if who == "manager"] == ["imported"] * 2
    assert found.proved is not None
    named = found.credentials.role("manager").signing_key
    assert named is not None and Path(named) == tmp_path / "one" / "meter.toml.files" / "manager-sign.key"


# --- what is refused ------------------------------------------------------------------------------------


def refused(here: Site, error: type[MetersealError], match: str, **how: Any) -> None:
    """The run ends with this error, and the authority has certified nothing for the meter."""
    with pytest.raises(error, match=match):
        here.enrol(**how)
    assert not [one for one in here.valid() if one[0] not in titles(here)[1:]]


def answered(request: bytes) -> Steps[bytes]:
    """The steps to a request that was made elsewhere."""
    found: bytes = yield lambda: request
    return found


def test_D18_the_request_of_another_device(
    lines: list[Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = site(lines, tmp_path)
    stranger = make_request(SigningKey.generate(curve("P-256")), OTHER)
    pairs = here.world.meter.pairs
    monkeypatch.setattr(pairs, "requesting", lambda kind: answered(stranger))
    refused(here, CertificateRefused, f"the request is for {OTHER.hex().upper()}, not for")


def test_D18_a_request_without_possession(
    lines: list[Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = site(lines, tmp_path)
    good = make_request(SigningKey.generate(curve("P-256")), here.title)
    bad = good[:-1] + bytes((good[-1] ^ 1,))
    monkeypatch.setattr(here.world.meter.pairs, "requesting", lambda kind: answered(bad))
    refused(here, CertificateRefused, "request")


def test_D18_another_meter_than_was_meant(lines: list[Site], tmp_path: Path) -> None:
    here = site(lines, tmp_path)
    refused(here, ConfigurationError, "not of that meter", title=OTHER)
    loaded = Credentials.load(here.file)
    other = replace(loaded, meter=replace(loaded.meter, system_title=None))
    with here.authority() as authority, pytest.raises(ConfigurationError, match="system_title is missing"):
        enrol(other, authority)


def test_a_meter_with_other_anchors(lines: list[Site], tmp_path: Path) -> None:
    here = site(lines, tmp_path, anchor="other-root")
    refused(here, Refused, "among its trust anchors")


def test_what_enrolment_needs(lines: list[Site], tmp_path: Path) -> None:
    here = site(lines, tmp_path)
    loaded = Credentials.load(here.file)
    with here.authority() as authority:
        with pytest.raises(ConfigurationError, match="come from one"):
            enrol(replace(loaded, path=None), authority)
        with pytest.raises(ConfigurationError, match="say which role"):
            enrol(Credentials(loaded.meter, {"operator": loaded.role("operator")}, loaded.path), authority)
        with pytest.raises(ConfigurationError, match="suite 0"):
            enrol(Credentials(replace(loaded.meter, suite=0, trust=()), {}, loaded.path), authority)


# --- tokens ---------------------------------------------------------------------------------------------


def test_D18_an_authority_that_wants_tokens(lines: list[Site], tmp_path: Path) -> None:
    here = site(lines, tmp_path, tokens=True)
    refused(here, CertificateRefused, "one-time token only")
    with here.authority() as authority:
        foreign, good = authority.token(OTHER), authority.token(here.title, 30)
        here.clock.forward(timedelta(days=-2))
        late = authority.token(here.title, 1)
        here.clock.forward(timedelta(days=2))
    refused(here, CertificateRefused, "no token of this authority", token="00" * 16)
    refused(here, CertificateRefused, "no token of this authority", token=foreign)
    refused(here, CertificateRefused, "could be redeemed until", token=late)
    found = here.enrol(token=good.lower())
    assert found.proved is not None
    with pytest.raises(CertificateRefused, match="redeemed for signature already"):
        here.enrol(token=good, renew=True)


def test_D18_a_token_counts_once_and_for_good(tmp_path: Path) -> None:
    """One certificate of each purpose, also after a restart; the index holds no token."""
    clock = Clock()
    with root(tmp_path / "ca", clock, tokens=True) as authority:
        token = authority.token(TITLE)
        entry = authority.issue(request(), TITLE, Purpose.SIGNATURE, token=token)
    assert token.encode() not in (tmp_path / "ca" / "index.log").read_bytes()
    with CertificateAuthority(tmp_path / "ca", by="t", clock=clock) as authority:
        assert authority.register.tokens.needed
        for again in (None, token):
            with pytest.raises(CertificateRefused, match="token"):
                authority.renew(entry.serial, request(), token=again)
        authority.renew(entry.serial, request(), token=authority.token(TITLE))
        with pytest.raises(CertificateRefused, match="token"):
            authority.issue(request(OTHER), OTHER, Purpose.SIGNATURE, token=token)


def test_D18_without_the_need_a_token_that_is_given_still_counts(tmp_path: Path) -> None:
    with root(tmp_path / "ca") as authority:
        with pytest.raises(CertificateRefused, match="no token"):
            authority.issue(request(), TITLE, Purpose.SIGNATURE, token="AB" * 16)
        authority.issue(request(), TITLE, Purpose.SIGNATURE)


def test_tokens_that_cannot_be(tmp_path: Path) -> None:
    with root(tmp_path / "ca") as authority:
        for title, days in ((TITLE[:7], 1), (TITLE, 0), (TITLE, 36_501)):
            with pytest.raises(Misuse):
                authority.token(title, days)


def test_an_index_with_a_token_from_nowhere_is_damaged(tmp_path: Path) -> None:
    with root(tmp_path / "ca") as authority:
        authority.issue(request(), TITLE, Purpose.SIGNATURE, token=authority.token(TITLE))
    records = read_records(tmp_path / "ca", "index")
    Register(records)
    with pytest.raises(StateDamaged):
        Register([one for one in records if one["record"] != "token"])

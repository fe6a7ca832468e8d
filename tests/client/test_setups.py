"""The eight methods of a Security setup as calls of the client, with a meter on a socket, in both suites."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import meterseal
from meterseal.client import ByEntity, setups
from meterseal.client.setups import SetupSteps
from meterseal.client.steps import Work
from meterseal.codec.data import Data
from meterseal.credentials import Credentials
from meterseal.crypto import AgreementKey, SigningKey, random_octets
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import Request, Validity
from meterseal.errors import Forged, KeyLength, Misuse, ProtocolViolation, Refused, UnknownKey
from meterseal.meter import write_credentials
from meterseal.meter.manufacture import maker_of
from tests.client.conftest import Blocking, _entered
from tests.hostile.raw import Running, running

OPERATOR = "0.0.43.0.2.255"
PRESETS = pytest.mark.parametrize("preset", ["suite1", "suite2"])
FACES = pytest.mark.parametrize("face", ["asyncio", "blocking"])
VALIDITY = Validity(datetime(2020, 1, 1, tzinfo=UTC))


@contextmanager
def meter(tmp_path: Path, preset: str) -> Iterator[tuple[Running, Path]]:
    """A running meter, and the file of its credentials."""
    with running(tmp_path, preset=preset) as here:
        path = tmp_path / "meter.toml"
        write_credentials(here.meter, path, here.server.url)
        yield here, path


@contextmanager
def connected(face: str, credentials: Any, role: str, **wishes: Any) -> Iterator[Any]:
    """An association, behind one blocking face."""
    if face == "blocking":
        with meterseal.sync.connect(credentials=credentials, role=role, **wishes) as client:
            yield client
        return
    with asyncio.Runner() as runner:

        async def make() -> Any:
            return meterseal.connect(credentials=credentials, role=role, **wishes)

        with _entered(runner.run(make()), runner) as behind:
            yield behind


def setup_of(client: Any, name: str | None = None) -> Any:
    """A Security setup object behind the same face."""
    found = client.security_setup(name)
    return Blocking(found, client._runner) if isinstance(client, Blocking) else found


@FACES
@PRESETS
def test_own_keys_are_agreed_on_and_used(face: str, preset: str, tmp_path: Path) -> None:
    with meter(tmp_path, preset) as (here, path):
        with connected(face, path, "manager") as client:
            new = setup_of(client).key_agreement("guek", "gak", "gbek", "kek")
            assert {len(octets) for octets in new.values()} == {16 if preset == "suite1" else 32}
            assert client.read("1.0.1.8.0.255").unit == "Wh", "the same association goes on under them"
            again = setup_of(client).key_agreement("guek")
            assert again["guek"] != new["guek"] and client.read("1.0.1.8.0.255").unit == "Wh"
        new |= again
        assert {name: here.meter.rings[1].reveal(i) for i, name in enumerate(("guek", "gbek", "gak"))} == {
            name: new[name] for name in ("guek", "gbek", "gak")
        }
        Credentials.load(path).with_keys("manager", new).save(path)
        with connected(face, path, "manager") as client:
            setup_of(client).key_transfer({"gbek": random_octets(len(new["kek"]))})
            assert client.read("1.0.1.8.0.255").unit == "Wh"


@FACES
def test_keys_of_another_role_are_handed_on(face: str, tmp_path: Path) -> None:
    with meter(tmp_path, "suite1") as (_, path):
        with connected(face, path, "manager") as client:
            new = setup_of(client, OPERATOR).key_agreement("guek", "gak")
            assert client.read("1.0.1.8.0.255").unit == "Wh", "its own keys are as they were"
        Credentials.load(path).with_keys("operator", new).save(path)
        with connected(face, path, "operator") as client:
            assert client.read("1.0.1.8.0.255").unit == "Wh"


@FACES
@PRESETS
def test_own_keys_are_transferred_and_used(face: str, preset: str, tmp_path: Path) -> None:
    with meter(tmp_path, preset) as (_, path):
        length = 16 if preset == "suite1" else 32
        with connected(face, path, "manager", dedicated=True) as client:
            for names in (("guek",), ("gak",), ("guek", "gak")):
                setup_of(client).key_transfer({name: random_octets(length) for name in names})
                assert client.read("1.0.1.8.0.255").unit == "Wh", names
        with connected(face, path, "installer") as client, pytest.raises(Misuse, match="KEK"):
            setup_of(client, OPERATOR).key_transfer({"guek": random_octets(length)})


@FACES
def test_keys_wait_for_the_next_association_where_the_meter_does_so(face: str, tmp_path: Path) -> None:
    """By key_agreement and key_transfer; the counters of the new key begin with what brought it."""
    config = "[roles.manager.peer]\nnew_keys_from_next_association = true\n"
    path = tmp_path / "mine.toml"
    with running(tmp_path, config, preset="suite1") as here:
        write_credentials(here.meter, path, here.server.url)
        file = Credentials.load(path)
        role = replace(file.role("manager"), counter_start=None, counter_object=None)
        for bring in ("key_agreement", "key_transfer"):
            with connected(face, path, "manager") as client:
                if bring == "key_agreement":
                    new = setup_of(client).key_agreement("guek")
                else:
                    setup_of(client).key_transfer(
                        new := {"guek": random_octets(16), "gak": random_octets(16)}
                    )
                assert client.read("1.0.1.8.0.255").unit == "Wh", "the old ones still"
            file = replace(file, roles={**file.roles, "manager": role}).with_keys("manager", new)
            role = file.role("manager")
            file.save(path)
        with connected(face, path, "manager") as client:
            assert client.read("1.0.1.8.0.255").unit == "Wh"


@FACES
@PRESETS
def test_a_meter_is_certified_anew(face: str, preset: str, tmp_path: Path) -> None:
    """From a new pair to its certificate, and the client holds the meter to it at the next sign-on."""
    with meter(tmp_path, preset) as (here, path):
        maker = here.do(lambda: maker_of(here.meter.store))
        assert maker is not None
        with connected(face, path, "manager") as client:
            setup = setup_of(client)
            setup.generate_key_pair("signature")
            request = Request(setup.generate_certificate_request("signature"))
            assert request.title == here.meter.system_title
            certificate = maker.issue(
                request.key(Purpose.SIGNATURE), request.title, Purpose.SIGNATURE, VALIDITY
            )
            setup.import_certificate(certificate.der)
            own = ByEntity("server", "signature", request.title)
            assert setup.export_certificate(own) == certificate.der
            (listed,) = [one for one in setup.certificates() if (one.entity, one.kind) == own[:2]]
            assert setup.export_certificate(listed.name) == certificate.der
            assert listed.subject == certificate.subject
        (tmp_path / "meter.toml.files" / "meter-sign.pem").write_bytes(certificate.to_pem())
        with connected(face, path, "operator") as client:
            assert client.read("1.0.1.8.0.255").unit == "Wh"


@FACES
def test_a_client_comes_and_goes(face: str, tmp_path: Path) -> None:
    with meter(tmp_path, "suite1") as (here, path):
        maker = here.do(lambda: maker_of(here.meter.store))
        assert maker is not None
        title = b"MSLHES\x00\x55"
        key = SigningKey.generate(maker.certificate.key.curve)
        certificate = maker.issue(key.public, title, Purpose.SIGNATURE, VALIDITY)
        with connected(face, path, "manager") as client:
            setup = setup_of(client)
            setup.import_certificate(certificate.der)
            theirs = ByEntity("other", "signature", title)
            assert Certificate(setup.export_certificate(theirs)) == certificate
            setup.remove_certificate(theirs)
            with pytest.raises(Refused):
                setup.export_certificate(theirs)
            with pytest.raises(Refused):
                setup.remove_certificate(ByEntity("authority", "other"))
            root = Certificate(setup.export_certificate(ByEntity("authority", "other")))
            assert root == maker.certificate


@FACES
@pytest.mark.parametrize("printed", [False, True])
def test_D08_the_algorithm_id_of_edition_8_is_an_option_of_the_peer(
    face: str, printed: bool, tmp_path: Path
) -> None:
    """The meter has it: keys differ where the client has not, and agree where it is switched on."""
    with running(tmp_path, '[roles.manager.peer]\nalgorithm_id = "as-printed"\n', preset="suite1") as here:
        path = tmp_path / "credentials.toml"
        write_credentials(here.meter, path, here.server.url)
        loaded = Credentials.load(path)
        assert loaded.role("manager").peer == {"algorithm_id"}
        strict = replace(loaded.role("manager"), peer=frozenset())
        chosen = loaded if printed else Credentials(loaded.meter, {"manager": strict}, path)
        with connected(face, chosen, "manager") as client:
            new = setup_of(client, OPERATOR).key_agreement("guek")
        assert (here.meter.rings[2].reveal(0) == new["guek"]) is printed


@FACES
def test_a_stronger_policy_is_kept_to(face: str, tmp_path: Path) -> None:
    config = '[roles.installer]\npolicy = "authenticated"\n[[roles.installer.rights]]\n'
    config += 'objects = ["0.0.43.0.3.255"]\nattributes = "read"\nmethods = "access"\n'
    with running(tmp_path, config, preset="suite1") as here:
        path = tmp_path / "credentials.toml"
        write_credentials(here.meter, path, here.server.url)
        with connected(face, path, "installer") as client:
            setup = setup_of(client)
            setup.activate("authenticated+encrypted")
            assert client.read("0.0.1.0.0.255") is not None
            with pytest.raises(Refused):
                setup.activate("authenticated")


def test_what_is_asked_wrongly_is_not_sent(tmp_path: Path) -> None:
    with meter(tmp_path, "suite1") as (_, path), connected("blocking", path, "manager") as client:
        setup = client.security_setup()
        with pytest.raises(Misuse, match="guek, gbek, gak, kek"):
            setup.key_agreement("master")
        with pytest.raises(Misuse, match="which keys"):
            setup.key_agreement()
        with pytest.raises(KeyLength):
            setup.key_transfer({"guek": bytes(32)})
        with pytest.raises(Misuse, match="signature, agreement, tls"):
            setup.generate_key_pair("other")
        with pytest.raises(Misuse, match="entity"):
            setup.export_certificate(ByEntity("nobody", "tls"))
        with pytest.raises(Misuse, match="named BySerial or ByEntity"):
            setup.remove_certificate(("client", "tls"))
        with pytest.raises(Misuse, match="octet-string"):
            setup.import_certificate(5)


def test_curve_work_of_key_agreement_is_handed_to_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, bool]] = []
    working = False

    def handed(job: Any) -> Work:
        def at_work() -> Any:
            nonlocal working
            working = True
            try:
                return job()
            finally:
                working = False

        return Work(at_work)

    def noting(verb: str, call: Any) -> Any:
        def noted(*given: Any) -> Any:
            if threading.current_thread() is threading.main_thread():  # the meter has a thread of its own
                done.append((verb, working))
            return call(*given)

        return noted

    with meter(tmp_path, "suite1") as (_, path), connected("blocking", path, "manager") as client:
        monkeypatch.setattr(setups, "Work", handed)
        monkeypatch.setattr(AgreementKey, "generate", noting("generate", AgreementKey.generate))
        monkeypatch.setattr(AgreementKey, "agree", noting("agree", AgreementKey.agree))
        assert client.security_setup().key_agreement("guek")
    assert done == [("generate", True), ("agree", True)]


def test_a_role_without_a_signature_key_agrees_on_nothing(tmp_path: Path) -> None:
    with (
        meter(tmp_path, "suite1") as (_, path),
        connected("blocking", path, "installer") as client,
        pytest.raises(UnknownKey, match="signature key"),
    ):
        client.security_setup(OPERATOR).key_agreement("guek")


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda items: [(i, data[:-1] + bytes((data[-1] ^ 1,))) for i, data in items], Forged),
        (lambda items: [(2, data) for _, data in items], ProtocolViolation),
        (lambda items: [], ProtocolViolation),
        (lambda items: items * 2, ProtocolViolation),
        (lambda items: 7, ProtocolViolation),
        (lambda items: [(i, 0x7FFF_FFFF) for i, _ in items], ProtocolViolation),
        (lambda items: [("0", data) for _, data in items], ProtocolViolation),
    ],
)
def test_D06_what_a_lying_meter_answers_is_not_taken(
    spoil: Any, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = SetupSteps._call

    def lying(self: Any, method: int, data: Data) -> Any:
        value = yield from real(self, method, data)
        return spoil(value) if method == 3 else value

    with meter(tmp_path, "suite1") as (_, path), connected("blocking", path, "manager") as client:
        monkeypatch.setattr(SetupSteps, "_call", lying)
        with pytest.raises(error):
            client.security_setup(OPERATOR).key_agreement("guek")
        assert client.read("1.0.1.8.0.255").unit == "Wh"


OCTETS = b"\x01"
INFO = (0, 0, OCTETS, OCTETS, OCTETS, OCTETS)


@pytest.mark.parametrize(
    "listed",
    [
        7,
        [7],
        [INFO[:5]],
        [(*INFO, OCTETS)],
        [(4, *INFO[1:])],
        [(-1, *INFO[1:])],
        [(0, 4, *INFO[2:])],
        [(b"", *INFO[1:])],
        [(*INFO[:5], "text")],
        [(*INFO[:2], 0xFFFF_FFFF, *INFO[3:])],
        [(*INFO[:2], [0x41], *INFO[3:])],
    ],
)
def test_F04_a_list_of_certificates_that_is_none(listed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number of the meter's is not taken for a length: this one would be 4 GB of zeros."""

    class Told:
        def get(self, *asked: Any) -> Any:
            yield from ()
            return b""

    steps = SetupSteps(Told(), None, OPERATOR)  # type: ignore[arg-type]  # no session is asked
    monkeypatch.setattr(setups, "decode", lambda raw: listed)
    with pytest.raises(ProtocolViolation, match="attribute 6"):
        next(steps.certificates())
    monkeypatch.setattr(setups, "decode", lambda raw: [INFO])
    with pytest.raises(StopIteration) as ended:
        next(steps.certificates())
    assert ended.value.value == [setups.CertificateInfo("server", "signature", *INFO[2:])]


SIGNED_PROOF = """
[roles.careful]
client = 60
mechanism = "ecdsa"
policy = "authenticated+encrypted"
client_system_title = "4D534C4845530160"
[[roles.careful.rights]]
objects = ["0.0.40.0.0.255", "1.0.1.8.0.255"]
attributes = "read"
methods = { 1 = "access sign-request sign-response" }
"""


@FACES
def test_B16_pass_3_is_signed_where_the_meter_asks_for_it(face: str, tmp_path: Path) -> None:
    """By the credentials that the meter writes: they say what has to be signed."""
    with running(tmp_path, SIGNED_PROOF, preset="suite1") as here:
        path = tmp_path / "credentials.toml"
        write_credentials(here.meter, path, here.server.url)
        with connected(face, path, "careful") as client:
            assert client.read("1.0.1.8.0.255").unit == "Wh"
        role = Credentials.load(path).role("careful")
        assert "15/0.0.40.0.0.255:1()" in role.signed
        unsigned = replace(Credentials.load(path), roles={"careful": replace(role, signed=())})
        with pytest.raises(Refused, match="scope-of-access"), connected(face, unsigned, "careful"):
            pass

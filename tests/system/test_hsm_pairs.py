"""Key pairs that are made in SoftHSM and stay there: a client's, rotated at a meter; those of authorities."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pkcs11 import Attribute, ObjectClass

from meterseal.authority import CertificateAuthority
from meterseal.authority.store.pairs import IN_HSM
from meterseal.credentials.hsm import drop_pair, pair_beside, token_of
from meterseal.crypto import AgreementKey, SigningKey, curve
from meterseal.crypto.certificates import Purpose
from meterseal.crypto.issuing import Request, make_request
from meterseal.crypto.token import TokenUri, make_kek
from meterseal.errors import ConfigurationError, Misuse
from meterseal.keys.lifecycle import State, Verb
from tests.authority.changing import Scene
from tests.authority.paired import PairScene
from tests.cli.shell import run
from tests.system.conftest import SoftHsm

USES: dict[str, Any] = {"client-sign": SigningKey, "client-agree": AgreementKey}
AT = {"client-sign": "manager", "client-agree": "operator"}


@pytest.fixture
def scene(softhsm: SoftHsm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PairScene]:
    """A meter of suite 1 whose store has its storage KEK in the token; no pair of its clients is there."""
    uri = softhsm.uri(f"storage-{os.urandom(6).hex()}")
    make_kek(*token_of(uri))
    monkeypatch.setenv("METERSEAL_STORAGE_KEK", uri)
    monkeypatch.setenv("METERSEAL_WITNESS", str(tmp_path / "witness"))
    made = PairScene(tmp_path)
    yield made
    made.close()


TOLD = (Attribute.SENSITIVE, Attribute.EXTRACTABLE, Attribute.SIGN, Attribute.DERIVE)
SIGNS, AGREES = (True, False, True, False), (True, False, False, True)


def labels(uri: str) -> dict[str, tuple[bool, ...]]:
    """The private keys of a token: whether each is sensitive, may leave, sign, agree."""
    token, _ = token_of(uri)

    def look(session: Any) -> dict[str, tuple[bool, ...]]:
        found = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
        return {one[Attribute.LABEL]: tuple(one[what] for what in TOLD) for one in found}

    return token.use(None, look)


def secrets(scene: PairScene, kind: str) -> list[tuple[State, str, str]]:
    """What the store has of a slot, as it is wrapped."""
    with scene.open() as store:
        kept = store.keys.stored(scene.title)[scene.slot(kind, AT[kind])]
        return [
            (
                one.record.state,
                one.record.origin,
                store.keys.opened(one).reveal().decode() if one.blob else "",
            )
            for one in kept
        ]


@pytest.mark.parametrize("kind", USES)
def test_G04_G09_a_new_pair_is_made_in_the_HSM_certified_proved_and_used(scene: PairScene, kind: str) -> None:
    for _ in range(2):
        report = scene.rotate(kind, AT[kind])
        assert report is not None and not report.again and not report.failed, report
        Scene.settled(scene)
    found = secrets(scene, kind)
    state, origin, now = found[-1]
    assert (state, origin) == (State.ACTIVE, IN_HSM) and now.startswith("pkcs11:")
    there = labels(now)
    assert there[TokenUri.parse(now).object] == (SIGNS if kind == "client-sign" else AGREES)
    with scene.open() as store:
        active = store.pairs.active(scene.slot(kind, AT[kind]))
        assert active is not None and (certificate := store.pairs.certificate(active)) is not None
        assert store.pairs.private(active, USES[kind]).public == certificate.key
        before = store.keys.slot(scene.slot(kind, AT[kind]))[-2]
        if kind == "client-agree":  # kept to open what was recorded under it, until somebody destroys it
            with pytest.raises(Misuse, match="signs no further request"):
                make_request(store.pairs.private(active, AgreementKey), scene.title)
            named = TokenUri.parse(found[-2][2]).object
            assert before.state is State.DEACTIVATED and named in there
            store.keys.apply(Verb.DESTROY, before, "old")
            assert named not in labels(now)
        else:  # a signature key that is replaced is destroyed, in its token too
            assert before.state is State.DESTROYED and found[-2][2] == ""
            assert len([one for one in there if one.startswith("meterseal-sign-")]) == 1


def test_pairs_that_no_key_has_are_named(scene: PairScene) -> None:
    report = scene.rotate("client-sign", "manager")
    assert report is not None and not report.again
    with scene.open() as store:
        uri = store.core.vault.uri
        assert uri is not None
        before = store.pairs.strays()  # of other tests: the token is theirs as well
        stray = pair_beside(uri, curve("P-256"), SigningKey)
        assert set(store.pairs.strays()) == {*before, stray}
        assert not any(used in before for _, _, used in secrets(scene, "client-sign"))
    ran = run("keys", "strays", "--store", str(scene.folder / "keys.db"), "--json")
    assert ran.code == 0 and stray in ran.lines()[0]["strays"], ran.err
    drop_pair(stray)
    assert stray not in run("keys", "strays", "--store", str(scene.folder / "keys.db")).out


def test_authorities_sign_with_keys_that_are_made_in_the_HSM(softhsm: SoftHsm, tmp_path: Path) -> None:
    name = os.urandom(4).hex()
    root, sub = ([softhsm.uri(f"{one}-{name}"), str(tmp_path / one)] for one in ("root", "sub"))
    made = ["pki", "init", "--dir", root[1], "--name", "Root", "--key", root[0]]
    assert run(*made).code == 0
    assert run("pki", "sub", "--dir", sub[1], "--name", "Sub", "--under", root[1], "--key", sub[0]).code == 0
    title, key = bytes.fromhex("4D534C0000000001"), SigningKey.generate(curve("P-256"))
    with CertificateAuthority(Path(sub[1]), by="test") as authority:
        entry = authority.issue(Request(make_request(key, title)), title, Purpose.SIGNATURE)
        entry.certificate.check_issued_by(authority.certificate)
    assert run("pki", "crl", "--dir", root[1]).code == 0
    for uri, folder in (root, sub):
        assert (Path(folder) / "ca-key.pem").read_text().strip() == uri
        assert labels(uri)[TokenUri.parse(uri).object] == SIGNS
    again = run(*made[:3], str(tmp_path / "other"), *made[4:])
    assert again.code == 1 and "has a key" in again.err
    assert not (tmp_path / "other" / "ca-key.pem").exists()
    assert TokenUri.parse(root[0]).object in labels(root[0]), "what was there stays"
    with pytest.raises(ConfigurationError, match="PIN for a password"):
        CertificateAuthority.root(tmp_path / "third", "Third", password=b"x", hsm=softhsm.uri("third"))
